"""Metrics of numbers. Of several numbers a row, [N, D], each is the mean over the numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from numbers import Real

import numpy as np

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.shown import many
from polymodal.metrics.base import Metric
from polymodal.metrics.counts import means, medians, ratio
from polymodal.metrics.ranks import midranks


class Values(Metric):
    """A metric of one number, and by it of several."""

    needs, truths = "values", ("number",)

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if truth.ndim == 1:
            return self.one(truth, prediction, weights)
        return np.mean([self.one(t, p, weights) for t, p in zip(truth.T, prediction.T)], axis=0)

    @abstractmethod
    def one(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """[R] values of one number, truth and prediction [N]."""


class Mae(Values):
    """Mean of |truth - prediction|."""

    title, greater_is_better, bounds = "MAE", False, (0.0, np.inf)

    def one(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return means(weights, np.abs(truth - prediction))


class MedianAe(Values):
    """Median of |truth - prediction|: outliers do not count."""

    title, greater_is_better, bounds = "median absolute error", False, (0.0, np.inf)

    def one(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return medians(weights, np.abs(truth - prediction))


class Rmse(Values):
    """Root of the mean of (truth - prediction)²."""

    title, greater_is_better, bounds = "RMSE", False, (0.0, np.inf)

    def one(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.sqrt(means(weights, (truth - prediction) ** 2))


class Mape(Values):
    """Mean of |truth - prediction| / |truth| over rows of truth not 0; NaN where there is none."""

    title, greater_is_better, bounds = "MAPE", False, (0.0, np.inf)

    def one(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        counts = truth != 0
        error = np.divide(np.abs(truth - prediction), np.abs(truth), out=np.zeros(len(truth)), where=counts)
        return ratio(error @ weights, counts.astype(np.float64) @ weights)


class R2(Values):
    """1 - Σ(truth - prediction)² / Σ(truth - mean truth)². Of a constant truth: 1 if it is met, or 0."""

    title, bounds, chance = "R²", (-np.inf, 1.0), 0.0

    def one(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        centred = truth - truth.mean()  # first, or the difference of two large sums below would be all rounding
        squares = centred**2 @ weights
        spread = squares - (centred @ weights) ** 2 / weights.sum(0)
        constant = spread <= 1e-12 * squares + weights.sum(0) * (1e-12 * np.abs(truth).max()) ** 2
        missed = (truth - prediction) ** 2 @ weights
        return np.where(constant, np.where(missed == 0, 1.0, 0.0), 1 - missed / np.where(constant, 1.0, spread))


class Spearman(Values):
    """Correlation of the ranks of truth and prediction, ties sharing their mean rank; 0 for a constant prediction."""

    bounds, chance = (-1.0, 1.0), 0.0

    def one(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        def centred(values: np.ndarray) -> np.ndarray:
            return midranks(values, weights) - (weights.sum(0) + 1) / 2  # the mean rank, whatever the ties

        a, b = centred(truth), centred(prediction)
        spread_a, spread_b = (np.einsum("nr,nr,nr->r", x, x, weights) for x in (a, b))
        joint = np.einsum("nr,nr,nr->r", a, b, weights)
        below = np.sqrt(spread_a * np.where(spread_b > 0, spread_b, 1.0))
        return np.where(spread_b > 0, ratio(joint, below), 0.0 * joint)


class Pinball(Metric):
    """Mean over rows and `levels` q of max(q e, (q - 1) e), e = truth - quantile: least where quantiles are true ones.

    It judges as many quantiles as there are levels; a single number is the median. Raises `BadArgument` for a level
    outside (0, 1).
    """

    title, needs, truths = "pinball loss", "quantiles", ("number",)
    greater_is_better, bounds = False, (0.0, np.inf)

    def __init__(self, *, levels: Sequence[float] = (0.5,)):
        self.levels = levels
        listed = isinstance(levels, list | tuple) and levels
        if not listed or not all(isinstance(level, Real) and 0 < level < 1 for level in levels):
            raise BadArgument(f"pinball takes a list of levels between 0 and 1; got {levels!r}.")

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if prediction.shape[1:] != (len(self.levels),):
            given = many(prediction.shape[1], "quantile")
            raise BadData(
                f"pinball has {len(self.levels)} levels, and the answer gives {given}. Name the target's own levels, "
                "as in {name: pinball, levels: [0.1, 0.5, 0.9]}."
            )
        missed, level = truth[:, None] - prediction, np.array(self.levels)
        return means(weights, np.maximum(level * missed, (level - 1) * missed).mean(1))
