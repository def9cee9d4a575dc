"""Which of several drafts to keep: the one most like what was said of the training rows that look alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.errors import BadData
from polymodal.metrics.captions import LEAST_ROWS, Cider
from polymodal.metrics.consensus import Likeness, likeness_to
from polymodal.nn.layers.state import PAD

REMEMBERED = 20_000  # training rows at most, evenly drawn of more
KEPT = ("vectors", "texts")  # buffers of as many rows as are remembered
NEIGHBOURS = (10, 20, 30, 60, 100)  # what is tried


class Memory(nn.Module):
    """Training rows' vectors, of `width`, and what was said of them, by which one of several drafts is kept: consensus
    reranking (Devlin et al. 2015). A draft is worth its mean likeness to the texts of the `neighbours` nearest rows.

    Near is a great cosine of vectors less their mean; likeness that of `metrics.consensus`. A row takes 4 · `width`
    bytes and 4 a symbol of its texts; of more than 20,000 rows some are remembered. `taken` says whether drafts are
    chosen so where nobody says it.
    """

    middle: Tensor
    vectors: Tensor
    texts: Tensor
    neighbours: Tensor
    taken: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("middle", torch.zeros(width))
        self.register_buffer("vectors", torch.zeros(0, width))
        self.register_buffer("texts", torch.zeros(0, 1, 1, dtype=torch.int32))
        self.register_buffer("neighbours", torch.tensor(30))
        self.register_buffer("taken", torch.tensor(False))
        self._known: tuple[Likeness, sparse.csr_matrix] | None = None

    def __len__(self) -> int:
        return int(self.vectors.shape[0])

    @property
    def bytes(self) -> int:
        """What it takes in memory and in a bundle."""
        return sum(one.numel() * one.element_size() for one in self.buffers())

    def remember(self, vectors: Tensor, texts: Tensor) -> None:
        """The vectors [M, width] of rows and what was said of them, ids [M, R, L] padded with PAD."""
        there = (texts != PAD).flatten(1).any(1).nonzero()[:, 0]
        if not len(there):
            return
        some = there[torch.linspace(0, len(there) - 1, min(len(there), REMEMBERED)).round().long()]
        self.middle = vectors[some].float().mean(0)
        self.vectors = self._normal(vectors[some])
        self.texts = texts[some].to(torch.int32)
        self._known = None

    def forget(self) -> None:
        """Be as at first."""
        self.vectors, self.texts = self.vectors[:0], self.texts[:0]
        self.taken.fill_(False)
        self._known = None

    def choose(self, vectors: Tensor, drafts: Tensor) -> Tensor:
        """[B] which of the drafts of a row, ids [B, K, L], is worth most for its vector [B, width]; of equals the
        first."""
        count = int(self.neighbours)
        return torch.from_numpy(best(self.worth(vectors, drafts, (count,))[count])).to(drafts.device)

    def worth(self, vectors: Tensor, drafts: Tensor, neighbours: Sequence[int]) -> dict[int, np.ndarray]:
        """What drafts, as `choose` takes them, are worth by each of several numbers of neighbours, [B, K]; -inf where
        there is none."""
        likeness, said = self._read()
        there = (drafts != PAD).any(-1).cpu().numpy()
        rows, each = there.shape
        owner, grams = np.repeat(np.arange(rows), each), likeness.vectors(_symbols(drafts))
        cosine, found = self._normal(vectors) @ self.vectors.T, {}
        for count in neighbours:
            nearest = cosine.round(decimals=5).topk(min(count, len(self)), dim=1).indices.cpu().numpy()
            near = _mean(np.repeat(np.arange(rows), nearest.shape[1]), nearest.ravel(), rows, len(self))
            found[count] = np.where(there, likeness_to(grams, owner, near @ said).reshape(rows, each), -np.inf)
        return found

    def _read(self) -> tuple[Likeness, sparse.csr_matrix]:
        """n-grams of the texts, and of each row the mean vector of its own."""
        if self._known is None:
            row, place = (self.texts[..., 0] != PAD).nonzero(as_tuple=True)
            owner, texts = row.cpu().numpy(), _symbols(self.texts[row, place])
            likeness, mean = Likeness(texts, owner), _mean(owner, np.arange(len(owner)), len(self), len(owner))
            self._known = likeness, mean @ likeness.vectors(texts)
        return self._known

    def _normal(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors.float() - self.middle, dim=1)

    def _load_from_state_dict(self, state: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        own = {prefix + name: value for name, value in self.state_dict().items()}
        state = {**own, **state}  # a bundle from before heads remembered has nothing of it
        vectors, texts = (state[prefix + name] for name in KEPT)
        width = self.middle.shape[0]
        if vectors.ndim != 2 or vectors.shape[1] != width or texts.ndim != 3 or len(texts) != len(vectors):
            sizes = " and ".join(f"{prefix}{name} {list(state[prefix + name].shape)}" for name in KEPT)
            raise BadData(
                f"{sizes} are no memory of a head of width {width}: [rows, {width}] and [rows, texts, symbols] of as "
                "many rows were expected. The weights are of another model, or were changed."
            )
        for name in KEPT:  # as many rows as were remembered
            setattr(self, name, torch.empty_like(state[prefix + name], device=self.middle.device))
        self._known = None
        super()._load_from_state_dict(state, prefix, *rest)  # type: ignore[misc]


@dataclass(frozen=True)
class Gain:
    """What choosing is worth on validation rows, in CIDEr-D: `before` of what is written without, and what is `added`
    with so many `neighbours`, with its 95 % interval."""

    neighbours: int
    before: float
    added: float
    low: float
    high: float


class Trial:
    """Validation rows with drafts, by which it is settled how one is chosen, and whether it is."""

    def __init__(self) -> None:
        self._worth: list[Mapping[int, np.ndarray]] = []
        self._texts: list[tuple[np.ndarray, ...]] = []

    def add(self, worth: Mapping[int, np.ndarray], drafts: np.ndarray, plain: np.ndarray, wanted: np.ndarray) -> None:
        """Rows with what `Memory.worth` says of their drafts, the texts of these [B, K], what is written without [B],
        and references [B, R], "" where there are fewer."""
        self._worth.append(worth)
        self._texts.append((drafts, plain, wanted))

    def gain(self) -> Gain | None:
        """The best of `NEIGHBOURS`, and what it adds, each half of the rows judged by the number that was best on the
        other. None below 50 rows: which n-grams are rare cannot be told of them."""
        if sum(len(plain) for _, plain, _ in self._texts) < LEAST_ROWS:
            return None
        drafts, plain, wanted = (np.concatenate(each) for each in zip(*self._texts))
        rows, each = drafts.shape
        cider = Cider(documents=[[text for text in row if text] for row in wanted.tolist()])
        value = cider.rows(np.repeat(wanted, each, 0), drafts.reshape(-1)).reshape(rows, each)
        before = cider.rows(wanted, plain)
        place, half = np.arange(rows), np.arange(rows) % 2
        chosen = [best(np.concatenate([worth[count] for worth in self._worth])) for count in NEIGHBOURS]
        after = np.stack([value[place, one] for one in chosen])
        found = np.array([after[:, half != part].mean(1).argmax() for part in (0, 1)])
        more = after[found[half], place] - before
        added, width = float(more.mean()), float(1.96 * more.std(ddof=1) / rows**0.5)
        number = NEIGHBOURS[int(after.mean(1).argmax())]
        return Gain(number, float(before.mean()), added, added - width, added + width)


def best(worth: np.ndarray) -> np.ndarray:
    """[B] the place of the greatest of [B, K], the first of those that are so up to rounding."""
    return worth.round(5).argmax(1)


def told(name: str, gain: Gain | None, memory: Memory) -> str:
    """In words, what choosing among the drafts of a target's answers was found to be worth."""
    if gain is None:
        return f"{name}: whether choosing among drafts helps, fewer than {LEAST_ROWS} validation rows cannot tell."
    found = (
        f"CIDEr-D {gain.before:.3f} on validation rows, {gain.added:+.3f} by it ({gain.low:+.3f} to {gain.high:+.3f})"
    )
    if not memory.taken:
        return f"{name}: choosing among drafts by what was said of like rows is not shown to help ({found})."
    return (
        f"{name}: of several drafts the one is kept that is most like the texts of the {gain.neighbours} nearest "
        f"training rows ({found}); {len(memory):,} rows are remembered for it, {memory.bytes / 1e6:.1f} MB."
    )


def _symbols(ids: Tensor) -> list[list[int]]:
    return [[one for one in text if one != PAD] for text in ids.flatten(0, -2).tolist()]


def _mean(row: np.ndarray, column: np.ndarray, rows: int, columns: int) -> sparse.csr_matrix:
    """[rows, columns] what takes, for each `row`, the mean of what stands at its columns."""
    weight = (1 / np.maximum(np.bincount(row, minlength=rows), 1)).astype(np.float32)
    return sparse.csr_matrix((weight[row], (row, column)), (rows, columns))
