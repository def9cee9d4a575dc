"""What targets of real numbers share: standardised values, residuals, blends."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.numbers import Notation, as_number
from polymodal.core.registry import Spec
from polymodal.nn.precision import at_least_float32
from polymodal.targets.base import NUMBER, ScoredTarget

COVERAGE = 0.9  # of intervals
SKEWED = 1.0  # sample skewness above which a positive number is modelled as its logarithm
TAIL = (
    4.0  # spreads of the logarithm below its mean from where on it goes on as a straight line, through zero and below
)
WORST = -3.0  # of a number's row score: a residual of two spreads; beyond, one row would outweigh all others


@dataclass(frozen=True)
class RealTarget(ScoredTarget):
    """One or several real numbers, encoded in standard units: float32 [N] or [N, D], NaN where missing."""

    scores: ClassVar[str] = NUMBER
    form: ClassVar[str] = "number"
    gives: ClassVar[tuple[str, ...]] = ("values", "quantiles")

    @abstractmethod
    def restore(self, values: np.ndarray) -> np.ndarray:
        """From standard units to the user's: float64, shaped as given."""

    @abstractmethod
    def values(self, scores: Tensor) -> Tensor:
        """[B, D] the numbers that scores say, in standard units."""

    @property
    def metrics(self) -> tuple[Spec, ...]:
        return ("r2", "mae", "rmse", "mape", "spearman")

    def truth(self, encoded: np.ndarray) -> np.ndarray:
        return self.restore(encoded)

    def prediction(self, decoded: Mapping[str, np.ndarray]) -> np.ndarray:
        return decoded["value"]

    def columns(self, decoded: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        ends = {f"{self.name}_{end}": decoded[end].tolist() for end in ("low", "high") if end in decoded}
        return {self.name: decoded["value"].tolist()} | ends

    def residuals(self, scores: Tensor, truth: Tensor) -> Tensor:
        """[B] the mean distance of the numbers from the encoded truth, in standard units; NaN where none is known."""
        return (self.values(scores) - truth.reshape(len(truth), -1)).abs().nanmean(1)

    def row_score(self, scores: Tensor, truth: Tensor) -> Tensor:
        """One minus the squared residual in standard units, whose mean is R², at least -3; the mean over numbers."""
        missed = self.values(scores).float() - truth.reshape(len(truth), -1).float()
        return (1 - missed**2).clamp(min=WORST).nanmean(1)

    def row_losses(self, scores: Tensor, truth: Tensor) -> Tensor:
        """Half the squared standardised error; the mean over numbers."""
        truth = truth.reshape(len(truth), -1)
        each = 0.5 * (self.values(at_least_float32(scores)) - truth.nan_to_num()) ** 2
        return torch.where(truth.isnan(), torch.nan, each).nanmean(1)

    def decided(self, scores: Tensor, *, of: Tensor | None = None) -> Tensor:
        """The number; the mean of several."""
        return self.values(scores).mean(1)

    @property
    def decided_unit(self) -> str:
        return "standard deviations"


@dataclass(frozen=True)
class OneNumber(RealTarget):
    """A number, standardised by the training rows: `location` and `scale`, of its logarithm where `log`.

    The logarithm is taken where all training values are positive, their skewness is above 1 and the logarithm's is
    smaller in size. Far below them (by `TAIL` spreads) it goes on as its tangent, so that zero and less, where they
    turn up later, are numbers as well. `decimal_mark` is the decimal sign where the cells leave it open.
    """

    location: float = 0.0
    scale: float = 1.0
    log: bool = False
    decimal: str = "."  # how training writes numbers: see `core.numbers.Notation`
    unit_written: str = ""
    average: float | None = None  # of the training rows as they are, which is chance; None: older, by `location`
    decimal_mark: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if self.decimal_mark not in ("", ".", ","):
            raise BadArgument(
                f"Numbers of {self.name!r} are written with '.' or ',' before decimals; got {self.decimal_mark!r}."
            )

    @property
    def notation(self) -> Notation:
        return Notation(self.decimal, self.unit_written)

    def numbers(self, values: Sequence[Any]) -> np.ndarray:
        """float64 [N] as modelled (by their logarithm where `log`), NaN where missing or no number."""
        numbers = self.notation.numbers(values)
        if not self.log:
            return numbers
        least, end = self._tail
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(numbers < least, end + numbers / least - 1, np.log(numbers))

    @property
    def _tail(self) -> tuple[float, float]:
        """The number from which the logarithm is one, and its logarithm."""
        end = self.location - TAIL * self.scale
        return math.exp(end), end

    def learnt(self, values: Sequence[Any]) -> dict[str, Any]:
        """`location`, `scale` and `log` of the training rows' cells. Raises `BadData` where they hold no spread."""
        notation = Notation.of(values, self.decimal_mark)
        numbers = notation.numbers(values)
        numbers = numbers[np.isfinite(numbers)]
        if not len(numbers):
            raise BadData(
                f"Target {self.name!r} is a number, but no training row holds one (first value: {values[0]!r})."
            )
        if np.ptp(numbers) == 0:
            raise BadData(f"Target {self.name!r} is {numbers[0]:g} in every training row: there is nothing to predict.")
        average, skewness = float(numbers.mean()), _skewness(numbers)
        log = bool((numbers > 0).all() and skewness > SKEWED and abs(_skewness(np.log(numbers))) < skewness)
        if log:
            numbers = np.log(numbers)
        return {"location": float(numbers.mean()), "scale": float(numbers.std()), "log": log} | {
            "decimal": notation.decimal,
            "unit_written": notation.unit,
            "average": average,
        }

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        return ((self.numbers(values) - self.location) / self.scale).astype(np.float32)

    def restore(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, dtype=np.float64) * self.scale + self.location
        if not self.log:
            return values
        least, end = self._tail
        return np.where(values < end, least * (1 + values - end), np.exp(values))

    def unseen(self, values: Sequence[Any]) -> dict[str, int]:
        return dict(
            Counter(str(value) for value in values if value is not None and self.notation.number(value) is None)
        )

    def survey(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[int, str]]:
        numbers = Notation.of(values, self.decimal_mark).numbers(values)
        odd = {
            row: f"is {str(value)[:40]!r}, but the target is a number"
            for row, (value, number) in enumerate(zip(values, numbers.tolist()))
            if value is not None and math.isnan(number)
        }
        known = numbers[~np.isnan(numbers)]
        if not len(known):
            return {}, odd
        return dict(zip(("least", "median", "most"), np.quantile(known, [0, 0.5, 1]).tolist())), odd

    def strata(self, encoded: np.ndarray) -> np.ndarray | None:
        return encoded

    @property
    def task(self) -> str:
        return "a number"

    @property
    def summary(self) -> str:
        return "a number" + (", by its logarithm" if self.log else "")

    def chance(self) -> np.ndarray:
        return self.restore(np.zeros(1))[0] if self.average is None else np.array(self.average)

    def written(self, values: Sequence[Any]) -> list[Any]:
        return [None if number != number else number for number in self.notation.numbers(values).tolist()]

    @property
    def usual(self) -> str:
        return "the training mean"

    def answer(self, decoded: Mapping[str, np.ndarray], row: int) -> tuple[str | float, float | None]:
        return float(decoded["value"][row]), None

    def told(self, truth: Any, prediction: Any) -> dict[str, Any]:
        return {"truth": float(truth), "prediction": float(self.point(prediction)), "probability": None}

    def point(self, predictions: np.ndarray) -> np.ndarray:
        """The numbers in predictions as metrics read them."""
        return predictions

    def mistakes(self, truth: np.ndarray, predictions: np.ndarray, labelled: np.ndarray, most: int) -> np.ndarray:
        """Those answered farthest off."""
        off = np.where(labelled, np.abs(self.point(predictions) - truth), -1)
        return np.argsort(-off, kind="stable")[: min(most, int(labelled.sum()))]

    def errors(self, truth: np.ndarray, predictions: np.ndarray, decoded: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Truth and prediction, with the interval."""
        ends = {end: decoded[end].tolist() for end in ("low", "high") if end in decoded}
        return {"residuals": {"truth": truth.tolist(), "prediction": self.point(predictions).tolist(), **ends}}

    def explained(self, predictions: np.ndarray) -> np.ndarray:
        return self.point(predictions)

    @property
    def unit(self) -> str:
        return self.name

    def blend(self, scores: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """The weighted mean in the user's units, so that the logarithm is undone first."""
        values = torch.stack(list(scores)) * self.scale + self.location
        shares = torch.tensor(weights, device=scores[0].device).log().exp()[:, None, None]
        mean = (values + shares.log()).logsumexp(0) if self.log else (values * shares).sum(0)
        return (mean - self.location) / self.scale


def read_numbers(values: Sequence[Any]) -> np.ndarray:
    """float64 [N], NaN where missing or no number by itself."""
    read = [None if value is None else as_number(value) for value in values]
    return np.array([math.nan if number is None else number for number in read], dtype=np.float64)


def _skewness(numbers: np.ndarray) -> float:
    centred = numbers - numbers.mean()
    return float((centred**3).mean() / max((centred**2).mean(), 1e-300) ** 1.5)
