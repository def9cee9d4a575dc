"""Quantiles of a number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument
from polymodal.core.registry import Spec
from polymodal.targets.real import OneNumber


@dataclass(frozen=True)
class QuantilesTarget(OneNumber):
    """Quantiles of a number at `levels`, ascending, an odd count with the median in the middle.

    The answer is the median and the interval between the outer levels, whose width follows the row. On validation rows
    the interval is moved out, or in, until it holds as many of them as its levels promise (conformalised quantile
    regression, Romano, Patterson, Candès 2019). Encoded as float32 [N] like `number`; scores are standardised
    quantiles [B, Q]. `marginal` are the training rows' own quantiles, in standard units: chance.

    Raises `BadArgument` for other levels.
    """

    marginal: tuple[float, ...] = ()
    levels: tuple[float, ...] = field(default=(0.05, 0.25, 0.5, 0.75, 0.95), kw_only=True)

    head: ClassVar[str] = "quantiles"
    narrows: ClassVar[bool] = True
    shown: ClassVar[int] = 4  # MAE, pinball, R² and RMSE

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = tuple(map(float, self.levels))
        rising = all(a < b for a, b in zip((0.0, *levels), (*levels, 1.0)))
        odd = len(levels) >= 3 and len(levels) % 2 == 1
        if not rising or not odd or levels[len(levels) // 2] != 0.5:
            raise BadArgument(
                "levels rise between 0 and 1, three or more, an odd count with 0.5 in the middle; got "
                f"{list(levels)} for {self.name!r}."
            )
        object.__setattr__(self, "levels", levels)

    def fit(self, values: Sequence[Any]) -> Self:
        target = replace(self, **self.learnt(values))
        return replace(target, marginal=tuple(np.nanquantile(target.encode(values), self.levels).tolist()))

    @property
    def width(self) -> int:
        return len(self.levels)

    @property
    def summary(self) -> str:
        return f"{len(self.levels)} quantiles of {super().summary}"

    @property
    def task(self) -> str:
        return f"{len(self.levels)} quantiles of a number"

    @property
    def metrics(self) -> tuple[Spec, ...]:
        return ("mae", {"name": "pinball", "levels": list(self.levels)}, "r2", "rmse", "mape", "spearman")

    @property
    def tree_options(self) -> dict[str, Any]:
        return {"levels": self.levels}

    def values(self, scores: Tensor) -> Tensor:
        middle = len(self.levels) // 2
        return scores.sort(1).values[:, middle : middle + 1]

    def decode(self, scores: Tensor) -> dict[str, np.ndarray]:
        """{"value": [B], "low": [B], "high": [B], "quantiles": [B, Q]} in the user's units.

        Scores that cross are sorted (Chernozhukov, Fernández-Val, Galichon 2010): rules of late fusion may mix them.
        """
        quantiles = self.restore(scores.detach().double().sort(1).values.cpu().numpy())
        middle = quantiles[:, len(self.levels) // 2]
        return {"value": middle, "low": quantiles[:, 0], "high": quantiles[:, -1], "quantiles": quantiles}

    def prediction(self, decoded: Mapping[str, np.ndarray]) -> np.ndarray:
        return decoded["quantiles"]

    def point(self, predictions: np.ndarray) -> np.ndarray:
        return predictions[..., len(self.levels) // 2]

    def chance(self) -> np.ndarray:
        return self.restore(np.array(self.marginal))

    @property
    def usual(self) -> str:
        return "guessing by the training quantiles"

    def columns(self, decoded: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        inner = {level: q for level, q in zip(self.levels[1:-1], decoded["quantiles"].T[1:-1]) if level != 0.5}
        return super().columns(decoded) | {f"{self.name}@{level:g}": q.tolist() for level, q in inner.items()}

    def row_losses(self, scores: Tensor, truth: Tensor) -> Tensor:
        """The mean pinball loss over the levels, in standard units."""
        return self.pinball(scores, truth.reshape(-1)).mean(1)

    def pinball(self, scores: Tensor, truth: Tensor) -> Tensor:
        """[B, Q] max(q e, (q - 1) e), e = truth - quantile; NaN where the truth [B] is not known."""
        missed = truth.to(scores.dtype)[:, None] - scores
        levels = torch.tensor(self.levels, dtype=scores.dtype, device=scores.device)
        return torch.maximum(levels * missed, (levels - 1) * missed)

    def radius(self, scores: np.ndarray, truth: np.ndarray) -> float | None:
        """By how much the interval is moved out, in standard units; below 0: in. Infinite where rows are too few."""
        known = ~np.isnan(truth)
        ends = np.sort(scores[known].astype(np.float64), axis=1)
        outside = np.sort(np.maximum(ends[:, 0] - truth[known], truth[known] - ends[:, -1]))
        rank = math.ceil((len(outside) + 1) * (self.levels[-1] - self.levels[0]) - 1e-9)
        return float(outside[rank - 1]) if rank <= len(outside) else math.inf

    def interval(self, scores: Tensor, radius: float) -> dict[str, np.ndarray]:
        ends = scores.double().sort(1).values.cpu().numpy()
        middle = ends[:, len(self.levels) // 2]
        low, high = np.minimum(ends[:, 0] - radius, middle), np.maximum(ends[:, -1] + radius, middle)
        return {"low": self.restore(low), "high": self.restore(high)}
