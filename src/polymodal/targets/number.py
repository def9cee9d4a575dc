"""A number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor

from polymodal.nn.calibrate import conformal_radius
from polymodal.targets.real import COVERAGE, OneNumber

FARTHEST = 20.0  # spreads from the mean; beyond it exp() of a logarithmic target means nothing and may overflow


@dataclass(frozen=True)
class NumberTarget(OneNumber):
    """A number, standardised; by its logarithm where it is positive and strongly skewed in training.

    Encoded as float32 [N], NaN where missing or no number; scores are the standardised value [B, 1]. The interval
    around an answer holds the truth in 90 of 100 rows like the validation rows (split conformal, Lei et al. 2018).
    """

    head: ClassVar[str] = "number"
    shown: ClassVar[int] = 3  # R², and in the user's unit MAE and RMSE

    def fit(self, values: Sequence[Any]) -> Self:
        return replace(self, **self.learnt(values))

    @property
    def width(self) -> int:
        return 1

    def values(self, scores: Tensor) -> Tensor:
        return scores

    def decode(self, scores: Tensor) -> dict[str, np.ndarray]:
        """{"value": [B] float64} in the user's units."""
        values = scores.detach().float()[:, 0].cpu().numpy()
        return {"value": self.restore(values.clip(-FARTHEST, FARTHEST) if self.log else values)}

    def radius(self, scores: np.ndarray, truth: np.ndarray) -> float | None:
        return conformal_radius(truth, scores[:, 0], COVERAGE)

    def interval(self, scores: Tensor, radius: float) -> dict[str, np.ndarray]:
        centre = scores[:, 0].double().numpy()
        return {"low": self.restore(centre - radius), "high": self.restore(centre + radius)}
