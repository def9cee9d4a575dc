"""Several numbers at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadData
from polymodal.core.registry import Spec
from polymodal.nn.calibrate import conformal_radius
from polymodal.targets.labels import listed
from polymodal.targets.real import COVERAGE, RealTarget, read_numbers


@dataclass(frozen=True)
class NumbersTarget(RealTarget):
    """Several numbers at once, from list cells: `[1.5, 2, null]`, or `1.5|2|` with numbers parted by `|`.

    Each is standardised by its own `location` and `scale`. Encoded as float32 [N, D]; an entry that is missing is NaN
    and does not count, a row of another length is missing as a whole. Scores are standardised values [B, D]. The
    intervals hold all numbers of a row at once in 90 of 100 rows like the validation rows.
    """

    location: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    head: ClassVar[str] = "number"
    gives: ClassVar[tuple[str, ...]] = ("values",)

    def fit(self, values: Sequence[Any]) -> Self:
        rows = [numbers for value in values if (numbers := listed_numbers(value)) is not None]
        lengths = [len(row) for row in rows]
        if not rows or max(lengths) < 2:
            raise BadData(
                f"Target {self.name!r} is several numbers, but no training row holds a list of them (first value: "
                f"{values[0]!r}). Write them as [1.5, 2] or 1.5|2; for one number a row name the kind number."
            )
        usual = max(set(lengths), key=lengths.count)
        table = np.array([row for row in rows if len(row) == usual])
        counts = (~np.isnan(table)).sum(0)
        location, scale = ([float(f(column[~np.isnan(column)])) if n else 0.0 for column, n in zip(table.T, counts)]
                           for f in (np.mean, np.std))  # fmt: skip
        if flat := [place for place, spread in enumerate(scale) if spread == 0]:
            raise BadData(
                f"Number {flat[0] + 1} of {self.name!r} is the same in every training row, or in none: there is "
                "nothing to predict. Leave it out of the lists."
            )
        return replace(self, location=tuple(location), scale=tuple(scale))

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        rows = [None if value is None else listed_numbers(value) for value in values]
        none = np.full(self.width, np.nan)
        table = np.array([none if row is None or len(row) != self.width else row for row in rows])
        table = table.reshape(len(values), self.width)
        return ((table - np.array(self.location)) / np.array(self.scale)).astype(np.float32)

    def unseen(self, values: Sequence[Any]) -> dict[str, int]:
        counts: dict[str, int] = {}
        for value in values:
            row = None if value is None else listed_numbers(value)
            if value is not None and (row is None or len(row) != self.width):
                counts[str(value)] = counts.get(str(value), 0) + 1
        return counts

    def survey(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[int, str]]:
        rows = [None if value is None else listed_numbers(value) for value in values]
        odd = {
            i: f"is {str(value)[:40]!r}, but the target is a list of numbers"
            for i, (value, row) in enumerate(zip(values, rows))
            if value is not None and row is None
        }
        known = np.concatenate([np.zeros(0), *(row for row in rows if row is not None)])
        known = known[~np.isnan(known)]
        if not len(known):
            return {}, odd
        return dict(zip(("least", "median", "most"), np.quantile(known, [0, 0.5, 1]).tolist())), odd

    def strata(self, encoded: np.ndarray) -> np.ndarray | None:
        return encoded[:, 0]

    def restore(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(values, dtype=np.float64) * np.array(self.scale) + np.array(self.location)

    @property
    def width(self) -> int:
        return len(self.location)

    @property
    def summary(self) -> str:
        return f"{self.width} numbers"

    @property
    def task(self) -> str:
        return f"{self.width} numbers at once"

    @property
    def metrics(self) -> tuple[Spec, ...]:
        return ("r2", "mae", "rmse", "spearman")

    def values(self, scores: Tensor) -> Tensor:
        return scores

    def decode(self, scores: Tensor) -> dict[str, np.ndarray]:
        """{"value": [B, D] float64} in the user's units."""
        return {"value": self.restore(scores.detach().float().cpu().numpy())}

    def chance(self) -> np.ndarray:
        return np.array(self.location)

    def written(self, values: Sequence[Any]) -> list[Any]:
        rows = (None if value is None else listed_numbers(value) for value in values)
        return [None if row is None else row.tolist() for row in rows]

    @property
    def usual(self) -> str:
        return "guessing by the training means"

    def answer(self, decoded: Mapping[str, np.ndarray], row: int) -> tuple[str | float, float | None]:
        return _written(decoded["value"][row]), None

    def told(self, truth: Any, prediction: Any) -> dict[str, Any]:
        return {"truth": _written(truth), "prediction": _written(prediction), "probability": None}

    def mistakes(self, truth: np.ndarray, predictions: np.ndarray, labelled: np.ndarray, most: int) -> np.ndarray:
        """Those answered farthest off, each number in spreads."""
        off = np.where(labelled[:, None], np.abs(predictions - truth) / np.array(self.scale), -1)
        return np.argsort(-np.nanmean(off, 1), kind="stable")[: min(most, int(labelled.sum()))]

    def explained(self, predictions: np.ndarray) -> np.ndarray:
        return ((predictions - np.array(self.location)) / np.array(self.scale)).mean(-1)

    @property
    def unit(self) -> str:
        return "spreads, the mean over the numbers"

    def blend(self, scores: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """The weighted mean."""
        return torch.stack([weight * s for weight, s in zip(weights, scores)]).sum(0)

    def radius(self, scores: np.ndarray, truth: np.ndarray) -> float | None:
        missed = np.abs(scores - truth)
        worst = np.where(np.isnan(missed).all(1), np.nan, np.nan_to_num(missed).max(1))
        return conformal_radius(worst, np.zeros(len(worst)), COVERAGE)

    def interval(self, scores: Tensor, radius: float) -> dict[str, np.ndarray]:
        centre = scores.double().cpu().numpy()
        return {"low": self.restore(centre - radius), "high": self.restore(centre + radius)}


def listed_numbers(value: Any) -> np.ndarray | None:
    """float64 [n] of a list, a JSON list or numbers parted by `|`, NaN where an entry is missing; None: no list."""
    if isinstance(value, str):
        value = value.split("|") if "|" in value else listed(value)
    value = listed(value)
    if not value:
        return None
    numbers = read_numbers(value)
    return None if np.isnan(numbers).all() else numbers


def _written(values: np.ndarray) -> str:
    return " | ".join("?" if np.isnan(value) else f"{value:.6g}" for value in values)
