"""Ranks under row counts: the order statistics of many resamples at once.

Weights are [N, R]: how often each of N rows occurs in each of R resamples. The results equal those of the plain formula
on the rows repeated that often.
"""

from __future__ import annotations

import numpy as np


def tie_groups(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of `values` [N] in ascending order, where each group of equal values starts, and each row's group."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return np.argsort(group, kind="stable"), np.concatenate([[0], np.cumsum(sizes)[:-1]]), group


def group_totals(weights: np.ndarray, order: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """[G, R] sums of the weights [N, R] within each group of ties."""
    ordered = weights[order]
    return ordered if len(starts) == len(order) else np.add.reduceat(ordered, starts, axis=0)


def midranks(values: np.ndarray, weights: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """[N, R] ranks from 1 of `values` [N]; ties share their mean rank. Rows of weight 0 are placed, not counted.

    With `rows` [n], indices, only the ranks of those rows among all, [n, R].
    """
    order, starts, group = tie_groups(values)
    totals = group_totals(weights, order, starts)
    wanted = group if rows is None else group[rows]
    return np.cumsum(totals, axis=0)[wanted] - totals[wanted] / 2 + 0.5
