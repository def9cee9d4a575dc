"""What encoders share that compute features by closed formulas: standardising, and statistics over real steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from polymodal.core.types import Tokens
from polymodal.encoders.base import Encoder
from polymodal.nn.graphs import pieces
from polymodal.nn.precision import autocast_type

LIMIT = 10.0  # deviations
AT_ONCE = 32  # rows worked on at once: what lies between a long sound and its features is large


class FeatureEncoder(Encoder):
    """Abstract: features by formula, standardised by the training rows and limited to ten deviations; one token a row.

    Nothing is trained and nothing augmented. A subclass writes `features`, and ends its constructor with
    `self._measured(inputs)`, inputs of one blank row, which tells how many features there are: `dim`. A feature that
    is constant in training is zero.
    """

    sample: ClassVar[int] = 1024  # training cells by which features are standardised
    mean: Tensor
    spread: Tensor

    @abstractmethod
    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """[B, …] tensors to raw features [B, dim], float32 and finite; each row by itself."""

    def _measured(self, blank: Mapping[str, Tensor]) -> None:
        self.dim = self.features(blank).shape[1]
        self.register_buffer("mean", torch.zeros(self.dim))
        self.register_buffer("spread", torch.ones(self.dim))

    @torch.no_grad()
    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """Mean and spread of every feature over the rows that are present."""
        made = self._raw(present_rows(inputs)).double()
        if not len(made):
            return
        mean, spread = made.mean(0), made.std(0, correction=0)
        varies = spread > 1e-5 * mean.abs() + 1e-8  # less is rounding
        self.mean.copy_(mean)
        self.spread.copy_(torch.where(varies, spread, 0.0))

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        scaled = (self._raw(inputs) - self.mean) / torch.where(self.spread > 0, self.spread, torch.inf)
        return Tokens.from_vector(scaled.clamp(-LIMIT, LIMIT))

    def _raw(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Features of many rows, some at a time."""
        parts = zip(*(pieces(value, AT_ONCE) for value in inputs.values()), strict=True)
        with torch.autocast(autocast_type(self.mean), enabled=False):
            return torch.cat([self.features(dict(zip(inputs, part, strict=True))) for part in parts])


def present_rows(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same arrays without `present` [B] bool and without the rows where it is False."""
    rows = {name: value for name, value in inputs.items() if name != "present"}
    return {name: value[inputs["present"]] for name, value in rows.items()} if "present" in inputs else rows


def moments(x: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, spread and skewness over the real steps of x [B, T, K], `real` [B, T] or [B, T, K] bool: three of [B, K].

    Where no step is real, or all are equal, what cannot be told is zero.
    """
    weight = (real if real.ndim == 3 else real[..., None]).to(x.dtype)
    count = weight.sum(1).clamp(min=1)
    mean = (x * weight).sum(1) / count
    away = (x - mean[:, None]) * weight
    spread = (away.square().sum(1) / count).sqrt()
    sure = torch.where(spread > 1e-5 * mean.abs() + 1e-12, spread, torch.inf)  # less is rounding
    unit = away / sure[:, None]
    return mean, spread, (unit * unit * unit).sum(1) / count  # a power of 3 takes ten times as long


def quantiles(x: Tensor, real: Tensor, shares: Sequence[float]) -> Tensor:
    """Quantiles of the real steps of x [B, T, K], `real` [B, T] or [B, T, K] bool: [B, K, len(shares)].

    Linear between order statistics, as NumPy's default; zero where no step is real.
    """
    real = (real if real.ndim == 3 else real[..., None]).expand_as(x).transpose(1, 2)
    count = real.sum(2, keepdim=True)
    ordered = torch.where(real, x.transpose(1, 2), torch.inf).sort(2).values
    place = (count - 1).clamp(min=0) * x.new_tensor(shares)
    below = place.floor().long()
    low, high = ordered.gather(2, below), ordered.gather(2, torch.minimum(below + 1, (count - 1).clamp(min=0)))
    return torch.where(count > 0, low + (high - low) * (place - below), 0.0)


def stretches(x: Tensor, start: Tensor, end: Tensor, count: int) -> Tensor:
    """Means of x [B, T, K] over `count` equal stretches of the steps from `start` [B] to before `end` [B].

    [B, count, K]. A stretch may be shorter than a step, which then counts in part; `end` must be above `start`.
    """
    edges = start[:, None] + (end - start)[:, None] * torch.linspace(0, 1, count + 1, device=x.device, dtype=x.dtype)
    total = torch.nn.functional.pad(x.cumsum(1), (0, 0, 1, 0))
    below = edges.floor().long().clamp(0, x.shape[1] - 1)
    width = x.shape[2]
    upto = total.gather(1, below[..., None].expand(-1, -1, width))
    upto = upto + (edges - below)[..., None] * x.gather(1, below[..., None].expand(-1, -1, width))
    return upto.diff(dim=1) / edges.diff(dim=1)[..., None]
