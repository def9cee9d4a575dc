"""A small residual network over space and time."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.video import TimePool, VideoEncoder, real_frames
from polymodal.nn.precision import training_precision


class VideoCNN(VideoEncoder):
    """R(2+1)D (Tran et al. 2018), much smaller: each convolution over the picture is followed by one over time.

    The picture halves with every stage, time keeps its steps, so that a token is a frame with those around it.
    `width` is the number of channels of the first of `stages` stages; it doubles up to four times. Tokens are at most
    16 stretches of time, `where` their time in seconds; `pooled` is a weighted mean, the weights learned.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        width: int = 16,
        stages: int = 3,
        dropout: float = 0.1,
        shift: float = 0.05,
        rotate: float = 3.0,
        scale: float = 0.05,
        flip: bool | None = None,
        erase: float = 0.0,
    ):
        super().__init__(facts, dim, shift=shift, rotate=rotate, scale=scale, flip=flip, erase=erase)
        self.width, self.stages, self.dropout = width, stages, dropout
        widths = [width * 2 ** min(stage, 2) for stage in range(stages)]
        self.stem = _Apart(int(facts["channels"]), width, 2)
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in pairwise([width, *widths])))
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(widths[-1], dim)
        self.pool = TimePool(dim)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        film, real = self.film(inputs), real_frames(inputs)
        steps = self.blocks(self.stem(film.transpose(1, 2))).mean((3, 4)).transpose(1, 2)
        return self.pool(self.out(self.drop(steps)), real, inputs["times"])

    def recipe(self) -> dict[str, Any]:
        return {"lr": 2e-3, "epochs": 20, "batch": 32, "weight_decay": 0.05, "precision": training_precision()}


class _Apart(nn.Sequential):
    """A convolution over the picture, then one over time, normalised and rectified."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__(
            nn.Conv3d(before, after, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
            nn.BatchNorm3d(after),
            nn.ReLU(),
            nn.Conv3d(after, after, (3, 1, 1), 1, (1, 0, 0), bias=False),
            nn.BatchNorm3d(after),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x))


class _Block(nn.Module):
    """Two such pairs and a shortcut; the picture is halved."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.one, self.two = _Apart(before, after, 2), _Apart(after, after, 1)
        self.short = nn.Conv3d(before, after, 1, (1, 2, 2), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.short(x) + self.two(self.one(x)))
