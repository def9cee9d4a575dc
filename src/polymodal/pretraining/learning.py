"""What encoders learn without labels: to tell hidden parts from what is left, which cells stand in one row, and what is
said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.aligners.base import Aligner
from polymodal.core.types import Tokens
from polymodal.data.split import SAMPLE, some_of
from polymodal.data.storage.dataset import Dataset
from polymodal.encoders.base import Encoder
from polymodal.nn.layers.named import Named
from polymodal.nn.place import device_of_module, to_device
from polymodal.pretraining.captioning import Captioner
from polymodal.pretraining.rebuilding import Memory, Rebuilder
from polymodal.train.loop import total
from polymodal.train.once import Inputs

AT_ONCE = 256  # rows measured at a time


class Learning(nn.Module):
    """Encoders and what they learn by: `masked`, the streams whose hidden parts are rebuilt, `captioners`, what writes
    streams of text from those that have none, and an aligner or None. `weight` is what the former count for beside it.

    `rows` [n] are those that are learned from and judged by; no others are read. Of the former, `learned` [m], some
    tell what hidden parts usually hold.
    """

    def __init__(
        self, encoders: Mapping[str, Encoder], aligner: Aligner | None, masked: Sequence[str], dataset: Dataset,
        rows: np.ndarray, learned: np.ndarray, *, dim: int, hidden: float | None = None, across: bool = True,
        captioners: Mapping[str, Captioner] | None = None, weight: float = 1.0,
    ):  # fmt: skip
        super().__init__()
        self.encoders, self.aligner = Named(encoders), aligner
        self.dataset, self.hidden, self.across = dataset, hidden, across
        self.captioners, self.weight = Named(captioners or {}), weight
        read = encoders if masked else [name for name in encoders if captioners and name not in captioners]
        self.memories = Named({name: Memory(encoders[name].dim, dim) for name in read})
        self.read = {name: Inputs(encoder, dataset, name, rows) for name, encoder in encoders.items()}
        found = {}
        for name in masked:
            inputs = dataset.tensors(name, some_of(learned[dataset.present[name][learned]], SAMPLE))
            found[name] = Rebuilder(dim, encoders[name].hide(inputs, _all_parts(encoders[name], inputs))[1])
        self.rebuilders = Named(found)

    def losses(
        self, rows: np.ndarray, draw: torch.Generator | None = None, *, blind: bool = False
    ) -> dict[str, Tensor]:  # fmt: skip
        """Of a batch of `rows`: by stream what it costs to rebuild its hidden parts, or to write its words, and
        `contrast`; each is 1 for knowing nothing. What is hidden is drawn from `draw`, by default from torch's global
        generator. `blind`: words are written by the words before alone."""
        found = self._masked(rows, draw) if len(self.rebuilders) else {}
        if self.aligner is not None or len(self.captioners):
            encoded = {n: one for n in self.encoders if (one := self._encoded(n, rows)) is not None}
            found |= self._written(rows, encoded, blind)
            if self.aligner is not None and (contrast := self._contrast(encoded)) is not None:
                found["contrast"] = contrast
        return found

    def loss(self, rows: Tensor) -> Tensor:
        """The mean over streams of what rebuilding or writing costs, and the contrast."""
        found = self.losses(rows.numpy())
        contrast = found.pop("contrast", None)
        parts = [self.weight * torch.stack([*found.values()]).mean()] if found else []
        parts += [] if contrast is None else [contrast]
        return torch.stack(parts).sum() if parts else 0.0 * next(self.parameters()).sum()

    def score(self, rows: np.ndarray, seed: int) -> float:
        """What `measure` says of `rows` in one number, of which more is better."""
        found = self.measure(rows, seed)
        return -sum(value * (1.0 if name == "contrast" else self.weight) for name, value in found.items())

    @torch.no_grad()
    def measure(self, rows: np.ndarray, seed: int, *, blind: bool = False) -> dict[str, float]:
        """`losses` of `rows`, some at a time, with the same parts hidden whenever it is asked."""
        draw = torch.Generator().manual_seed(seed)
        summed: dict[str, float] = {}
        counted: dict[str, int] = {}
        for some in np.array_split(rows, max(1, -(-len(rows) // AT_ONCE))):
            for name, value in self.losses(some, draw, blind=blind).items():
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

    def _encoded(self, name: str, rows: np.ndarray) -> _Encoded | None:
        """Every different cell of a stream in the batch once; None where no row has one, or nothing asks for it."""
        if self.aligner is None and name not in self.memories:
            return None
        there = np.flatnonzero(self.dataset.present[name][rows])
        _, first, item = np.unique(self.dataset.cells(name)[rows[there]], return_index=True, return_inverse=True)
        if not len(first):
            return None
        inputs = to_device(self.read[name].tensors(rows[there[first]]), device_of_module(self))
        return _Encoded(self.encoders[name](inputs), item, there)

    def _contrast(self, encoded: Mapping[str, _Encoded]) -> Tensor | None:
        """Cells of a row belong together."""
        if len(encoded) < 2:
            return None
        assert self.aligner is not None
        aligned = self.aligner({name: one.tokens for name, one in encoded.items()})
        device = device_of_module(self)
        theirs = {name: to_device(_standing_in(one.item, one.there), device) for name, one in encoded.items()}
        size = max(2.0, sum(len(tokens) for tokens in aligned.values()) / len(aligned))
        return total(self.aligner.loss(aligned, theirs)) / math.log(size)

    def _written(self, rows: np.ndarray, encoded: Mapping[str, _Encoded], blind: bool) -> dict[str, Tensor]:
        """What the words of each stream that is written cost, from the tokens of those that are read."""
        read = [encoded[name].of_rows(len(rows)) for name in self.memories if name in encoded]
        if not len(self.captioners) or not read:
            return {}
        memories = [self.memories[name] for name in self.memories if name in encoded]
        x = torch.cat([memory(tokens) for memory, tokens in zip(memories, read)], 1)
        mask = torch.cat([tokens.mask for tokens in read], 1)
        found = {name: captioner(rows, x, mask, blind=blind) for name, captioner in self.captioners.items()}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, eq=False)
class _Encoded:
    """Tokens of different cells; `item` [n] says which of them each of the rows `there` [n] of the batch holds."""

    tokens: Tokens
    item: np.ndarray
    there: np.ndarray

    def of_rows(self, count: int) -> Tokens:
        """Tokens of all `count` rows of the batch, masked where a row has none."""
        at, there = np.zeros(count, np.int64), np.zeros(count, bool)
        at[self.there], there[self.there] = self.item, True
        device = self.tokens.x.device
        rows = self.tokens.select(to_device(torch.from_numpy(at), device))
        return rows.keep(to_device(torch.from_numpy(there), device))


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
