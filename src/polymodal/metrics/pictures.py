"""Metrics of drawn pictures, in a space of hand-made features."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from polymodal.metrics.base import Metric

CELLS, DIRECTIONS, COPY = 4, 4, 6  # cells a side, orientations of edges in each, pixels a side of the tiny copy
EDGES = 4.0  # what edges count beside the copy, both in shares of the range of a pixel
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class Energy(Metric):
    """The energy score of what is drawn, for pictures x_1 … x_M of a row and the true one y (Gneiting & Raftery 2007):
    mean |x_i - y| - mean |x_i - x_j| / 2 over i ≠ j, in the space of `features`.

    It is proper: least on average when rows are drawn from what the true pictures of such rows are. A blurred mean
    loses by what it lacks, and so does one picture that is always drawn; with one picture a row the second term is 0.
    """

    needs = "drawn"
    truths = ("picture",)
    greater_is_better = False
    bounds: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def view(self, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """[N] the score of each row, which resamples share, of pictures [N, H, W, C] and drawings [N, M, H, W, C]."""
        many = prediction.shape[1]
        y = self.space(truth)
        x = self.space(prediction.reshape(-1, *prediction.shape[2:])).reshape(len(y), many, y.shape[1])
        missed = np.linalg.norm(x - y[:, None], axis=2).mean(1)
        if many == 1:
            return missed
        apart = [np.linalg.norm(x[:, i] - x[:, j], axis=1) for i in range(many) for j in range(i)]
        return missed - np.mean(apart, 0) / 2

    def space(self, fields: np.ndarray) -> np.ndarray:
        """[N, F] features of what is drawn [N, H, W, C]."""
        return features(fields)

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return prediction @ weights / weights.sum(0)


def features(pictures: np.ndarray) -> np.ndarray:
    """[N, F] float64 of pictures [N, H, W, C], uint8 or 0 to 255: the size of edges by cell and orientation, after
    histograms of oriented gradients (Dalal & Triggs 2005) but not normalised, so that blur tells, and a tiny copy."""
    each = [_features(pictures[start : start + 1024]) for start in range(0, len(pictures), 1024)]
    return np.concatenate(each) if each else np.zeros((0, 0))


def _features(pictures: np.ndarray) -> np.ndarray:
    x = pictures.astype(np.float32) / 255
    grey = x @ GREY if x.shape[3] == 3 else x[..., 0]
    down, right = np.gradient(grey, axis=(1, 2))
    size, turn = np.hypot(down, right), np.arctan2(down, right) / np.pi % 1
    number = (turn * DIRECTIONS).astype(np.int64) % DIRECTIONS
    votes = np.where(number[..., None] == np.arange(DIRECTIONS), size[..., None], 0)
    parts = [EDGES * _pooled(votes, CELLS), _pooled(x, COPY)]
    return np.concatenate([part.reshape(len(x), -1) for part in parts], 1).astype(np.float64)


def _pooled(x: np.ndarray, cells: int) -> np.ndarray:
    """Means [N, cells, cells, C] of [N, H, W, C]; a side of fewer pixels has as many cells."""
    for axis in (1, 2):
        side = x.shape[axis]
        edges = np.arange(min(cells, side)) * side // min(cells, side)
        counts = np.diff(np.append(edges, side)).astype(np.float32)
        x = np.add.reduceat(x, edges, axis=axis) / counts.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    return x
