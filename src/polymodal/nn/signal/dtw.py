"""Dynamic time warping of many pairs at a time."""

from __future__ import annotations

import numpy as np


def warped(cost: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[N] the mean of `cost` [N, S, T] along the cheapest way through each of its first [a, b] cells (Sakoe & Chiba
    1978): from the first cell to the last by steps to the right, down, or both; of equally cheap ways that of both.

    `a` and `b` [N] are at least 1.
    """
    rows, high, wide = cost.shape
    # Of a diagonal, by the place i + 1 down: what the way there costs and how many cells it has; place 0 is outside.
    before, last = np.full((2, 2, rows, high + 1), np.inf)
    before[:, :, 0] = 0
    ends = np.zeros((2, rows))
    for diagonal in range(high + wide - 1):
        i = np.arange(max(0, diagonal - wide + 1), min(high, diagonal + 1))
        ways = np.stack([before[:, :, i], last[:, :, i], last[:, :, i + 1]])
        best = ways[:, 0].argmin(0)
        now = np.full_like(last, np.inf)
        now[:, :, i + 1] = np.take_along_axis(ways, best[None, None], 0)[0]
        now[0, :, i + 1] += cost[:, i, diagonal - i].T
        now[1, :, i + 1] += 1
        here = a + b - 2 == diagonal
        ends[:, here] = now[:, here, a[here]]
        before, last = last, now
    return ends[0] / ends[1]
