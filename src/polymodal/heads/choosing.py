"""Which of several drafts to keep: the one most like what was said of the training rows that look alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.metrics.captions import LEAST_ROWS, Cider
from polymodal.metrics.consensus import Likeness, likeness_to
from polymodal.nn.layers.state import PAD

REMEMBERED = 20_000  # training rows at most, evenly drawn of more
KEPT = ("vectors", "texts")  # buffers of as many rows as are remembered
NEIGHBOURS, AMONG, LIKELY = (10, 30, 60, 100), (0.0, 0.25, 0.5, 1.0), (0.0, 0.01, 0.03)  # what is tried


class Taste(NamedTuple):
    """A draft is worth its mean likeness to the texts of the `neighbours` nearest training rows, `among` times that to
    the other drafts of its row, and `likely` times the mean log-probability of its symbols."""

    neighbours: int
    among: float
    likely: float


class Memory(nn.Module):
    """Training rows' vectors, of `width`, and what was said of them, by which one of several drafts is kept: consensus
    reranking (Devlin et al. 2015) with minimum Bayes risk among the drafts (Eikema & Aziz 2022).

    Near is a great cosine of vectors less their mean; likeness that of `metrics.consensus`. A row takes 4 · `width`
    bytes and 4 a symbol of its texts; of more than 20,000 rows some are remembered. `taken` says whether drafts are
    chosen so where nobody says it.
    """

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("middle", torch.zeros(width))
        self.register_buffer("vectors", torch.zeros(0, width))
        self.register_buffer("texts", torch.zeros(0, 1, 1, dtype=torch.int32))
        self.register_buffer("tastes", torch.tensor([30.0, 0.0, 0.0]))
        self.register_buffer("taken", torch.tensor(False))
        self._known: tuple[Likeness, sparse.csr_matrix] | None = None

    def __len__(self) -> int:
        return int(self.vectors.shape[0])

    @property
    def taste(self) -> Taste:
        neighbours, among, likely = self.tastes.double().round(decimals=4).tolist()
        return Taste(int(neighbours), among, likely)

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

    def choose(self, vectors: Tensor, drafts: Tensor, logp: Tensor) -> Tensor:
        """[B] which of the drafts of a row, ids [B, K, L] with mean log-probabilities [B, K], is worth most for its
        vector [B, width]; of equals the first."""
        taste = self.taste
        seen = self.compare(vectors, drafts, logp, (taste.neighbours,))
        return torch.from_numpy(seen.best(taste)).to(drafts.device)

    def compare(self, vectors: Tensor, drafts: Tensor, logp: Tensor, neighbours: Sequence[int]) -> Compared:
        """What is known of drafts, as `choose` takes them, with each of several numbers of neighbours."""
        likeness, said = self._read()
        there = (drafts != PAD).any(-1).cpu().numpy()
        rows, each = there.shape
        owner = np.repeat(np.arange(rows), each)
        grams = likeness.vectors(_symbols(drafts))
        sums = _gathered(owner, np.arange(len(owner)), rows, len(owner)) @ grams
        own = np.asarray(grams.multiply(grams).sum(1)).ravel()
        others = (likeness_to(grams, owner, sums) - own).reshape(rows, each) / np.maximum(there.sum(1) - 1, 1)[:, None]
        near = {}
        cosine = self._normal(vectors) @ self.vectors.T
        for count in neighbours:
            nearest = cosine.round(decimals=5).topk(min(count, len(self)), dim=1).indices.cpu().numpy()
            at = np.repeat(np.arange(rows), nearest.shape[1])
            profile = _gathered(at, nearest.ravel(), rows, len(self)) @ said / max(1, nearest.shape[1])
            near[count] = likeness_to(grams, owner, profile).reshape(rows, each)
        return Compared(near, others, logp.cpu().double().numpy(), there)

    def _read(self) -> tuple[Likeness, sparse.csr_matrix]:
        """n-grams of the texts, and of each row the mean vector of its own."""
        if self._known is None:
            row, place = (self.texts[..., 0] != PAD).nonzero(as_tuple=True)
            owner, texts = row.cpu().numpy(), _symbols(self.texts[row, place])
            likeness, count = Likeness(texts, owner), np.bincount(owner, minlength=len(self))
            mean = _gathered(owner, np.arange(len(owner)), len(self), len(owner), 1 / np.maximum(count, 1)[owner])
            self._known = likeness, mean @ likeness.vectors(texts)
        return self._known

    def _normal(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors.float() - self.middle, dim=1)

    def _load_from_state_dict(self, state: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        own = {prefix + name: value for name, value in self.state_dict().items()}
        state = {**own, **state}  # a bundle from before heads remembered has nothing of it
        for name in KEPT:  # as many rows as were remembered
            setattr(self, name, torch.empty_like(state[prefix + name], device=self.middle.device))
        self._known = None
        super()._load_from_state_dict(state, prefix, *rest)  # type: ignore[misc]


class Compared(NamedTuple):
    """What is known of K drafts of each of B rows, [B, K] each: likeness to the texts of so many neighbours, to the
    other drafts, log-probability, and which drafts there are."""

    near: Mapping[int, np.ndarray]
    among: np.ndarray
    logp: np.ndarray
    there: np.ndarray

    def best(self, taste: Taste) -> np.ndarray:
        """[B] the draft that is worth most."""
        worth = self.near[taste.neighbours] + taste.among * self.among + taste.likely * self.logp
        return np.where(self.there, worth.round(5), -np.inf).argmax(1)


@dataclass(frozen=True)
class Gain:
    """What choosing is worth on validation rows, in CIDEr-D: `before` of what is written without, and what is `added`,
    with its 95 % interval."""

    taste: Taste
    before: float
    added: float
    low: float
    high: float


class Trial:
    """Validation rows with drafts, by which it is settled how one is chosen, and whether it is."""

    def __init__(self) -> None:
        self._seen: list[Compared] = []
        self._texts: list[tuple[np.ndarray, ...]] = []

    def add(self, seen: Compared, drafts: np.ndarray, plain: np.ndarray, wanted: np.ndarray) -> None:
        """Rows with what is known of their drafts, the texts of these [B, K], what is written without [B], and
        references [B, R], "" where there are fewer."""
        self._seen.append(seen)
        self._texts.append((drafts, plain, wanted))

    def gain(self) -> Gain | None:
        """The best taste of those tried, and what it adds, each half of the rows judged by the taste that was best on
        the other. None below 50 rows: which n-grams are rare cannot be told of them."""
        if not self._seen or sum(len(plain) for _, plain, _ in self._texts) < LEAST_ROWS:
            return None
        drafts, plain, wanted = (np.concatenate(each) for each in zip(*self._texts))
        rows, each = drafts.shape
        cider = Cider(documents=[[text for text in row if text] for row in wanted.tolist()])
        value = cider.rows(np.repeat(wanted, each, 0), drafts.reshape(-1)).reshape(rows, each)
        before = cider.rows(wanted, plain)
        near = {count: np.concatenate([seen.near[count] for seen in self._seen]) for count in NEIGHBOURS}
        seen = Compared(near, *(np.concatenate([one[i] for one in self._seen]) for i in (1, 2, 3)))

        tried = [Taste(*each) for each in product(NEIGHBOURS, AMONG, LIKELY)]
        place, half = np.arange(rows), np.arange(rows) % 2
        worth = np.stack([value[place, seen.best(taste)] for taste in tried])
        found = np.array([worth[:, half != part].mean(1).argmax() for part in (0, 1)])
        more = worth[found[half], place] - before
        added, width = float(more.mean()), float(1.96 * more.std(ddof=1) / rows**0.5)
        return Gain(tried[worth.mean(1).argmax()], float(before.mean()), added, added - width, added + width)


def told(name: str, gain: Gain | None, memory: Memory) -> str:
    """In words, what choosing among the drafts of a target's answers was found to be worth."""
    if gain is None:
        return f"{name}: not chosen among drafts, since fewer than {LEAST_ROWS} validation rows cannot tell its worth."
    found = (
        f"CIDEr-D {gain.before:.3f} on validation rows, {gain.added:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) by it"
    )
    if not memory.taken:
        return f"{name}: choosing among drafts by what was said of like rows is not shown to help ({found})."
    near, among, likely = gain.taste
    also = [f"{among:g} times their likeness to the other drafts"] * (among > 0)
    also += [f"{likely:g} times their log-probability"] * (likely > 0)
    return (
        f"{name}: of several drafts the one is kept that is most like the texts of the {near} nearest training rows"
        f"{''.join(f', plus {one}' for one in also)} ({found}); {len(memory):,} rows are remembered for it, "
        f"{memory.bytes / 1e6:.1f} MB."
    )


def _symbols(ids: Tensor) -> list[list[int]]:
    return [[one for one in text if one != PAD] for text in ids.flatten(0, -2).tolist()]


def _gathered(row: np.ndarray, column: np.ndarray, rows: int, columns: int, weight: Any = 1.0) -> sparse.csr_matrix:
    weights = np.broadcast_to(np.asarray(weight, np.float32), row.shape)
    return sparse.csr_matrix((weights, (row, column)), (rows, columns))
