"""Means and covariances of the pairs of several streams, in one pass and without a copy of the vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from polymodal.aligners.pairs import Side, pairs
from polymodal.core.errors import BadData

CHUNK = 2048  # items at a time: what is held besides the vectors is a block of them and the covariances
Prepare = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Cross:
    """Sums over the pairs of two streams, in float64: [Da], [Db], [Da, Da], [Db, Db], [Da, Db] and their number."""

    count: int
    sum_a: Tensor
    sum_b: Tensor
    aa: Tensor
    bb: Tensor
    ab: Tensor

    def __add__(self, other: Cross) -> Cross:
        return Cross(*(mine + theirs for mine, theirs in zip(self._sums, other._sums)))  # type: ignore[arg-type]

    def __sub__(self, other: Cross) -> Cross:
        return Cross(*(mine - theirs for mine, theirs in zip(self._sums, other._sums)))  # type: ignore[arg-type]

    @property
    def _sums(self) -> tuple[int | Tensor, ...]:
        return self.count, self.sum_a, self.sum_b, self.aa, self.bb, self.ab


@dataclass(frozen=True)
class Moments:
    """Means and covariances of the streams' pairs. An item counts as often as it stands in a pair.

    With more than two streams, those of one stream are the mean over its partners. `origin` is where the sums were
    taken from, so that a large common offset costs no digits.
    """

    names: tuple[str, ...]
    origin: Mapping[str, Tensor]
    cross: Mapping[tuple[str, str], Cross]

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.names, self.origin, {k: c + other.cross[k] for k, c in self.cross.items()})

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.names, self.origin, {k: c - other.cross[k] for k, c in self.cross.items()})

    @property
    def linked(self) -> list[tuple[str, str]]:
        """The pairs of streams that have pairs of items."""
        return [names for names, cross in self.cross.items() if cross.count]

    def mean(self, name: str) -> Tensor:
        """[D], the mean over the pairs in which the stream's items stand."""
        means = [(c.sum_a if name == a else c.sum_b) / c.count for (a, b), c in self._of(name)]
        return torch.stack(means).mean(0) + self.origin[name]

    def covariance(self, name: str) -> Tensor:
        """[D, D], of the items as they stand in pairs (divided by the number of pairs)."""
        covariances = []
        for (a, _), c in self._of(name):
            total, square = (c.sum_a, c.aa) if name == a else (c.sum_b, c.bb)
            covariances.append(square / c.count - torch.outer(total, total) / c.count**2)
        return torch.stack(covariances).mean(0) if len(covariances) > 1 else covariances[0]

    def between(self, a: str, b: str) -> Tensor:
        """[Da, Db], the covariance of paired items; zero where the two streams have no pair."""
        if a > b:
            return self.between(b, a).T
        c = self.cross[a, b]
        return c.ab / max(c.count, 1) - torch.outer(c.sum_a, c.sum_b) / max(c.count, 1) ** 2

    def _of(self, name: str) -> list[tuple[tuple[str, str], Cross]]:
        return [(names, cross) for names, cross in self.cross.items() if name in names and cross.count]


def fold_moments(
    sides: Mapping[str, Side], folds: Mapping[str, np.ndarray], count: int, prepare: Prepare
) -> list[Moments]:
    """The moments of the pairs of each of `count` folds; `folds[name]` [N] says in which fold each item lies.

    Items that belong together lie in one fold. `prepare` is applied to every block of vectors. Raises `BadData` when
    a stream has no pair with any other.
    """
    names = tuple(sorted(sides))
    origin = {name: _origin(sides[name].vectors, prepare) for name in names}
    by_fold: list[dict[tuple[str, str], Cross]] = [{} for _ in range(count)]
    for a, b in combinations(names, 2):
        i, j = (index.numpy() for index in pairs(sides[a].rows, sides[b].rows))
        fold = folds[a][i]
        left, right = (_Blocks(sides[n].vectors, origin[n], prepare) for n in (a, b))
        for number in range(count):
            chosen = fold == number
            by_fold[number][a, b] = _cross(left, right, i[chosen], j[chosen])
    for name in names:
        if not any(c.count for crosses in by_fold for pair, c in crosses.items() if name in pair):
            raise BadData(
                f"No item of {name!r} shares a row with an item of another stream: without pairs nothing can be "
                "aligned. Check that both columns are filled in the same rows, or use an aligner that needs no pairs."
            )
    return [Moments(names, origin, crosses) for crosses in by_fold]


@dataclass(frozen=True)
class _Blocks:
    """Vectors read a block at a time: prepared, in float64, from the origin."""

    vectors: Tensor
    origin: Tensor
    prepare: Prepare

    def read(self, items: np.ndarray) -> Tensor:
        return self.prepare(self.vectors[torch.from_numpy(items)].double()) - self.origin

    @property
    def width(self) -> int:
        return self.vectors.shape[1]


def _origin(vectors: Tensor, prepare: Prepare) -> Tensor:
    return prepare(vectors[:CHUNK].double()).mean(0)


def _cross(a: _Blocks, b: _Blocks, i: np.ndarray, j: np.ndarray) -> Cross:
    """Sums over pairs (i, j), sorted by i."""
    left, right = a.origin.new_zeros(a.width), a.origin.new_zeros(b.width)
    aa, bb = left.new_zeros(a.width, a.width), left.new_zeros(b.width, b.width)
    ab = left.new_zeros(a.width, b.width)
    items, where, counts = np.unique(i, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    for start in range(0, len(items), CHUNK):
        block = slice(start, start + CHUNK)
        x, weight = a.read(items[block]), torch.from_numpy(counts[block]).double()[:, None]
        first, last = ends[start] - counts[start], ends[block][-1]
        y = _summed(b, j[first:last], where[first:last] - start, len(x))
        left += (x * weight).sum(0)
        aa.addmm_(x.T, x * weight)
        ab.addmm_(x.T, y)
    items, counts = np.unique(j, return_counts=True)
    for start in range(0, len(items), CHUNK):
        block = slice(start, start + CHUNK)
        y, weight = b.read(items[block]), torch.from_numpy(counts[block]).double()[:, None]
        right += (y * weight).sum(0)
        bb.addmm_(y.T, y * weight)
    return Cross(len(i), left, right, aa, bb, ab)


def _summed(b: _Blocks, items: np.ndarray, groups: np.ndarray, count: int) -> Tensor:
    """[count, Db]: the partners of each item of the other side, added up."""
    total = b.origin.new_zeros(count, b.width)
    for start in range(0, len(items), CHUNK):
        block = slice(start, start + CHUNK)
        total.index_add_(0, torch.from_numpy(groups[block]), b.read(items[block]))
    return total
