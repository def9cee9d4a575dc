"""What the series encoders share: standardised channels, gaps, shortening, tokens in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from polymodal.core.types import Tokens
from polymodal.encoders.base import Encoder, Held
from polymodal.nn.layers.pool import masked_mean
from polymodal.nn.layers.segment import segment_mean

MOST_TOKENS = 16


class SeriesEncoder(Encoder):
    """Abstract: `values`, `valid` [B, L, C] and `length` [B] arrive in the subclass as one tensor of 2 C channels.

    Values are standardised by the training series and limited to ten deviations; the second half of the channels says
    where they were measured. `jitter` (in deviations) and `scale` (share) are the largest noise and change of
    amplitude in training.
    """

    processor = "series"
    mean: Tensor
    spread: Tensor

    def __init__(self, facts: Mapping[str, Any], dim: int, *, jitter: float, scale: float):
        super().__init__(facts, dim)
        self.jitter, self.scale = jitter, scale
        self.channels, self.length = int(facts["channels"]), int(facts["length"])
        self.seconds = self.length / float(facts["rate"])
        self.register_buffer("mean", torch.zeros(self.channels))
        self.register_buffer("spread", torch.ones(self.channels))

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """Mean and spread of each channel over its measured values."""
        mean, spread = channel_statistics(inputs["values"], inputs["valid"])
        self.mean.copy_(mean)
        self.spread.copy_(spread)

    def augment(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """White noise and another amplitude."""
        values = inputs["values"]
        noise = torch.randn_like(values) * self.spread * self.jitter
        factor = 1 + (torch.rand(values.shape[0], 1, 1, device=values.device) * 2 - 1) * self.scale
        return {**inputs, "values": self.mean + (values - self.mean) * factor + noise}

    def hideable(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """At most 16 stretches of time, each of every channel, where something was measured."""
        return _stretches(inputs["valid"] & self._real(inputs)[..., None]).any(2)

    def hide(self, inputs: Mapping[str, Tensor], hidden: Tensor) -> tuple[dict[str, Tensor], list[Held]]:
        """Hidden stretches were not measured. Nor do gaps of these channels keep what filled them: it was drawn through
        what is hidden."""
        values, valid = inputs["values"], inputs["valid"] & self._real(inputs)[..., None]
        length = values.shape[1]
        step = -(-length // MOST_TOKENS)
        where = hidden.unflatten(1, (-1, self.channels)).repeat_interleave(step, 1)[:, :length]
        blank = where | (where.any(1, keepdim=True) & ~valid)
        x = ((values - self.mean) / self.spread).clamp(-10, 10)
        held = Held(_stretches(x), _stretches(where & valid))
        changed = {"values": torch.where(blank, self.mean, values), "valid": inputs["valid"] & ~where}
        return {**inputs, **changed}, [held]

    @staticmethod
    def _real(inputs: Mapping[str, Tensor]) -> Tensor:
        return torch.arange(inputs["values"].shape[1], device=inputs["length"].device) < inputs["length"][:, None]

    def prepared(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Floats [B, L, 2 C], zero beyond a series' end, and which steps are real [B, L] bool."""
        values, valid = inputs["values"], inputs["valid"]
        real = self._real(inputs)
        x = ((values - self.mean) / self.spread).clamp(-10, 10)
        x = torch.cat([x, valid.to(x.dtype)], -1)
        return torch.where(real[..., None], x, x.new_zeros(())), real

    def tokens(self, x: Tensor, real: Tensor) -> Tokens:
        """Tokens of steps [B, T, dim]: at most 16 stretches of time; `pooled` is their mean."""
        x, mask, centre = segment_mean(x, real, MOST_TOKENS)
        where = (centre * self.seconds)[None, :, None].expand(x.shape[0], -1, 1)
        return Tokens(x, mask, masked_mean(x, mask), where)


def _stretches(x: Tensor) -> Tensor:
    """[B, L, C] cut into at most 16 stretches of time: [B, stretches * C, steps], zero beyond the end."""
    step = -(-x.shape[1] // MOST_TOKENS)
    return F.pad(x, (0, 0, 0, -x.shape[1] % step)).unflatten(1, (-1, step)).transpose(2, 3).flatten(1, 2)


def channel_statistics(values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread [C] of values [B, L, C] where they are `valid` bool; the spread is 1 where nothing varies."""
    values, count = values.double(), valid.sum((0, 1)).clamp(min=1)
    mean = (values * valid).sum((0, 1)) / count
    variance = ((values - mean).square() * valid).sum((0, 1)) / count
    return mean, torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance))
