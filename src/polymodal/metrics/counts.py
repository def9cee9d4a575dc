"""Arithmetic on row counts: means and ratios of many resamples at once."""

from __future__ import annotations

import numpy as np


def means(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[R] means of `rows` [N] under `weights` [N, R]."""
    return rows.astype(np.float64) @ weights / weights.sum(0)


def medians(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[R] medians of `rows` [N] repeated as often as `weights` [N, R] says."""
    order = np.argsort(rows)
    reached = np.cumsum(weights[order], axis=0)
    half = reached[-1] / 2
    return (rows[order][(reached >= half).argmax(0)] + rows[order][(reached > half).argmax(0)]) / 2


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """`above / below`, NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below > 0)


def mean_defined(values: np.ndarray) -> np.ndarray:
    """[R] means over the rows of [C, R] that are not NaN; NaN where none is."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(0), defined.sum(0))


def onehot(classes: np.ndarray, count: int) -> np.ndarray:
    """Class numbers [N] as 0/1 [N, count]."""
    return (classes[:, None] == np.arange(count)).astype(np.float64)
