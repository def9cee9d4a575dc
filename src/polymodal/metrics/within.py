"""Metrics of the order of rows within groups: of items for a user, of answers to a question.

A resample holds whole groups, each as often as it was drawn. Rows of one group with equal scores stand in every order
equally often (McSherry & Najork 2008), so that no constant answer wins by the order of the table.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.metrics.base import Metric
from polymodal.metrics.counts import ratio
from polymodal.nn.check import check_count


@dataclass(frozen=True, eq=False)
class Runs:
    """Rows of one group that have one score, for G groups in order: T runs, the best of each group first.

    `group` [T] counts from 0; before a run stand `start` [T] rows of its group, in it `size` [T], whose gains add up to
    `gain` [T].
    """

    group: np.ndarray
    start: np.ndarray
    size: np.ndarray
    gain: np.ndarray
    count: int

    @classmethod
    def of(cls, group: np.ndarray, score: np.ndarray, gain: np.ndarray) -> Runs:
        """Of rows [N] of groups 0 … G-1."""
        order = np.lexsort((-score, group))
        g, s = group[order], score[order]
        begins = np.flatnonzero(np.concatenate([[True], (g[1:] != g[:-1]) | (s[1:] != s[:-1])]))
        first = np.searchsorted(g, g[begins])  # where the run's group begins
        size = np.diff(np.append(begins, len(g)))
        return cls(g[begins], begins - first, size, np.add.reduceat(gain[order], begins), int(g[-1]) + 1)

    def summed(self, values: np.ndarray) -> np.ndarray:
        """[G] of values [T]."""
        return np.bincount(self.group, values, self.count)

    def within(self, k: int) -> np.ndarray:
        """[T] the share of each run that stands among the first k of its group."""
        return np.clip(k - self.start, 0, self.size) / self.size

    def firsts(self) -> np.ndarray:
        """The numbers of the runs that hold a group's first gain; groups without any have none."""
        some = np.flatnonzero(self.gain > 0)
        return some[np.unique(self.group[some], return_index=True)[1]]


class Within(Metric):
    """Abstract: the mean over groups of a figure of the order of their rows. `within` says which rows are a group.

    Gains are the truth: class numbers from 0, so that of two classes the second is relevant, or values, of which those
    below 0 count as 0. A group whose rows are all worth the same says nothing of an order and does not count.
    """

    needs, truths, bounds = "order", ("class", "number"), (0.0, 1.0)
    grouped: ClassVar[bool] = True
    groups_: np.ndarray | None = None

    def within(self, groups: Sequence[Any] | np.ndarray) -> Self:
        one = copy(self)
        one.groups_ = np.unique(np.asarray(groups), return_inverse=True)[1]
        return one

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if self.groups_ is None:
            raise BadArgument(
                f"{self.name} judges the order of rows within groups, as of items for a user: say which column names "
                "them (--rank-by COLUMN, or rank: {by: COLUMN})."
            )
        groups, gain = self.groups_, self.gains(truth.astype(np.float64))
        first = np.unique(groups, return_index=True)[1]
        told = np.flatnonzero(judged_groups(groups, gain))
        if not len(told):
            return np.full(weights.shape[1], np.nan)
        each = self.figures(Runs.of(groups, prediction, gain), Runs.of(groups, gain, gain))
        often = weights[first[told]]
        return ratio(each[told] @ often, often.sum(0))

    def gains(self, truth: np.ndarray) -> np.ndarray:
        """[N] what each row is worth."""
        return truth.clip(min=0)

    @abstractmethod
    def figures(self, runs: Runs, ideal: Runs) -> np.ndarray:
        """[G] the figure of every group, from its runs and from those of the right order. Of a group that does not
        count, anything."""


def judged_groups(groups: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """[G] bool: the groups, by number, that hold rows of different worth."""
    low, high = np.full(groups.max() + 1, np.inf), np.full(groups.max() + 1, -np.inf)
    np.minimum.at(low, groups, gain)
    np.maximum.at(high, groups, gain)
    return low < high


class Ndcg(Within):
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen 2002) of the first `k` rows of a group.

    Σ gain / log2(1 + rank), as a share of that of the right order. Raises `BadArgument` for `k` below 1.
    """

    title = "NDCG"

    def __init__(self, *, k: int = 10):
        self.k = check_count("k", k)

    @property
    def name(self) -> str:
        return f"ndcg@{self.k}"

    def figures(self, runs: Runs, ideal: Runs) -> np.ndarray:
        return ratio(self._dcg(runs), self._dcg(ideal))

    def _dcg(self, runs: Runs) -> np.ndarray:
        total = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, self.k + 2)))])
        ends = (np.minimum(end, self.k) for end in (runs.start, runs.start + runs.size))
        before, upto = (total[end] for end in ends)
        return runs.summed(runs.gain / runs.size * (upto - before))


class Relevance(Within):
    """Abstract: of rows that are relevant or not. Relevant is what is worth at least `least`: the second of two classes
    by default; of a rating from 1 to 5 name it, as `least: 4`."""

    def __init__(self, *, least: float = 1.0):
        self.least = least

    def gains(self, truth: np.ndarray) -> np.ndarray:
        return (truth >= self.least).astype(np.float64)


class GroupAuc(Relevance):
    """The chance that a relevant row of a group scores above another of it, ties counting half; mean over groups."""

    title, chance = "AUC within groups", 0.5

    def figures(self, runs: Runs, ideal: Runs) -> np.ndarray:
        others = runs.size - runs.gain
        above = np.cumsum(others) - others
        above -= above[np.searchsorted(runs.group, runs.group)]  # of the same group
        relevant, rest = runs.summed(runs.gain), runs.summed(others)
        below = rest[runs.group] - above - others / 2
        return ratio(runs.summed(runs.gain * below), relevant * rest)


class Mrr(Relevance):
    """Mean over groups of 1 / the rank of the first relevant row (Voorhees 1999)."""

    title = "MRR"

    def figures(self, runs: Runs, ideal: Runs) -> np.ndarray:
        found = np.zeros(runs.count)
        for run in runs.firsts():
            found[runs.group[run]] = _reciprocal(int(runs.start[run]), int(runs.size[run]), int(runs.gain[run]))
        return found


class _FirstOnes(Relevance):
    def __init__(self, *, k: int = 10, least: float = 1.0):
        super().__init__(least=least)
        self.k = check_count("k", k)


class RecallAt(_FirstOnes):
    """The share of a group's relevant rows that stand among its first `k`; mean over groups.

    Raises `BadArgument` for `k` below 1.
    """

    @property
    def name(self) -> str:
        return f"recall@{self.k}"

    def figures(self, runs: Runs, ideal: Runs) -> np.ndarray:
        return ratio(runs.summed(runs.gain * runs.within(self.k)), runs.summed(runs.gain))


class HitAt(_FirstOnes):
    """The share of groups with a relevant row among the first `k`. Raises `BadArgument` for `k` below 1."""

    @property
    def name(self) -> str:
        return f"hit@{self.k}"

    def figures(self, runs: Runs, ideal: Runs) -> np.ndarray:
        found = np.zeros(runs.count)
        for run in runs.firsts():
            size, relevant = int(runs.size[run]), int(runs.gain[run])
            places = np.arange(min(max(self.k - int(runs.start[run]), 0), size))
            left = np.maximum(size - relevant - places, 0)
            found[runs.group[run]] = 1 - float(np.prod(left / (size - places)))
        return found


def _reciprocal(start: int, size: int, relevant: int) -> float:
    """The mean of 1 / rank of the first of `relevant` rows among `size` in random order, behind `start` others."""
    places = np.arange(size - relevant + 1)
    none_before = np.concatenate([[1.0], np.cumprod((size - relevant - places[:-1]) / (size - places[:-1]))])
    return float((none_before * relevant / (size - places) / (start + places + 1)).sum())
