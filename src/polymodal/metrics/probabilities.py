"""Metrics of probabilities: how sure of what, and in which order."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.metrics.base import Metric
from polymodal.metrics.counts import mean_defined, means, onehot, ratio
from polymodal.metrics.ranks import group_totals, midranks, tie_groups

FLOOR = 1e-7  # the least probability that log loss sees: single precision holds no finer difference from 1
BINS = 15


class LogLoss(Metric):
    """Mean of -log p, p being the true class's probability, at least 1e-7."""

    needs, truths, greater_is_better, bounds = "probabilities", ("class",), False, (0.0, np.inf)

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        own = np.take_along_axis(prediction, truth[:, None], 1)[:, 0].astype(np.float64)
        return means(weights, -np.log(own.clip(FLOOR, 1.0)))


class Brier(Metric):
    """Mean over rows of the sum over classes of (p - is it)²: from 0 to 2, with two classes twice the usual one."""

    title, needs, truths, greater_is_better, bounds = "Brier score", "probabilities", ("class",), False, (0.0, 2.0)

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return means(weights, ((prediction - onehot(truth, prediction.shape[1])) ** 2).sum(1))


class TopK(Metric):
    """Share of rows whose class is among the `k` most probable; of equal ones the earlier class comes first.

    Raises `BadArgument` for `k` below 1.
    """

    needs, truths, bounds, proportion = "probabilities", ("class",), (0.0, 1.0), True

    def __init__(self, *, k: int = 3):
        self.k = k
        if not isinstance(k, int) or k < 1:
            raise BadArgument(f"top_k takes k of at least 1; got {k!r}.")

    @property
    def name(self) -> str:
        return f"top{self.k}"

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        own = np.take_along_axis(prediction, truth[:, None], 1)
        earlier = np.arange(prediction.shape[1]) < truth[:, None]  # ties go to the earlier class, as in accuracy
        return means(weights, ((prediction > own) | ((prediction == own) & earlier)).sum(1) < self.k)


class Ordered(Metric):
    """A metric of the order in which each class's or label's probability puts the rows, mean over those that occur."""

    needs, truths, bounds = "probabilities", ("class", "labels"), (0.0, 1.0)

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        is_it = truth > 0.5 if truth.ndim == 2 else truth[:, None] == np.arange(prediction.shape[1])
        each = zip(is_it.T.astype(np.float64), prediction.T)
        return mean_defined(np.stack([self.ordered(own, score, weights) for own, score in each]))

    @abstractmethod
    def ordered(self, is_it: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """[R] values of one class: which rows are of it, 0/1 [N], and its probabilities [N]."""


class Auroc(Ordered):
    """Area under the ROC curve: the chance that a row of the class scores above one that is not, ties counting half.

    One class against the rest, mean over the classes that occur and are not all there is.
    """

    title, chance = "AUROC", 0.5

    def ordered(self, is_it: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
        rows, positives = np.flatnonzero(is_it), is_it @ weights
        rank_sum = np.einsum("nr,nr->r", midranks(score, weights, rows), weights[rows])
        return ratio(rank_sum - positives * (positives + 1) / 2, positives * (weights.sum(0) - positives))


class MeanAveragePrecision(Ordered):
    """Mean over rows of a class of the precision down to them, in the order of its probability; mean over classes."""

    title = "mAP"

    def ordered(self, is_it: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
        order, starts, _ = tie_groups(-score)
        hits = group_totals(weights * is_it[:, None], order, starts)
        precision = ratio(np.cumsum(hits, 0), np.cumsum(group_totals(weights, order, starts), 0))
        return ratio(np.where(hits > 0, hits * precision, 0.0).sum(0), is_it @ weights)


class Ece(Metric):
    """Expected calibration error: mean |confidence - accuracy| over 15 bins of equal mass.

    Biased upwards on few rows: a perfectly calibrated answer on 100 rows shows several points. So it gets no interval.
    """

    needs, truths, greater_is_better = "probabilities", ("class", "labels"), False
    bounds, biased = (0.0, 1.0), True

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        confidence, right = confidences(prediction, truth)
        return binned_gaps(confidence, right, np.repeat(weights, len(right) // len(weights), axis=0))


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
