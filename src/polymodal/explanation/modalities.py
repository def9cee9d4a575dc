"""What each modality was worth: Shapley values and interactions over the streams, with intervals.

The players are the K streams; the value v(T) of a subset T is the score of the model when it sees the streams of T
only, the others being missing. v of the empty set is the score of the prior. A stream's worth is its mean gain over all
orders in which the streams could come (Shapley 1953), so worths add up to v(all) - v(none); a pair's interaction is the
mean change that one makes to the gain of the other (Grabisch & Roubens 1999). Both are linear in v, so each is one
product of a weight matrix with the values of all 2^K subsets, of resamples and of rows alike.

Interactions are those of the score. Where it is bounded, as accuracy is, two streams that are each nearly perfect must
overlap in it, even if they see different things; `row_worth` and log loss have no such ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from scipy.special import stdtrit

from polymodal.core.errors import BadData
from polymodal.core.values import check_range
from polymodal.evaluation.robustness import Score, Subsets
from polymodal.evaluation.statistics import Draws, Interval, mix, resample
from polymodal.metrics.base import RESAMPLES, Metric
from polymodal.metrics.probabilities import FLOOR


@dataclass(frozen=True)
class StreamWorth:
    """A stream's Shapley value in the metric's unit (above 0: it helps), its score alone, the others' without it."""

    name: str
    worth: Interval
    alone: Interval
    without: Interval


@dataclass(frozen=True)
class Interaction:
    """The Shapley interaction of two streams. `kind`: `synergy` above 0, `redundancy` below, `none` if unclear."""

    pair: tuple[str, str]
    index: Interval
    kind: str


@dataclass(frozen=True)
class Worth:
    """What the streams were worth together: from `none`, the prior's score, to `every`, that of all streams."""

    unit: str
    none: Interval
    every: Interval
    streams: tuple[StreamWorth, ...]
    interactions: tuple[Interaction, ...]

    def to_json(self) -> dict[str, Any]:
        """{"unit", "streams": [{"name", "mean", "low", "high", "alone", "without"}], "interactions": [...]}."""
        return {
            "unit": self.unit,
            "streams": [
                {"name": s.name, **vars(s.worth), "alone": s.alone.mean, "without": s.without.mean}
                for s in self.streams
            ],
            "interactions": [{"pair": list(i.pair), **vars(i.index), "kind": i.kind} for i in self.interactions],
        }


def shapley_weights(streams: int) -> np.ndarray:
    """[K, 2^K]: a stream's Shapley value is this row times the subsets' values, in the order of `subset_masks`."""
    member, size = _members(streams)
    gain = 1 / (streams * np.array([comb(streams - 1, s) for s in range(streams)], dtype=np.float64))
    with_, without = gain[np.maximum(size - 1, 0)], gain[np.minimum(size, streams - 1)]
    return np.where(member, with_, -without)


def interaction_weights(streams: int) -> tuple[list[tuple[int, int]], np.ndarray]:
    """The pairs of K streams and [pairs, 2^K] weights of their Shapley interaction index; none for one stream."""
    pairs = list(combinations(range(streams), 2))
    if not pairs:
        return [], np.zeros((0, 2**streams))
    member, size = _members(streams)
    gain = 1 / ((streams - 1) * np.array([comb(streams - 2, s) for s in range(streams - 1)], dtype=np.float64))
    rows = []
    for i, j in pairs:
        inside = member[i].astype(int) + member[j]  # of the pair; the rest of the subset are `size - inside` others
        rows.append(np.where(inside == 1, -1.0, 1.0) * gain[size - inside])
    return pairs, np.stack(rows)


def _members(streams: int) -> tuple[np.ndarray, np.ndarray]:
    """[K, 2^K] bool: is stream k in subset j; [2^K] sizes."""
    member = (np.arange(2**streams) >> np.arange(streams)[:, None] & 1).astype(bool)
    return member, member.sum(0)


def worth(subsets: Subsets, *, level: float = 0.95) -> Worth:
    """Exact worth and interactions of the streams for a whole data set, with intervals over rows and seeds.

    A pair is called `synergy` or `redundancy` where its interval of `level` excludes 0, each pair by itself.
    """
    names, draws = subsets.names, subsets.draws
    count, last = len(names), len(draws) - 1
    sign = subsets.metric.turned(1.0)
    pairs, between = interaction_weights(count)
    intervals = [d.interval(level) for d in mix(sign * np.concatenate([shapley_weights(count), between]), draws)]
    streams = [
        StreamWorth(name, intervals[k], draws[1 << k].interval(level), draws[last ^ 1 << k].interval(level))
        for k, name in enumerate(names)
    ]
    interactions = [
        Interaction((names[i], names[j]), index, _kind(index)) for (i, j), index in zip(pairs, intervals[count:])
    ]
    none, every = draws[0].interval(level), draws[last].interval(level)
    return Worth(subsets.metric.name, none, every, tuple(streams), tuple(interactions))


def _kind(index: Interval) -> str:
    return "synergy" if index.low > 0 else "redundancy" if index.high < 0 else "none"


def row_worth(predictions: np.ndarray, *, of: np.ndarray | None = None) -> np.ndarray:
    """[N, K] what each stream was worth to each row's answer: the rows add up to the answer less the prior's.

    `predictions` are one seed's for every subset, in the order of `subset_masks`. Probabilities [2^K, N, C]: worth is
    in log-probability of class `of` [N], by default the one answered from all streams (above 0: the stream speaks for
    it). Numbers [2^K, N]: in the target's unit. Raises `BadData` unless there are 2^K subsets.
    """
    predictions = np.asarray(predictions, dtype=np.float64)
    streams = len(predictions).bit_length() - 1
    if len(predictions) != 2**streams or predictions.ndim not in (2, 3):
        raise BadData(f"Row worth reads [2^K, rows] or [2^K, rows, classes]; got {predictions.shape}.")
    values = predictions
    if predictions.ndim == 3:
        of = predictions[-1].argmax(1) if of is None else np.asarray(of)
        values = np.log(np.take_along_axis(predictions, of[None, :, None], 2)[..., 0].clip(min=FLOOR))
    return (shapley_weights(streams) @ values).T


def sampled_worth(
    metric: Metric,
    truth: np.ndarray,
    names: Sequence[str],
    score: Score,
    *,
    seed: int,
    prior: np.ndarray | None = None,
    orders: int = 32,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    groups: np.ndarray | None = None,
) -> Worth:
    """Worth of many streams from random orders (Castro et al. 2009), each with its reverse (Mitchell et al. 2022).

    `orders` pairs are drawn, each asking `score` for at most 2 K - 2 new subsets; intervals are widened by what the
    sampling leaves open. The worths add up to v(all) - v(none) all the same. Interactions are not estimated. Raises
    `BadArgument` below two orders.
    """
    check_range("[2, inf)", orders=orders)
    count, sign = len(names), metric.turned(1.0)
    rng = np.random.default_rng(seed)
    places: dict[int, int] = {}  # subset -> its column, in order of first use
    gains = []  # a pair of orders each: (stream, column with it, column without it)
    for _ in range(orders):
        forward = rng.permutation(count)
        gains.append([g for order in (forward, forward[::-1]) for g in _gains(order, places)])
    extra = [1 << k for k in range(count)] + [(1 << count) - 1 ^ 1 << k for k in range(count)]
    columns = [places.setdefault(j, len(places)) for j in extra]

    def draws_of(subset: int) -> Draws:
        keep = np.array([subset >> k & 1 for k in range(count)], dtype=bool)
        predictions = prior if prior is not None and subset == 0 else score(keep)
        return resample(metric, truth, predictions, seed=seed, resamples=resamples, groups=groups)

    draws = [draws_of(subset) for subset in places]
    weights = np.zeros((orders, count, len(places)))
    for m, steps in enumerate(gains):
        for k, more, less in steps:
            weights[m, k, more] += sign / 2
            weights[m, k, less] -= sign / 2
    by_pair = weights @ np.array([d.mean for d in draws])
    left_open = stdtrit(orders - 1, (1 + level) / 2) * by_pair.std(0, ddof=1) / orders**0.5
    intervals = [_widened(d.interval(level), w) for d, w in zip(mix(weights.mean(0), draws), left_open)]
    alone, without = columns[:count], columns[count:]
    streams = [
        StreamWorth(name, intervals[k], draws[alone[k]].interval(level), draws[without[k]].interval(level))
        for k, name in enumerate(names)
    ]
    none, every = (draws[places[j]].interval(level) for j in (0, (1 << count) - 1))
    return Worth(metric.name, none, every, tuple(streams), ())


def _gains(order: np.ndarray, places: dict[int, int]) -> list[tuple[int, int, int]]:
    """The gains of one order as (stream, column of the subset with it, column without it); new subsets get a column."""
    subset, gains = 0, []
    for k in order.tolist():
        more = subset | 1 << k
        columns = (places.setdefault(more, len(places)), places.setdefault(subset, len(places)))
        gains.append((k, *columns))
        subset = more
    return gains


def _widened(interval: Interval, half: float) -> Interval:
    low = interval.mean - float(np.hypot(interval.mean - interval.low, half))
    return Interval(interval.mean, low, interval.mean + float(np.hypot(interval.high - interval.mean, half)))
