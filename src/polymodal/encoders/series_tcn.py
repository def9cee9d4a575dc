"""A temporal convolutional network on series."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.series import SeriesEncoder


class SeriesTCN(SeriesEncoder):
    """Residual causal convolutions whose dilation doubles (TCN, Bai, Kolter & Koltun 2018).

    Enough levels that the last step sees the whole series. `width` is the number of channels; `kernel` the taps of a
    convolution.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        width: int = 48,
        kernel: int = 3,
        dropout: float = 0.1,
        jitter: float = 0.05,
        scale: float = 0.1,
    ):
        super().__init__(facts, dim, jitter=jitter, scale=scale)
        self.width, self.kernel, self.dropout = width, kernel, dropout
        # Two convolutions a level: a level of dilation d adds 2 (kernel - 1) d steps to what is seen.
        levels = max(1, math.ceil(math.log2(1 + self.length / (2 * (kernel - 1)))))
        self.stem = nn.Linear(2 * self.channels, width)
        self.levels = nn.Sequential(*(_Level(width, kernel, 2**i, dropout) for i in range(levels)))
        self.out = nn.Linear(width, dim)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        x, real = self.prepared(inputs)
        steps = self.levels(self.stem(x).transpose(1, 2)).transpose(1, 2)
        return self.tokens(self.out(steps), real)

    def recipe(self) -> dict[str, Any]:
        return {"lr": 3e-3, "epochs": 30, "batch": 128, "weight_decay": 0.01}


class _Level(nn.Module):
    """x + two causal convolutions of one dilation; no step sees a later one."""

    def __init__(self, width: int, kernel: int, dilation: int, dropout: float):
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.one = nn.Conv1d(width, width, kernel, dilation=dilation)
        self.two = nn.Conv1d(width, width, kernel, dilation=dilation)
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.one(F.pad(self.norm(x.transpose(1, 2)).transpose(1, 2), (self.past, 0))))
        y = F.relu(self.two(F.pad(self.drop(y), (self.past, 0))))
        return x + self.drop(y)
