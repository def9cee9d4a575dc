"""Metrics of labels: what was said, right or wrong, however sure."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from polymodal.metrics.base import Metric
from polymodal.metrics.counts import mean_defined, means, onehot, ratio


class Accuracy(Metric):
    """Share of rows answered right. Of several labels a row: share of rows with all of them right."""

    needs, truths, bounds, proportion = "labels", ("class", "labels"), (0.0, 1.0), True

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        right = prediction == truth
        return means(weights, right.all(1) if right.ndim == 2 else right)


class Decided(Metric):
    """A metric of the 0/1 decisions, class by class or label by label."""

    needs, bounds = "labels", (0.0, 1.0)
    truths: tuple[str, ...] = ("class", "labels")

    def view(self, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """The decisions, [N, C]: C as the probabilities have it, since what never occurs still counts as a class."""
        said = super().view(truth, prediction)
        if said.ndim == 2:
            return said.astype(np.float64)
        count = prediction.shape[1] if prediction.ndim == 2 else 1 + int(max(truth.max(initial=0), said.max(initial=0)))
        return onehot(said, count)

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        is_it = onehot(truth, prediction.shape[1]) if truth.ndim == 1 else truth.astype(np.float64)
        return self.decided(is_it, prediction, weights)

    @abstractmethod
    def decided(self, is_it: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """[R] values from truth and decisions, 0/1 [N, C] each."""


class BalancedAccuracy(Decided):
    """Mean recall of the classes that occur."""

    truths = ("class",)

    def decided(self, is_it: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return mean_defined(ratio((is_it * said).T @ weights, is_it.T @ weights))


class F1Macro(Decided):
    """2 TP / (2 TP + FP + FN) of each class or label, and the mean of those that occur or are said."""

    title = "macro F1"

    def decided(self, is_it: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return mean_defined(ratio(2 * (is_it * said).T @ weights, (is_it + said).T @ weights))


class F1Weighted(Decided):
    """2 TP / (2 TP + FP + FN) of each class or label, and their mean by how often each occurs."""

    title = "weighted F1"

    def decided(self, is_it: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
        each = ratio(2 * (is_it * said).T @ weights, (is_it + said).T @ weights)
        often = is_it.T @ weights
        return ratio((np.nan_to_num(each) * often).sum(0), often.sum(0))


class F1Micro(Decided):
    """2 TP / (2 TP + FP + FN) over the decisions of all labels; of classes it is the accuracy."""

    title = "micro F1"

    def decided(self, is_it: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return ratio(2 * (is_it * said).sum(1) @ weights, (is_it + said).sum(1) @ weights)


class F1Samples(Decided):
    """2 TP / (2 TP + FP + FN) of each row's labels, and the mean over rows; 1 where there is none and none is said."""

    title, truths = "F1 by row", ("labels",)

    def decided(self, is_it: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
        each = ratio(2 * (is_it * said).sum(1), (is_it + said).sum(1))
        return means(weights, np.where(np.isnan(each), 1.0, each))


class Hamming(Decided):
    """Share of label decisions that are wrong."""

    truths, greater_is_better = ("labels",), False

    def decided(self, is_it: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return means(weights, (is_it != said).mean(1))


class Mcc(Decided):
    """Matthews' correlation coefficient: of the classes said with the true ones, as 0/1 columns; 0 for one class."""

    title, truths, bounds, chance = "MCC", ("class",), (-1.0, 1.0), 0.0

    def decided(self, is_it: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
        right, rows, true, guessed = _agreement(is_it, said, weights)
        below = (rows**2 - (true**2).sum(0)) * (rows**2 - (guessed**2).sum(0))
        return np.where(below > 0, (right * rows - (true * guessed).sum(0)) / np.sqrt(np.where(below > 0, below, 1)), 0)


class Kappa(Decided):
    """Cohen's kappa: (agreement - chance) / (1 - chance), chance being that of two who say classes as often."""

    title, truths, bounds, chance = "Cohen's kappa", ("class",), (-1.0, 1.0), 0.0

    def decided(self, is_it: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
        right, rows, true, guessed = _agreement(is_it, said, weights)
        usual = (true * guessed).sum(0) / rows
        return ratio(right - usual, rows - usual)


def _agreement(is_it: np.ndarray, said: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """How many rows are right and are there [R]; how often each class is true and is said [C, R]."""
    return (is_it * said).sum(1) @ weights, weights.sum(0), is_it.T @ weights, said.T @ weights


class QuadraticKappa(Metric):
    """Cohen's kappa of ordered classes: 1 - (squared steps off) / (those of two who say classes as often).

    The order is that of the class numbers: of a target of classes, their names sorted.
    """

    title, needs, truths, bounds, chance = "quadratic kappa", "labels", ("class",), (-1.0, 1.0), 0.0

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        a, b = truth.astype(np.float64), prediction.astype(np.float64)
        off = (a - b) ** 2 @ weights
        usual = (a**2 + b**2) @ weights - 2 * (a @ weights) * (b @ weights) / weights.sum(0)
        return 1 - ratio(off, usual)
