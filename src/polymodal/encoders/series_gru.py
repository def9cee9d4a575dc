"""A recurrent network on series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.series import SeriesEncoder
from polymodal.nn.layers.segment import segment_mean
from polymodal.nn.precision import autocast_type

MOST_STEPS = 128  # recurrence costs time in proportion and forgets beyond a few hundred steps


class SeriesGRU(SeriesEncoder):
    """Bidirectional gated recurrent units (Cho et al. 2014) over at most 128 steps.

    Longer series are first shortened by a strided convolution. `width` is the number of units a direction, `layers` the
    number of layers.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        width: int = 48,
        layers: int = 1,
        dropout: float = 0.1,
        jitter: float = 0.05,
        scale: float = 0.1,
    ):
        super().__init__(facts, dim, jitter=jitter, scale=scale)
        self.width, self.layers, self.dropout = width, layers, dropout
        self.stride = -(-self.length // MOST_STEPS)
        self.shorten = nn.Conv1d(2 * self.channels, width, self.stride, stride=self.stride)
        self.recurrent = nn.GRU(width, width, layers, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(2 * width, dim)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        x, real = self.prepared(inputs)
        steps = -(-x.shape[1] // self.stride)
        x = F.pad(x, (0, 0, 0, steps * self.stride - x.shape[1])).transpose(1, 2)
        x = F.relu(self.shorten(x)).transpose(1, 2)
        _, real, _ = segment_mean(real[..., None].float(), real, steps)
        with torch.autocast(autocast_type(x), enabled=False):  # the recurrence rounds at every step
            x, _ = self.recurrent(x.float())
        return self.tokens(self.out(self.drop(x)), real)

    def recipe(self) -> dict[str, Any]:
        return {"lr": 3e-3, "epochs": 30, "batch": 128, "weight_decay": 0.01}
