"""A small residual network for pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens
from polymodal.encoders.image import LARGEST_GRID, ImageEncoder
from polymodal.nn.check import check_count
from polymodal.nn.layers.segment import grid_places
from polymodal.nn.memory_format import channels_last
from polymodal.nn.precision import training_precision

STRIDES = (1, 2, 4)
FINEST = 7  # cells a side of the last map, unless a finer grid is asked for


class ImageResNet(ImageEncoder):
    """Residual network (He et al. 2016) whose depth follows the picture's side: it halves until at most 7 x 7 are left,
    and never below `grid` x `grid`.

    y = relu(x + bn(conv(relu(bn(conv(x)))))). `width` is the number of channels after the first convolution; it doubles
    with every halving up to four times. `stride` is how far the picture shrinks before the first block, by the strided
    first convolution and, for 4, by max pooling too, as in the paper; None: 2 for pictures of 64 pixels and more, else
    1. Tokens are the cells of the last map, at most `grid` x `grid`, through one linear layer; `pooled` is their mean.
    `where` holds row and column in 0..1. Raises `BadArgument` for another stride than 1, 2 or 4.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        width: int = 16,
        stride: int | None = None,
        dropout: float = 0.1,
        shift: float = 0.03,
        rotate: float = 3.0,
        scale: float = 0.03,
        flip: bool | None = None,
        erase: float = 0.0,
        grid: int = LARGEST_GRID,
    ):
        super().__init__(facts, dim, shift=shift, rotate=rotate, scale=scale, flip=flip, erase=erase)
        self.width, self.stride, self.dropout, self.grid = width, stride, dropout, check_count("grid", grid)
        channels, side = int(facts["channels"]), int(facts["size"])
        self.stem, self.blocks, last = residual(channels, side, width, stride, grid)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(last, dim)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        cells = self.blocks(self.stem(self.standardised(inputs["pixels"])))
        height, width = (min(self.grid, s) for s in cells.shape[-2:])
        cells = F.adaptive_avg_pool2d(cells, (height, width)).flatten(2).transpose(1, 2)
        x = self.out(self.drop(cells))
        mask = x.new_ones(x.shape[:2]).bool()
        return Tokens(x, mask, x.mean(1), grid_places(x.shape[0], height, width, x))

    def recipe(self) -> dict[str, Any]:
        return {"lr": 3e-3, "epochs": 12, "batch": 128, "weight_decay": 0.05, "precision": training_precision()}


def residual(
    channels: int, side: int, width: int, stride: int | None, grid: int = LARGEST_GRID
) -> tuple[nn.Sequential, nn.Sequential, int]:
    """Stem and blocks for pictures of `side` pixels, and how many channels their map has.

    For `width`, `stride` and `grid` see `ImageResNet`. Raises `BadArgument` for another stride than 1, 2 or 4.
    """
    first = (2 if side >= 64 else 1) if stride is None else stride
    if first not in STRIDES:
        raise BadArgument(f"stride must be one of {', '.join(map(str, STRIDES))}, or null; got {stride!r}.")
    halvings = max(0, math.ceil(math.log2(side / first / FINEST)))
    while halvings and math.ceil(side / first / 2**halvings) < grid:
        halvings -= 1
    widths = [width] + [width * 2 ** min(i + 1, 2) for i in range(halvings)]
    stem = nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=min(first, 2), padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        *([nn.MaxPool2d(3, stride=2, padding=1)] if first == 4 else []),
    )
    blocks = nn.Sequential(ResidualBlock(width, width, 1), *(ResidualBlock(a, b, 2) for a, b in pairwise(widths)))
    channels_last(stem, blocks)
    return stem, blocks, widths[-1]


class ResidualBlock(nn.Module):
    """Two convolutions over 2 or 3 `axes` and a shortcut, which is a strided convolution of one cell where the shape
    changes."""

    def __init__(self, before: int, after: int, stride: int | tuple[int, ...], *, axes: int = 2):
        super().__init__()
        conv: Any
        norm: Any
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if axes == 2 else (nn.Conv3d, nn.BatchNorm3d)
        strides = (stride,) * axes if isinstance(stride, int) else stride
        self.one = conv(before, after, 3, stride=strides, padding=1, bias=False)
        self.one_norm = norm(after)
        self.two = conv(after, after, 3, padding=1, bias=False)
        self.two_norm = norm(after)
        self.short: nn.Module = nn.Identity()
        if max(strides) > 1 or before != after:
            self.short = nn.Sequential(conv(before, after, 1, stride=strides, bias=False), norm(after))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.one_norm(self.one(x)))
        return F.relu(self.short(x) + self.two_norm(self.two(y)))
