"""What encoders learn without labels: to tell hidden parts from what is left, and which cells stand in one row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.aligners.base import Aligner
from polymodal.core.types import Tokens
from polymodal.data.split import SAMPLE, some_of
from polymodal.data.storage.dataset import Dataset
from polymodal.encoders.base import Encoder, Held
from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.layers.named import Named
from polymodal.nn.place import device_of_module, to_device
from polymodal.train.loop import total
from polymodal.train.once import Inputs

AT_ONCE = 256  # rows measured at a time
HEAD = 32  # channels of an attention head
MOST_PLACES = 64  # tokens, and words, whose places are told apart


class Rebuilder(nn.Module):
    """What the hidden parts of a stream held, from tokens (masked autoencoders; He et al. 2022).

    A query a part attends to the tokens, in one block: a larger decoder does the encoder's work on small data. `held`
    is what parts of sample cells hold, all hidden: the losses are in units of what knowing only each part's mean, or
    how frequent words are, would cost.
    """

    usual: Tensor

    def __init__(self, dim: int, held: Sequence[Held]):
        super().__init__()
        places = [max(MOST_PLACES if one.words else 0, one.values.shape[1]) for one in held]
        self.queries = nn.ParameterList(0.02 * torch.randn(count, dim) for count in places)
        self.block = TransformerBlock(dim, max(1, dim // HEAD) if dim % HEAD == 0 else 1)
        self.out = nn.ModuleList(nn.Linear(dim, one.words or one.values.shape[2]) for one in held)
        self.register_buffer("usual", torch.stack([_usual(one) for one in held]))

    def forward(self, tokens: Tensor, mask: Tensor, held: Sequence[Held]) -> Tensor | None:
        """The mean loss of the hidden parts by `tokens` [B, S, dim] with `mask` [B, S]; None where none is hidden."""
        losses = []
        for query, out, usual, one in zip(self.queries, self.out, self.usual, held):
            hidden = one.hidden if one.hidden.ndim == 2 else one.hidden.any(2)
            if not hidden.any():
                continue
            places = torch.arange(hidden.shape[1], device=query.device).clamp(max=len(query) - 1)
            states = self.block(query[places].expand(len(tokens), -1, -1), mask, tokens)[hidden]
            said, truth = out(states).float(), one.values[hidden]
            if one.words:
                value = F.cross_entropy(said, truth)
            else:
                known = one.hidden[hidden].view(len(truth), -1)
                value = ((said - truth).square() * known).sum() / known.expand_as(truth).sum()
            losses.append(value / usual)
        return torch.stack(losses).mean() if losses else None


def _usual(held: Held) -> Tensor:
    """What it costs to say always the same of each part: the variance, or the entropy of how frequent words are."""
    known = held.hidden.float()
    if held.words:
        share = held.values[held.hidden].bincount(minlength=held.words).float()
        share = share / share.sum().clamp(min=1)
        usual = -(share * share.clamp(min=1e-9).log()).sum()
    else:
        known = known if known.ndim == 3 else known[..., None].expand_as(held.values)
        mean = (held.values * known).sum(0) / known.sum(0).clamp(min=1)
        usual = ((held.values - mean).square() * known).sum() / known.sum().clamp(min=1)
    return usual if usual > 1e-3 else torch.ones_like(usual)


class Memory(nn.Module):
    """Tokens of a stream as decoders read them: of one width, with their places."""

    def __init__(self, width: int, dim: int):
        super().__init__()
        self.map = nn.Linear(width, dim)
        self.places = nn.Parameter(0.02 * torch.randn(MOST_PLACES, dim))

    def forward(self, tokens: Tokens) -> Tensor:
        places = torch.arange(tokens.x.shape[1], device=tokens.x.device).clamp(max=MOST_PLACES - 1)
        return self.map(tokens.x) + self.places[places]


class Learning(nn.Module):
    """Encoders and what they learn by: `masked`, the streams whose hidden parts are rebuilt, and an aligner or None.

    `rows` [n] are those that are learned from and judged by; no others are read. Of the former, `learned` [m], some
    tell what hidden parts usually hold.
    """

    def __init__(
        self, encoders: Mapping[str, Encoder], aligner: Aligner | None, masked: Sequence[str], dataset: Dataset,
        rows: np.ndarray, learned: np.ndarray, *, dim: int, hidden: float | None = None, across: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.encoders, self.aligner = Named(encoders), aligner
        self.dataset, self.hidden, self.across = dataset, hidden, across
        self.memories = Named({name: Memory(encoder.dim, dim) for name, encoder in encoders.items()} if masked else {})
        self.read = {name: Inputs(encoder, dataset, name, rows) for name, encoder in encoders.items()}
        found = {}
        for name in masked:
            inputs = dataset.tensors(name, some_of(learned[dataset.present[name][learned]], SAMPLE))
            found[name] = Rebuilder(dim, encoders[name].hide(inputs, _all_parts(encoders[name], inputs))[1])
        self.rebuilders = Named(found)

    def losses(self, rows: np.ndarray, draw: torch.Generator | None = None) -> dict[str, Tensor]:
        """Of a batch of `rows`: by stream what it costs to rebuild its hidden parts, and `contrast`; each is 1 for
        knowing nothing. What is hidden is drawn from `draw`, by default from torch's global generator."""
        found = self._masked(rows, draw) if len(self.rebuilders) else {}
        if self.aligner is not None and (contrast := self._contrast(rows)) is not None:
            found["contrast"] = contrast
        return found

    def loss(self, rows: Tensor) -> Tensor:
        """The mean over streams of what rebuilding costs, and the contrast."""
        found = self.losses(rows.numpy())
        contrast = found.pop("contrast", None)
        parts = [torch.stack([*found.values()]).mean()] if found else []
        parts += [] if contrast is None else [contrast]
        return torch.stack(parts).sum() if parts else 0.0 * next(self.parameters()).sum()

    @torch.no_grad()
    def measure(self, rows: np.ndarray, seed: int) -> dict[str, float]:
        """`losses` of `rows`, some at a time, with the same parts hidden whenever it is asked."""
        draw = torch.Generator().manual_seed(seed)
        summed: dict[str, float] = {}
        counted: dict[str, int] = {}
        for some in np.array_split(rows, max(1, -(-len(rows) // AT_ONCE))):
            for name, value in self.losses(some, draw).items():
                summed[name] = summed.get(name, 0.0) + float(value) * len(some)
                counted[name] = counted.get(name, 0) + len(some)
        return {name: summed[name] / counted[name] for name in summed}

    def _masked(self, rows: np.ndarray, draw: torch.Generator | None) -> dict[str, Tensor]:
        device, tokens, held = device_of_module(self), {}, {}
        for name, encoder in self.encoders.items():
            if not self.across and name not in self.rebuilders:
                continue
            inputs = to_device(self.read[name].tensors(rows), device)
            if name in self.rebuilders:
                hidden = self._drawn(encoder, inputs, draw)
                inputs, held[name] = encoder.hide(inputs, hidden)  # type: ignore[operator]
            tokens[name] = _unmoved(encoder, inputs)  # type: ignore[arg-type]
        memories = {name: self.memories[name](one) for name, one in tokens.items()}
        found = {}
        for name, rebuilder in self.rebuilders.items():
            read = [name, *(other for other in memories if other != name)] if self.across else [name]
            x, mask = torch.cat([memories[n] for n in read], 1), torch.cat([tokens[n].mask for n in read], 1)
            if (value := rebuilder(x, mask, held[name])) is not None:
                found[name] = value
        return found

    def _drawn(self, encoder: nn.Module, inputs: Mapping[str, Tensor], draw: torch.Generator | None) -> Tensor:
        """Which parts are hidden: a share of a cell's, one at least, and never all where there are several."""
        there = _all_parts(encoder, inputs)
        share = self.hidden if self.hidden is not None else float(encoder.hidden_share)  # type: ignore[arg-type]
        count = there.sum(1, keepdim=True)
        most = torch.minimum((share * count).round().clamp(min=1), (count - 1).clamp(min=1))
        lot = torch.rand(there.shape, generator=draw).to(there.device).masked_fill(~there, 2.0)
        return (lot.argsort(1).argsort(1) < most) & there

    def _contrast(self, rows: np.ndarray) -> Tensor | None:
        """Every different cell of the batch once; cells of a row belong together."""
        device = device_of_module(self)
        aligned: dict[str, Tokens] = {}
        theirs: dict[str, Tensor] = {}
        assert self.aligner is not None
        for name, encoder in self.encoders.items():
            there = np.flatnonzero(self.dataset.present[name][rows])
            _, first, item = np.unique(self.dataset.cells(name)[rows[there]], return_index=True, return_inverse=True)
            if not len(first):
                continue
            inputs = to_device(self.read[name].tensors(rows[there[first]]), device)
            aligned |= self.aligner({name: encoder(inputs)})
            theirs[name] = to_device(_standing_in(item, there), device)
        if len(aligned) < 2:
            return None
        size = max(2.0, sum(len(tokens) for tokens in aligned.values()) / len(aligned))
        return total(self.aligner.loss(aligned, theirs)) / math.log(size)


def _all_parts(encoder: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    there: Tensor = encoder.hideable(inputs)  # type: ignore[operator]
    return there & inputs["present"][:, None]


def _unmoved(encoder: Encoder, inputs: Mapping[str, Tensor]) -> Tokens:
    """Tokens of inputs that are not augmented, which would move what is to be rebuilt, by layers as they stand."""
    training, encoder.training = encoder.training, False
    try:
        return encoder(inputs)
    finally:
        encoder.training = training


def _standing_in(item: np.ndarray, rows: np.ndarray) -> Tensor:
    """[items, M] the rows of each item, -1 behind, from the item of each row [n]."""
    order = np.argsort(item, kind="stable")
    start = np.searchsorted(item[order], np.arange(item.max() + 2))
    found = np.full((len(start) - 1, int(np.diff(start).max())), -1)
    found[item[order], np.arange(len(order)) - start[item[order]]] = rows[order]
    return torch.from_numpy(found)
