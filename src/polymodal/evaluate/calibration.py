"""Calibration: are answers given with 80% confidence right 80% of the time, and how wide must an interval be?"""

from __future__ import annotations

import math

import numpy as np

from polymodal.core.errors import BadArgument, BadData
from polymodal.evaluate.ranks import midranks

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
LEAST, RESOLUTION = 1e-30, 1e-7  # single precision holds probabilities much closer to 0 than to 1


def confidences(probability: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What was claimed and what came true, [M] each.

    classes (truth [N] int): the largest probability of a row and whether that class is the true one. multilabel (truth
    [N, C]): every label's probability and whether the row carries it, row by row.
    """
    if truth.ndim == 2:
        return probability.reshape(-1).astype(np.float64), truth.reshape(-1).astype(np.float64)
    return probability.max(1).astype(np.float64), (probability.argmax(1) == truth).astype(np.float64)


def binned_gaps(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray, bins: int = BINS) -> np.ndarray:
    """[R] mean |confidence - right| over bins of equal mass, under weights [M, R]. Equal confidences share a bin."""
    total = weights.sum(0)
    place = np.minimum((midranks(confidence, weights) - 0.5) / total * bins, bins - 1).astype(np.int64)
    gap = weights * (confidence - right)[:, None]
    return sum(np.abs(np.where(place == b, gap, 0.0).sum(0)) for b in range(bins)) / total


def expected_calibration_error(probability: np.ndarray, truth: np.ndarray, *, bins: int = BINS) -> float:
    """Expected calibration error (Naeini et al. 2015; Guo et al. 2017) over bins of equal mass (Nixon et al. 2019).

    `probability` [N, C]; `truth` class numbers [N] or 0/1 [N, C]; unlabelled rows (-1, NaN) do not count. It is biased
    upwards on few rows: a perfectly calibrated answer on 100 rows shows several points. NaN without a labelled row.
    """
    confidence, right = confidences(*_labelled(probability, truth))
    return float(binned_gaps(confidence, right, np.ones((len(right), 1)), bins)[0]) if len(right) else float("nan")


def reliability_bins(probability: np.ndarray, truth: np.ndarray, *, bins: int = 10) -> list[dict[str, float]]:
    """Bins of equal mass, as {"confidence", "accuracy", "count"}, confidence ascending; empty bins are left out."""
    confidence, right = confidences(*_labelled(probability, truth))
    if not len(right):
        return []
    place = ((midranks(confidence, np.ones((len(right), 1)))[:, 0] - 0.5) / len(right) * bins).astype(np.int64)
    found = [(confidence[place == b], right[place == b]) for b in range(bins)]
    return [{"confidence": float(c.mean()), "accuracy": float(r.mean()), "count": len(c)} for c, r in found if len(c)]


def fit_temperature(scores: np.ndarray, truth: np.ndarray) -> float:
    """The temperature T by which to divide `scores` so that their likelihood on validation rows is largest (Guo 2017).

    `scores` are logits [N, C]; `truth` class numbers [N] or 0/1 [N, C]; unlabelled rows do not count. Targets are
    smoothed by one row's worth, as in Platt (1999), so that T stays above 0 where every row is answered right. The
    likelihood is concave in 1/T; its slope is bisected over 0.05 <= T <= 20. 1.0 without a labelled row.
    """
    scores, truth = _labelled(scores, truth)
    scores = np.asarray(scores, dtype=np.float64)
    if not len(truth):
        return 1.0
    smooth = 1 / (len(truth) + 1)
    share = truth if truth.ndim == 2 else np.eye(scores.shape[1])[truth]
    share = (1 - smooth) * share + smooth * (0.5 if truth.ndim == 2 else 1 / scores.shape[1])
    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    for _ in range(50):
        middle = (low + high) / 2
        slope = ((share - probability_of(scores * math.exp(middle), truth.ndim == 2)) * scores).sum()
        low, high = (middle, high) if slope > 0 else (low, middle)
    return math.exp(-(low + high) / 2)


def probability_of(scores: np.ndarray, multilabel: bool = False) -> np.ndarray:
    """Softmax over the last axis of logits [..., C], or the logistic function of each when `multilabel`."""
    if multilabel:
        return 0.5 * (1 + np.tanh(scores / 2))  # the logistic function, without overflow
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    return scores / scores.sum(-1, keepdims=True)


def scores_of(probability: np.ndarray, multilabel: bool = False) -> np.ndarray:
    """Logits whose `probability_of` is `probability` [..., C]; a probability of 0 is read as the least that can be."""
    p = np.asarray(probability, dtype=np.float64)
    if not multilabel:
        return np.log(p.clip(min=LEAST))
    p = p.clip(LEAST, 1 - RESOLUTION)
    return np.log(p) - np.log1p(-p)


def temper(probability: np.ndarray, temperature: float, multilabel: bool = False) -> np.ndarray:
    """`probability` [..., C] after its logits are divided by `temperature`. Raises `BadArgument` unless above 0."""
    if temperature <= 0:
        raise BadArgument(f"A temperature is above 0; got {temperature}.")
    return probability_of(scores_of(probability, multilabel) / temperature, multilabel)


def conformal_radius(truth: np.ndarray, prediction: np.ndarray, coverage: float = 0.9, *, log: bool = False) -> float:
    """How far from a prediction the truth lies with probability `coverage`: split conformal (Lei et al. 2018).

    `truth` and `prediction` [N], of rows that training did not see. The radius is the ceil((N + 1) coverage)-th
    smallest |residual|: for rows exchangeable with these, the interval holds the truth at least that often on average,
    whatever the model. With `log`, residuals are of logarithms, for `conformal_interval(..., log=True)`. Infinite when
    N is too small to promise it. Raises `BadArgument` for a coverage outside (0, 1), `BadData` for the logarithm of a
    value not above 0.
    """
    if not 0 < coverage < 1:
        raise BadArgument(f"coverage must lie between 0 and 1; got {coverage}.")
    known = ~np.isnan(truth)
    truth, prediction = np.asarray(truth[known], np.float64), np.asarray(prediction[known], np.float64)
    if log and (truth.min(initial=1) <= 0 or prediction.min(initial=1) <= 0):
        raise BadData("log=True needs truth and predictions above 0.")
    residual = np.abs(np.log(truth) - np.log(prediction)) if log else np.abs(truth - prediction)
    rank = math.ceil((len(residual) + 1) * coverage - 1e-9)  # the margin: (99 + 1) * 0.95 must be 95, not 95.00000001
    return float(np.sort(residual)[rank - 1]) if rank <= len(residual) else float("inf")


def conformal_interval(prediction: np.ndarray, radius: float, *, log: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends, [N] each, of the intervals of `radius` around `prediction` [N]."""
    if log:
        return prediction * math.exp(-radius), prediction * np.exp(radius)
    return prediction - radius, prediction + radius


def _labelled(values: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, truth = np.asarray(values), np.asarray(truth)
    if values.ndim != 2 or len(values) != len(truth):
        raise BadData(f"Calibration reads [N, C] for truth of N rows; got {values.shape} for {truth.shape}.")
    keep = ~np.isnan(truth).any(1) if truth.ndim == 2 else truth >= 0
    return values[keep], truth[keep]
