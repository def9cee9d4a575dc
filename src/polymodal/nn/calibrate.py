"""Probabilities that mean what they say, and intervals that hold the truth: what is fitted on held-out rows."""

from __future__ import annotations

import math

import numpy as np

from polymodal.core.errors import BadData
from polymodal.core.values import check_range

COLDEST, HOTTEST = 0.05, 20.0


def fit_temperature(scores: np.ndarray, truth: np.ndarray) -> float:
    """The temperature T by which to divide `scores` so that their likelihood on validation rows is largest (Guo 2017).

    `scores` are logits [N, C]; `truth` class numbers [N] or 0/1 [N, C]; unlabelled rows do not count. Targets are
    smoothed by one row's worth, as in Platt (1999), so that T stays above 0 where every row is answered right. The
    likelihood is concave in 1/T; its slope is bisected over 0.05 <= T <= 20. 1.0 without a labelled row.
    """
    scores, truth = labelled(scores, truth)
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


def conformal_radius(truth: np.ndarray, prediction: np.ndarray, coverage: float = 0.9, *, log: bool = False) -> float:
    """How far from a prediction the truth lies with probability `coverage`: split conformal (Lei et al. 2018).

    `truth` and `prediction` [N], of rows that training did not see. The radius is the ceil((N + 1) coverage)-th
    smallest |residual|: for rows exchangeable with these, the interval holds the truth at least that often on average,
    whatever the model. With `log`, residuals are of logarithms, for `conformal_interval(..., log=True)`. Infinite when
    N is too small to promise it. Raises `BadArgument` for a coverage outside (0, 1), `BadData` for the logarithm of a
    value not above 0.
    """
    check_range("(0, 1)", coverage=coverage)
    known = ~np.isnan(truth)
    truth, prediction = np.asarray(truth[known], np.float64), np.asarray(prediction[known], np.float64)
    if log and (truth.min(initial=1) <= 0 or prediction.min(initial=1) <= 0):
        raise BadData("log=True needs truth and predictions above 0.")
    residual = np.abs(np.log(truth) - np.log(prediction)) if log else np.abs(truth - prediction)
    rank = math.ceil((len(residual) + 1) * coverage - 1e-9)  # the margin: (99 + 1) * 0.95 must be 95, not 95.00000001
    return float(np.sort(residual)[rank - 1]) if rank <= len(residual) else float("inf")


def labelled(values: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of both that carry a label (not -1, not NaN). Raises `BadData` unless `values` are [N, C]."""
    values, truth = np.asarray(values), np.asarray(truth)
    if values.ndim != 2 or len(values) != len(truth):
        raise BadData(f"Calibration reads [N, C] for truth of N rows; got {values.shape} for {truth.shape}.")
    keep = ~np.isnan(truth).any(1) if truth.ndim == 2 else truth >= 0
    return values[keep], truth[keep]
