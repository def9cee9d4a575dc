"""More series from the ones there are: noise, scale, warped time, a window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymodal.core.values import check_range
from polymodal.ops.augment.base import CellAugment, share


class SeriesJitter(CellAugment):
    """Gaussian noise of `amount` times each channel's standard deviation (Um et al. 2017)."""

    kinds = ("series",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, amount: float = 0.05):
        super().__init__(columns=columns, copies=copies)
        self.amount = amount
        check_range("(0, inf)", amount=amount)

    def varied(self, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return (value + self.amount * np.nanstd(value, 0) * rng.normal(0, 1, value.shape)).astype(np.float32)


class SeriesScale(CellAugment):
    """Each channel times a factor near one, of standard deviation `amount` (Um et al. 2017)."""

    kinds = ("series",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, amount: float = 0.1):
        super().__init__(columns=columns, copies=copies)
        self.amount = amount
        check_range("(0, inf)", amount=amount)

    def varied(self, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return (value * rng.normal(1, self.amount, value.shape[1:])).astype(np.float32)


class SeriesWarp(CellAugment):
    """Time runs faster and slower by turns: a smooth curve through `knots` points of speed 1 ± `amount` (Um et al.
    2017). Beginning, end and length stay."""

    kinds = ("series",)

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, copies: int = 1, amount: float = 0.2, knots: int = 4
    ):
        super().__init__(columns=columns, copies=copies)
        self.amount = share("amount", amount)
        self.knots = knots
        check_range("(0, inf)", amount=amount, knots=knots)

    def varied(self, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy.interpolate import PchipInterpolator

        if len(value) < 3:
            return value
        at = np.linspace(0, 1, self.knots + 2)
        speed = np.clip(1 + rng.normal(0, self.amount, len(at)), 0.1, None)
        place = np.cumsum(PchipInterpolator(at, speed)(np.linspace(0, 1, len(value))))
        place = (place - place[0]) / (place[-1] - place[0]) * (len(value) - 1)
        channels = value.reshape(len(value), -1)
        warped = np.stack([np.interp(place, np.arange(len(value)), channel) for channel in channels.T], 1)
        return warped.reshape(value.shape).astype(np.float32)


class SeriesWindow(CellAugment):
    """A stretch of at least `least` of the series, drawn out to its length (window slicing, Le Guennec et al. 2016)."""

    kinds = ("series",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, least: float = 0.8):
        super().__init__(columns=columns, copies=copies)
        self.least = share("least", least)

    def varied(self, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if len(value) < 3:
            return value
        long = rng.uniform(self.least, 1) * (len(value) - 1)
        start = rng.uniform(0, len(value) - 1 - long)
        place = np.linspace(start, start + long, len(value))
        channels = value.reshape(len(value), -1)
        cut = np.stack([np.interp(place, np.arange(len(value)), channel) for channel in channels.T], 1)
        return cut.reshape(value.shape).astype(np.float32)
