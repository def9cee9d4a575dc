"""Dynamic time warping of many pairs at a time."""

from __future__ import annotations

import numpy as np


def warped(cost: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[N] the mean of `cost` [N, S, T] along the cheapest way through each of its first [a, b] cells (Sakoe & Chiba
    1978): from the first cell to the last by steps to the right, down, or both; of equally cheap ways that of both.

    `a` and `b` [N] are at least 1.
    """
    rows, high, wide = cost.shape
    total, steps = np.full((2, rows, wide + 1), np.inf), np.zeros((2, rows, wide + 1))
    total[0, :, 0] = 0
    ends = np.zeros((2, rows))
    for i in range(high):
        old, new = i % 2, (i + 1) % 2
        total[new, :, 0] = np.inf
        for j in range(wide):
            before = np.stack([total[old, :, j], total[old, :, j + 1], total[new, :, j]])
            count = np.stack([steps[old, :, j], steps[old, :, j + 1], steps[new, :, j]])
            best = before.argmin(0)[None]
            total[new, :, j + 1] = np.take_along_axis(before, best, 0)[0] + cost[:, i, j]
            steps[new, :, j + 1] = np.take_along_axis(count, best, 0)[0] + 1
        here = a == i + 1
        places = np.flatnonzero(here), b[here]
        ends[:, here] = total[new][places], steps[new][places]
    return ends[0] / ends[1]
