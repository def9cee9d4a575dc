"""No word of its own: the answer of the nearest training rows that says best what theirs all say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.types import Output, Tokens
from polymodal.heads.base import Head
from polymodal.heads.writing import WritingHead
from polymodal.metrics.consensus import Likeness
from polymodal.models.base import BASELINE, Answer, Labelled, texts_among
from polymodal.nn.check import check_count
from polymodal.nn.layers.named import module_name
from polymodal.targets.text import TextTarget

LEAST = 1e-6  # likeness, so that it has a logarithm
KEPT = ("middle", "unit", "vectors")


class Consensus(Answer):
    """Of the references of the `neighbours` nearest training rows, the one that is most like all of them (Devlin et al.
    2015, who found that level with generation). Near is a great cosine of pooled vectors side by side, each stream's
    less its mean and in units of its spread. With one neighbour it is the best reference of the nearest row. A
    baseline: what is written must be better than what can be copied.

    The model keeps the training rows' answers and vectors. A row of which nothing is there gets the usual answer, and
    so does every row to a target that is no text. The log-probability that goes with an answer is the logarithm of its
    mean likeness to the others, of a single text that of the cosine of both rows, and of the usual answer that of the
    share of training rows that have it.
    """

    level: ClassVar[str] = BASELINE
    trains_together: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("text",)

    def __init__(self, widths: Mapping[str, int], targets: Sequence[Any], parts: Any, *, neighbours: int = 10):
        super().__init__()
        self.neighbours = check_count("neighbours", neighbours)
        self.names = tuple(sorted(widths))
        self.targets: dict[str, TextTarget] = texts_among("consensus", targets)
        self._heads = {
            t.name: Copies(1, t) if t.name in self.targets else parts.build_head(1, t).eval() for t in targets
        }  # nothing is learned by them
        width = sum(widths.values())
        self.register_buffer("middle", torch.zeros(width))
        self.register_buffer("unit", torch.ones(width))
        self.register_buffer("vectors", torch.zeros(0, width))
        for name in self.targets:
            self.register_buffer(_codes(name), torch.zeros(0, 1, 1, dtype=torch.int32))
        self._likeness: dict[str, tuple[sparse.csr_matrix, np.ndarray, np.ndarray, float]] = {}

    def finalize(self, train: Labelled, valid: Labelled, seed: int) -> None:
        """Remember the training rows' vectors and their answers."""
        vectors, there = self._joined(train.streams)
        count = there.sum(0).clamp(min=1)
        self.middle = (vectors * there).sum(0) / count
        spread = ((vectors - self.middle) * there).square().sum(0) / count
        sizes = [train.streams[name].width for name in self.names]
        total = [one.sum().sqrt().expand(len(one)) for one in spread.split(sizes)]  # alike in all of a stream's values
        self.unit = torch.where(torch.cat(total) > 0, torch.cat(total), 1.0)
        self.vectors = self._normal(vectors, there)
        for name in self.targets:
            setattr(self, _codes(name), train.targets[name].to(torch.int32))
        self._likeness = {}

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        vectors = self._normal(*self._joined(streams))
        return Output(streams, None, {name: self._answered(name, vectors) for name in self._heads})

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.middle.new_zeros(()) for name in targets}

    def head(self, target: str) -> Head:
        return self._heads[target]

    def _answered(self, name: str, vectors: Tensor) -> Tensor:
        if name not in self.targets:
            nothing = Tokens.of_pooled(vectors.new_zeros(len(vectors), 1), vectors.new_zeros(len(vectors), 1).bool())
            return self._heads[name].to(vectors.device)(nothing)  # type: ignore[no-any-return]
        codes, target = getattr(self, _codes(name)).cpu().numpy(), self.targets[name]
        known = np.flatnonzero(codes[:, 0, 0] > 0) if len(codes) else np.zeros(0, int)
        usual = target.encode([target.medoid])[0, 0]
        length = max(codes.shape[2], len(usual))
        told = np.zeros((len(vectors), 1 + length), np.float32)
        told[:, 1 : 1 + len(usual)] = usual
        if not len(known):
            return torch.from_numpy(told).to(vectors.device)
        grams, owner, place, share = self._likeness_of(name, codes, usual)
        told[:, 0] = np.log(max(share, LEAST))
        cosine = (vectors @ self.vectors[torch.from_numpy(known).to(vectors.device)].T).detach().cpu()
        likeness = cosine.numpy()
        least = cosine.topk(min(self.neighbours, len(known)), dim=1).values[:, -1:].numpy()
        for row in torch.nonzero((vectors != 0).any(1))[:, 0].tolist():
            near = np.flatnonzero(likeness[row] >= least[row])  # of those as near as the last, the first
            near = known[near[np.argsort(-likeness[row, near], kind="stable")[: self.neighbours]]]
            ends = zip(*(np.searchsorted(owner, np.sort(near), side) for side in ("left", "right")))
            some = np.concatenate([np.arange(first, last) for first, last in ends])
            alike = np.asarray((grams[some] @ grams[some].T).todense())
            mean = (alike.sum(1) - alike.diagonal()) / max(1, len(some) - 1)
            best = int(np.argmax(np.round(mean, 6)))
            told[row, 1:] = 0
            told[row, 1 : 1 + codes.shape[2]] = codes[owner[some[best]], place[some[best]]]
            told[row, 0] = np.log(max(mean[best] if len(some) > 1 else likeness[row].max(), LEAST))
        return torch.from_numpy(told).to(vectors.device)

    def _likeness_of(
        self, name: str, codes: np.ndarray, usual: np.ndarray
    ) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray, float]:
        """n-gram vectors of all references of the training rows; the row and the place in it of each; and how many of
        the rows with a reference have the usual one."""
        if name not in self._likeness:
            owner, place = np.nonzero(codes[:, :, 0] > 0)
            each = [row[row > 0].tolist() for row in codes[owner, place]]
            share = _share(codes[np.unique(owner)], usual)
            self._likeness[name] = Likeness(each, owner).vectors(each), owner, place, share
        return self._likeness[name]

    def _joined(self, streams: Mapping[str, Tokens]) -> tuple[Tensor, Tensor]:
        """Pooled vectors side by side [B, D], and which of their values are there."""
        each = [streams[name].cleared() for name in self.names]
        there = [tokens.present[:, None].expand(-1, tokens.width) for tokens in each]
        return torch.cat([tokens.pooled.float() for tokens in each], 1), torch.cat(there, 1)

    def _normal(self, vectors: Tensor, there: Tensor) -> Tensor:
        return F.normalize((vectors - self.middle) / self.unit * there, dim=1)

    def _load_from_state_dict(self, state: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        if state and prefix + "unit" not in state:  # of a bundle from before streams had units
            state = {**state, prefix + "unit": torch.ones_like(state[prefix + "middle"])}
        for name in (*KEPT, *map(_codes, self.targets)):  # as many rows as were remembered
            if (value := state.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(value))
        super()._load_from_state_dict(state, prefix, *rest)  # type: ignore[misc]


class Copies(Head):
    """The head of an answer that is copied: it decodes, and gives the usual answer to any tokens."""

    answers = (TextTarget,)
    decode = WritingHead.decode

    def answer(self, tokens: Tokens) -> Tensor:
        told = torch.tensor([0.0, *self.target.encode([self.target.medoid])[0, 0].tolist()], device=tokens.x.device)
        return told.expand(len(tokens), -1).clone()

    def loss(self, tokens: Tokens, truth: Tensor) -> Tensor:
        return tokens.x.new_zeros(())


def _share(codes: np.ndarray, text: np.ndarray) -> float:
    """The share of rows whose answers [N, R, L] have `text` [M] among them."""
    whole = np.pad(text, (0, max(0, codes.shape[2] - len(text))))
    return float((codes == whole).all(2).any(1).mean()) if len(whole) == codes.shape[2] else 0.0


def _codes(target: str) -> str:
    return f"codes_{module_name(target)}"
