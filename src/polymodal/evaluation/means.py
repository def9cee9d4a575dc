"""Means and ratios of sums over rows, as metrics, so that they get the same intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodal.evaluation.statistics import Interval, bootstrap
from polymodal.metrics.counts import ratio
from polymodal.metrics.values import Values


class Mean(Values):
    """The mean of a value a row, the prediction; there is no truth."""

    def __init__(self, proportion: bool = False):
        self.proportion = proportion

    def one(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return prediction @ weights / weights.sum(0)


class Share(Values):
    """The sum of the prediction as a share of that of the truth, at most 1."""

    bounds = (0.0, 1.0)

    def one(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return ratio(prediction @ weights, truth @ weights)


def mean_interval(values: np.ndarray, *, proportion: bool = False, **options: Any) -> Interval:
    """The mean of a value a row [N], or of 0/1 outcomes, with its interval over rows; `options` as in `bootstrap`."""
    values = np.asarray(values, dtype=np.float64)
    return bootstrap(Mean(proportion), np.zeros(len(values)), values[None], **{"seed": 0, **options})


def share_interval(counts: np.ndarray, **options: Any) -> Interval:
    """The ratio of two sums over rows, `counts` [N, 2] of parts and wholes, with its interval over rows; `options` as
    in `bootstrap`."""
    part, whole = np.asarray(counts, dtype=np.float64).T
    return bootstrap(Share(), whole, part[None], **{"seed": 0, **options})
