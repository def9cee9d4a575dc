"""Clipping and standardising of numbers, shared by tables and vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MARGIN = 0.25  # of the width of the middle 99 %: how far beyond it a value may lie before it is clipped


@dataclass(frozen=True, eq=False)
class Scaler:
    """Per column [C]: where values are clipped, the mean and the spread, learned on training values."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    spread: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray) -> Scaler:
        """From training values [n, C] in which NaN is missing; a column without any value gets mean 0 and spread 1."""
        columns = [_fit_column(column[np.isfinite(column)]) for column in values.T]
        return cls(*np.array(columns, dtype=np.float64).reshape(-1, 4).T)

    def apply(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standardised values float32 [n, C], zero where missing, and which are known, bool [n, C]."""
        known = np.isfinite(values)
        scaled = (np.clip(values, self.low, self.high) - self.mean) / self.spread
        return np.where(known, scaled, 0.0).astype(np.float32), known

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name).tolist() for name in ("low", "high", "mean", "spread")}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Scaler:
        """What `state` returned. Raises `ValueError` for numbers by which nothing can be scaled."""
        read = {name: np.array(values, dtype=np.float64) for name, values in state.items()}
        if not all(np.isfinite(values).all() for values in read.values()) or not (read["spread"] > 0).all():
            raise ValueError("a column's mean or spread is not finite, or its spread not above 0")
        return cls(**read)


def _fit_column(column: np.ndarray) -> tuple[float, float, float, float]:
    if not len(column):
        return -np.finfo(np.float64).max, np.finfo(np.float64).max, 0.0, 1.0
    first, last = np.quantile(column, (0.005, 0.995))
    if first == last:  # nearly constant: what differs is all there is to know
        first, last = column.min(), column.max()
    margin = MARGIN * (last - first)
    low, high = first - margin, last + margin
    clipped = np.clip(column, low, high)
    spread = float(clipped.std())
    return low, high, float(clipped.mean()), spread if spread > 1e-12 * max(1.0, abs(low), abs(high)) else 1.0
