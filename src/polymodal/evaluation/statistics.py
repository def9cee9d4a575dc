"""Intervals and paired tests over rows and seeds; greedy ensembles; corrections for many tests.

What an interval here covers: the mean score of a strategy over all rows like the test rows and all seeds of its
training, for the training set at hand. It does not cover the choice of another training set, for which the strategy
would have to be fitted again on resampled rows (Nadeau & Bengio 2003; Bouthillier et al. 2021).

Rows vary by the bootstrap: whole rows, or whole groups of rows that belong together, are drawn with replacement (Efron
& Tibshirani 1993), the same rows for every seed and for both sides of a comparison. Seeds are few, three as a rule, and
resampling three values makes intervals far too narrow. So the variance between seeds gives an interval of its own by
Student's t, and both are joined by the root of the sum of their squares (Zou & Donner 2008). Part of it comes
from the finite test set and is in the rows' interval already. Taking off all of it made 95% intervals of three seeds
cover as little as 91% in simulation, none of it 95 to 99%; taking off half, 94 to 98%. With two seeds it can be 90%:
use three. With one seed nothing is known about seeds, and rows alone count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtri, stdtrit

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.values import check_range
from polymodal.metrics.base import RESAMPLES, TEXTS, Metric, labelled

CELLS = 4_000_000  # row counts held at a time: 32 MB
LEAST_P = 1e-6
STILL = 1e-9  # of a score's size: resamples that vary by less vary by rounding alone
CHANCE_SHARE = 0.5  # how much of the spread that a finite test set causes between seeds is taken off; see above


@dataclass(frozen=True)
class Interval:
    """A score: its value on the test rows, and the ends of its interval (NaN where nothing can be said)."""

    mean: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside; False where nothing can be said."""
        return self.low > value or self.high < value


@dataclass(frozen=True)
class Paired:
    """A difference of two scores over the same rows and seeds, its interval, and the p-value of no difference."""

    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, eq=False)
class Draws:
    """A score of S seeds on the test rows, `point` [S], and on R resamples of them, `draws` [S, R].

    `units` is how many rows or groups were resampled, `rows` how many rows there are. `step` is set for proportions and
    their differences: the most that one row can change, before division by `rows`; `contrast` says that it is a
    difference. `bounds` are the least and the greatest score that there can be.
    """

    point: np.ndarray
    draws: np.ndarray
    units: int
    rows: int
    step: float = 0.0
    contrast: bool = False
    bounds: tuple[float, float] = (-np.inf, np.inf)

    @property
    def mean(self) -> float:
        """The mean score of the seeds on the test rows."""
        return float(self.point.mean())

    @property
    def span(self) -> float:
        """From the least to the greatest score, infinite where there is none."""
        return (self.bounds[1] - self.bounds[0]) / (2 if self.contrast else 1)

    @property
    def stuck(self) -> bool:
        """Whether resamples that do not vary say nothing of other rows: all right, or all groups alike.

        A constant answer's auroc does not vary either, and there is no more to know.
        """
        if self.step:
            return False
        return self.mean != 0 if self.contrast else self.units < self.rows or self.mean in self.bounds

    def interval(self, level: float = 0.95) -> Interval:
        """The interval that covers the true score with probability `level`. Raises `BadArgument` outside (0, 1).

        Its row part, for proportions: Wilson's (1927) interval at the effective number of rows (Korn & Graubard 1998),
        since the percentile interval of 50 right answers out of 50 would have no width. For differences of proportions:
        one pseudo-row more on each side (Bonett & Price 2012), for the same reason. Others: percentiles of resamples.
        """
        check_range("(0, 1)", level=level)
        spread = _Spread.of(self)
        return Interval(self.mean, *(spread.ends(level) if spread else (float("nan"), float("nan"))))

    def p_value(self) -> float:
        """The two-sided p-value of a true score of 0, for differences.

        It is one minus the level of the widest interval that excludes 0, so p < 0.05 just where the 95% interval does.
        It is never below 1e-6: what lies further out rests on the shape of the tails, which nobody knows.
        """
        spread = _Spread.of(self)
        if spread is None:
            return float("nan")
        low, high = LEAST_P, 1.0
        for _ in range(40):
            middle = (low * high) ** 0.5
            ends = spread.ends(1 - middle)
            low, high = (low, middle) if ends[0] > 0 or ends[1] < 0 else (middle, high)
        return high


@dataclass(frozen=True, eq=False)
class _Spread:
    """How a score varies: over rows, `rows` [R] its sorted values on resamples; and between seeds."""

    of_: Draws
    rows: np.ndarray
    row_variance: float
    seed_variance: float

    @classmethod
    def of(cls, d: Draws) -> _Spread | None:
        """None where the score, or its variation, is undefined."""
        draws = d.draws[:, np.isfinite(d.draws).all(0)]
        seeds = len(d.point)
        if not np.isfinite(d.point).all() or d.units < 2 or draws.shape[1] < 2:
            return None
        rows = draws.mean(0)
        varies = float(np.ptp(rows)) > STILL * max(1.0, float(np.abs(rows).max()))
        if not varies and d.stuck and not np.isfinite(d.span):
            return None
        inflate = d.units / (d.units - 1)  # a bootstrap of n values has the variance of n - 1 (Hesterberg 2015)
        seed_variance = 0.0
        if seeds > 1:
            chance = float((draws - rows).var(axis=1).sum()) * inflate / (seeds - 1)
            seed_variance = max(0.0, float(d.point.var(ddof=1)) - CHANCE_SHARE * chance) / seeds
        return cls(d, np.sort(rows), float(rows.var()) * inflate if varies else 0.0, seed_variance)

    def ends(self, level: float) -> tuple[float, float]:
        """The ends of the interval of `level`, rows and seeds together."""
        d, upper = self.of_, (1 + level) / 2
        t = float(stdtrit(d.units - 1, upper))
        if not d.step:
            low, high = self._percentiles(t, upper)
        elif d.contrast:
            low, high = self._contrast(t)
        else:
            low, high = self._proportion(t)
        seeds = float(stdtrit(len(d.point) - 1, upper)) * self.seed_variance**0.5 if self.seed_variance else 0.0
        least, most = (-d.step if d.contrast else 0.0, d.step) if d.step else d.bounds
        below, above = max(d.mean - low, 0.0), max(high - d.mean, 0.0)
        return max(d.mean - float(np.hypot(below, seeds)), least), min(d.mean + float(np.hypot(above, seeds)), most)

    def _percentiles(self, t: float, upper: float) -> tuple[float, float]:
        wider = t / float(ndtri(upper)) * (self.of_.units / (self.of_.units - 1)) ** 0.5
        mean = self.of_.mean
        if not self.row_variance and self.of_.stuck:  # as of a share of so many rows that were all right (Wilson)
            rows = self.of_.units if mean in self.of_.bounds else self.of_.rows
            reach = self.of_.span * t**2 / (rows + t**2)
            return mean - reach, mean + reach
        low, high = np.quantile(self.rows, [1 - upper, upper])
        below, above = wider * (mean - low), wider * (high - mean)
        if 1 - upper < 1 / (len(self.rows) + 1):  # further out than the resamples reach: by the standard error
            below, above = (max(x, t * self.row_variance**0.5) for x in (below, above))
        return mean - below, mean + above

    def _proportion(self, t: float) -> tuple[float, float]:
        """By Wilson at the rows that would vary as much. Groups that are alike count for no more than their rows (Korn
        & Graubard 1998); of those where all are right, or none is, nothing says that their rows differ."""
        d, share = self.of_, self.of_.mean
        most = np.inf if d.units == d.rows else d.rows
        apart = share * (1 - share) / self.row_variance if self.row_variance else most
        rows = min(apart, most) if 0 < share < 1 and np.isfinite(min(apart, most)) else d.units
        centre = (share + t**2 / (2 * rows)) / (1 + t**2 / rows)
        half = t / (1 + t**2 / rows) * (share * (1 - share) / rows + t**2 / (4 * rows**2)) ** 0.5
        return centre - half, centre + half

    def _contrast(self, t: float) -> tuple[float, float]:
        d = self.of_
        centre = d.mean * d.rows / (d.rows + 2)
        half = t * (self.row_variance * d.rows**2 + 2 * d.step**2) ** 0.5 / (d.rows + 2)
        return centre - half, centre + half


def resample(
    metric: Metric,
    truth: np.ndarray,
    predictions: np.ndarray,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    groups: np.ndarray | None = None,
) -> Draws:
    """The metric of every seed's predictions [S, N, ...] on the rows and on resamples of them.

    The resamples depend on `seed` and the labelled rows only, so two calls on the same rows can be compared draw by
    draw. `groups` [N] names what is drawn as a whole. A `biased` metric gets no draws, and so no interval; one that
    names fewer `resamples` gets those. Raises `BadData` for shapes that do not fit.
    """
    truth, predictions = np.asarray(truth), np.asarray(predictions)
    if predictions.ndim < 2 or predictions.shape[1] != len(truth):
        raise BadData(f"Predictions are [seeds, rows, ...] for the truth's {len(truth)} rows; got {predictions.shape}.")
    if groups is not None and len(groups) != len(truth):
        raise BadData(f"groups names a group for each of the {len(truth)} rows; got {len(groups)}.")
    keep = labelled(truth)
    truth, predictions = truth[keep], predictions[:, keep]
    if groups is not None:
        metric = metric.within(np.asarray(groups)[keep])
    read = [metric.read(truth, p) for p in predictions]
    once = np.ones((len(truth), 1))
    point = np.array([metric.weighted(t, p, once)[0] if len(t) else np.nan for t, p in read], dtype=np.float64)
    unit = np.arange(len(truth)) if groups is None else np.unique(np.asarray(groups)[keep], return_inverse=True)[1]
    units = int(unit.max()) + 1 if len(unit) else 0
    if units == 0 or metric.biased:
        return Draws(point, np.empty((len(point), 0)), 0, 0)
    width = truth.shape[1] if truth.ndim == 2 and truth.dtype.kind not in TEXTS else 1
    draws = [
        np.stack([metric.weighted(t, p, counts if groups is None else counts[unit]) for t, p in read])
        for counts in _counts(units, len(truth) * width, seed, min(resamples, metric.resamples))
    ]
    step, bounds = float(metric.proportion), metric.bounds
    return Draws(point, np.concatenate(draws, axis=1), units, len(truth), step, bounds=bounds)


def _counts(units: int, cells: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each unit is drawn, [units, r] at a time, `resamples` in all; few enough for `cells` numbers each."""
    chunk = max(1, min(resamples, CELLS // cells))
    if chunk == resamples:
        yield _few_counts(units, seed, resamples)
        return
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, chunk):
        yield _draw(rng, units, min(chunk, resamples - start))


@lru_cache(maxsize=2)
def _few_counts(units: int, seed: int, resamples: int) -> np.ndarray:
    """Kept, since every row of a leaderboard needs the same."""
    counts = _draw(np.random.default_rng(seed), units, resamples)
    counts.setflags(write=False)
    return counts


def _draw(rng: np.random.Generator, units: int, resamples: int) -> np.ndarray:
    places = rng.integers(0, units, size=(resamples, units)) * resamples + np.arange(resamples)[:, None]
    return np.bincount(places.reshape(-1), minlength=units * resamples).reshape(units, resamples).astype(np.float64)


def mix(weights: np.ndarray, draws: Sequence[Draws]) -> list[Draws]:
    """Linear combinations: weights [Q, M] of M draws over the same resamples. Weights that sum to 0 give contrasts."""
    weights = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    point = np.tensordot(weights, np.stack([d.point for d in draws]), 1)
    values = np.tensordot(weights, np.stack([d.draws for d in draws]), 1)
    contrast = np.abs(weights.sum(1)) < 1e-9
    step = np.where(contrast, np.abs(weights).sum(1) / 2, 0.0) * draws[0].step
    of, plain = draws[0], (-np.inf, np.inf)
    widest = of.bounds[1] - of.bounds[0]  # of a difference of two
    return [
        Draws(p, v, of.units, of.rows, float(s), bool(c), (-widest, widest) if c and len(draws) == 2 else plain)
        for p, v, s, c in zip(point, values, step, contrast)
    ]


def bootstrap(
    metric: Metric,
    truth: np.ndarray,
    predictions: np.ndarray,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    groups: np.ndarray | None = None,
) -> Interval:
    """The mean score of predictions [S, N, ...] with its interval over rows (or groups) and seeds."""
    return resample(metric, truth, predictions, seed=seed, resamples=resamples, groups=groups).interval(level)


def paired(
    metric: Metric,
    truth: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    groups: np.ndarray | None = None,
) -> Paired:
    """The score of `a` less that of `b`, both [S, N, ...], over the same rows and matched seeds.

    Raises `BadData` where the numbers of seeds differ.
    """
    if len(a) != len(b):
        raise BadData(f"Seeds are matched, so both sides need as many; got {len(a)} and {len(b)}.")
    sides = [resample(metric, truth, p, seed=seed, resamples=resamples, groups=groups) for p in (a, b)]
    return compare_draws(*sides, level=level)


def compare_draws(a: Draws, b: Draws, *, level: float = 0.95) -> Paired:
    """`paired`, from draws over the same resamples."""
    difference = mix(np.array([1.0, -1.0]), (a, b))[0]
    interval = difference.interval(level)
    return Paired(difference.mean, interval.low, interval.high, difference.p_value())


def holm(p: Sequence[float]) -> np.ndarray:
    """p-values adjusted for being many (Holm 1979): those below 0.05 hold together with 95% confidence."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)).clip(max=1.0)
    return adjusted


def caruana(
    predictions: Sequence[np.ndarray] | np.ndarray, truth: np.ndarray, metric: Metric, rounds: int = 20,
    *, groups: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Weights, summing to 1, of a greedy ensemble (Caruana et al. 2004).

    Starting from nothing, the member that helps the mean most is added, again and again with repetition; the best of
    the `rounds` bags wins, the smallest of equals. `predictions` are [N, ...] a member, of rows that no member was
    fitted on, and belong to the `groups` [N].
    Raises `BadArgument` without a member or a round.
    """
    if not len(predictions) or rounds < 1:
        raise BadArgument(f"An ensemble needs a member and a round; got {len(predictions)} and {rounds}.")
    total: np.ndarray = np.zeros(np.shape(predictions[0]))
    counts = np.zeros(len(predictions))
    best, weights = -np.inf, counts
    for size in range(1, rounds + 1):
        scores = [metric.turned(metric(truth, (total + p) / size, groups)) for p in predictions]
        added = int(np.argmax(scores))
        total, counts[added] = total + predictions[added], counts[added] + 1
        if scores[added] > best:
            best, weights = scores[added], counts / size
    return weights
