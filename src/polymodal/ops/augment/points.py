"""More clouds from the ones there are: turned, shaken, with points left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from polymodal.core.values import check_range
from polymodal.data.media.cloud import Cloud
from polymodal.ops.augment.base import CellAugment, share


class TurnPoints(CellAugment):
    """Turned about the upright axis (z) through the origin by up to `degrees`, each point shaken by `jitter` metres, a
    share of up to `drop` of the points left out (Qi et al. 2017)."""

    kinds = ("points",)

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        copies: int = 1,
        degrees: float = 15.0,
        jitter: float = 0.01,
        drop: float = 0.2,
    ):
        super().__init__(columns=columns, copies=copies)
        self.degrees, self.jitter, self.drop = degrees, jitter, share("drop", drop)
        check_range("[0, 180]", degrees=degrees)
        check_range("[0, inf)", jitter=jitter)

    def varied(self, value: Cloud, rng: np.random.Generator) -> Cloud:
        angle = math.radians(rng.uniform(-self.degrees, self.degrees))
        kept = rng.random(len(value)) >= rng.uniform(0, self.drop)
        kept[int(rng.integers(len(value)))] = True
        some = value.keep(kept)
        turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
        places = some.places @ turn.T + rng.normal(0, self.jitter, some.places.shape)
        return replace(some, places=places.astype(np.float32), total=len(some))
