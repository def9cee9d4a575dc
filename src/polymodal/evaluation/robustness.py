"""What becomes of a score when streams are missing or noisy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.evaluation.statistics import Draws, Interval, Paired, compare_draws, holm, resample
from polymodal.metrics.base import RESAMPLES, Metric

MOST_STREAMS = 10  # every subset of them is tried: 1024
Score = Callable[[np.ndarray], np.ndarray]  # which streams to keep [K] bool -> predictions [S, N, ...]


def subset_masks(names: Sequence[str]) -> list[tuple[str, ...]]:
    """All 2^K subsets of K names: the j-th holds `names[k]` where bit k of j is set, so () is first and all last.

    Raises `BadArgument` above 10 names.
    """
    if len(names) > MOST_STREAMS:
        raise BadArgument(
            f"{len(names)} streams have {2 ** len(names)} subsets; up to {MOST_STREAMS} streams are tried. "
            "`explain.modalities.sampled_worth` estimates their worth from a sample of the subsets."
        )
    return [tuple(n for k, n in enumerate(names) if j >> k & 1) for j in range(2 ** len(names))]


@dataclass(frozen=True, eq=False)
class Subsets:
    """Every subset of the streams scored on the same rows: in the order of `subset_masks`.

    `predictions` [2^K, S, N, ...]; `draws` a subset each, over the same resamples.
    """

    metric: Metric
    names: tuple[str, ...]
    predictions: np.ndarray
    draws: tuple[Draws, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """[{"streams", "mean", "low", "high"}], the empty subset left out, the largest first."""
        intervals = [(s, d.interval()) for s, d in zip(subset_masks(self.names), self.draws) if s]
        return [
            {"streams": list(s), "mean": i.mean, "low": i.low, "high": i.high}
            for s, i in sorted(intervals, key=lambda x: -len(x[0]))
        ]


def evaluate_subsets(
    metric: Metric,
    truth: np.ndarray,
    names: Sequence[str],
    score: Score,
    *,
    seed: int,
    prior: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    groups: np.ndarray | None = None,
) -> Subsets:
    """Score every subset: `score(keep)` predicts [S, N, ...] with the streams not in `keep` [K] bool cleared.

    `prior` [S, N, ...], where given, is the answer to the empty subset (chance), which `score` is then not asked for.
    Raises `BadArgument` above 10 streams.
    """
    predictions = []
    for j in range(len(subset_masks(names))):
        keep = (j >> np.arange(len(names)) & 1).astype(bool)
        predictions.append(np.asarray(prior if prior is not None and j == 0 else score(keep)))
    draws = [resample(metric, truth, p, seed=seed, resamples=resamples, groups=groups) for p in predictions]
    return Subsets(metric, tuple(names), np.stack(predictions), tuple(draws))


@dataclass(frozen=True)
class Violation:
    """Adding the stream `added` to `streams` made the score worse: `difference` is below 0 by more than chance."""

    streams: tuple[str, ...]
    added: str
    difference: Paired


def monotonicity_violations(subsets: Subsets, *, level: float = 0.95) -> list[Violation]:
    """Where one stream more makes the score worse: a model that handles missing streams well has no such place.

    All K 2^(K-1) steps are tested, with Holm's (1979) correction, so that none is reported by chance with probability
    `level`. Differences are turned so that above 0 is better; their `p` is the corrected one. The worst comes first.
    """
    streams = subset_masks(subsets.names)
    steps = [(j, k) for j in range(len(streams)) for k in range(len(subsets.names)) if not j >> k & 1]
    tests = []
    for j, k in steps:
        more, less = subsets.draws[j | 1 << k], subsets.draws[j]
        tests.append(compare_draws(*((more, less) if subsets.metric.greater_is_better else (less, more)), level=level))
    corrected = holm([f.p for f in tests])
    worse = [
        Violation(streams[j], subsets.names[k], Paired(f.difference, f.low, f.high, float(p)))
        for (j, k), f, p in zip(steps, tests, corrected)
        if f.difference < 0 and p < 1 - level
    ]
    return sorted(worse, key=lambda v: v.difference.difference)


@dataclass(frozen=True)
class NoiseCurve:
    """The score while noise of growing strength is added to one stream."""

    stream: str
    levels: tuple[float, ...]
    scores: tuple[Interval, ...]

    def to_json(self) -> dict[str, Any]:
        """{"stream", "levels", "mean", "low", "high"}, a value a level."""
        ends = {part: [getattr(s, part) for s in self.scores] for part in ("mean", "low", "high")}
        return {"stream": self.stream, "levels": list(self.levels), **ends}


def noise_curves(
    metric: Metric,
    truth: np.ndarray,
    names: Sequence[str],
    predict_with_noise: Callable[[str, float], np.ndarray],
    *,
    seed: int,
    levels: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    resamples: int = RESAMPLES,
    groups: np.ndarray | None = None,
) -> list[NoiseCurve]:
    """A curve a stream: `predict_with_noise(stream, level)` predicts [S, N, ...] with noise of `level` in that stream.

    Level 0 is the same for all streams and predicted once. Raises `BadArgument` for a level outside [0, 1].
    """
    if not levels or min(levels) < 0 or max(levels) > 1:
        raise BadArgument(f"Noise levels lie between 0 and 1; got {list(levels)}.")

    def scored(stream: str, level: float) -> Interval:
        predictions = predict_with_noise(stream, level)
        return resample(metric, truth, predictions, seed=seed, resamples=resamples, groups=groups).interval()

    clean = scored(names[0], 0.0) if 0 in levels else None
    return [
        NoiseCurve(n, tuple(levels), tuple(clean if clean and level == 0 else scored(n, level) for level in levels))
        for n in names
    ]
