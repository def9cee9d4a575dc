"""Answers in words, judged against one or several references a row, by what each row adds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from polymodal.metrics.base import Metric


class Written(Metric):
    """A metric of words that is a function of sums over rows, so that thousands of resamples are one product."""

    needs, truths = "text", ("text",)

    def view(self, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """What each row adds, [N, K]: words are read once, however often rows are resampled."""
        if not len(truth):
            return np.empty((0, 1))
        added = self.rows(truth if truth.ndim == 2 else truth[:, None], prediction)
        return added if added.ndim == 2 else added[:, None]

    @abstractmethod
    def rows(self, references: np.ndarray, said: np.ndarray) -> np.ndarray:
        """What each row adds, [N] or [N, K], from its references [N, R], "" where it has fewer, and the answer [N]."""

    def joined(self, sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """[R] values from sums of what rows add [K, R] and numbers of rows [R]; here the mean of the first."""
        return sums[0] / rows

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return self.joined(prediction.T.astype(np.float64) @ weights, weights.sum(0))


def present(references: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The references that there are, row by row: the row of each [P], and the texts [P]."""
    row, column = np.nonzero(references != "")
    return row, references[row, column].tolist()


def best(row: np.ndarray, value: Sequence[float] | np.ndarray, rows: int) -> np.ndarray:
    """[N] the greatest value of each row's references; `row` [P] is ascending, and every row is there."""
    return np.maximum.reduceat(np.asarray(value, dtype=np.float64), np.searchsorted(row, np.arange(rows)))
