"""Encoders of scans: a residual network over the volume, and encoders of films, for which its slices are frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.image import ImageEncoder
from polymodal.encoders.image_resnet import ResidualBlock
from polymodal.encoders.pretrained_video import PretrainedVideo
from polymodal.encoders.video import VideoEncoder
from polymodal.encoders.video_frames import VideoFrames
from polymodal.nn.check import check_count
from polymodal.nn.precision import training_precision

FINEST = 6  # cells a side of the last map, at most


class VolumeSlices(VideoFrames):
    """A network of pictures on every slice, and Transformer blocks along them: what is called 2.5-D.

    Options as of `video_frames`. Tokens are at most 16 stretches of slices; `where` holds slice, row and column in
    0..1.
    """

    processor = "volume"

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        super().fit_statistics(_as_film(inputs))

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        return _in_space(super().encode(_as_film(inputs)))


class PretrainedVolume(PretrainedVideo):
    """A picture encoder of Hugging Face transformers (Wolf et al. 2020) on slices, as `pretrained_video` on frames.

    `where` holds slice, row and column in 0..1.
    """

    processor = "pretrained_volume"

    def _encoded(self, inputs: Mapping[str, Tensor]) -> Tokens:
        return _in_space(super()._encoded(_as_film(inputs)))


class VolumeResNet(VideoEncoder):
    """A residual network of 3-D convolutions (He et al. 2016; for scans Chen, Ma & Zheng 2019), small.

    y = relu(x + bn(conv(relu(bn(conv(x)))))). `width` is the number of channels after the first convolution, which
    halves volumes of 32 voxels a side and more; it doubles with every halving up to four times. An axis is halved while
    it has more than 6 cells. Tokens are the cells of the last map, at most `grid` along each axis; `pooled` is their
    mean; `where` holds slice, row and column in 0..1. All slices of a scan are moved alike in training.
    """

    processor = "volume"

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        width: int = 16,
        grid: int = 2,
        dropout: float = 0.1,
        shift: float = 0.05,
        rotate: float = 5.0,
        scale: float = 0.05,
        flip: bool | None = None,
        erase: float = 0.0,
    ):
        super().__init__(facts, dim, shift=shift, rotate=rotate, scale=scale, flip=flip, erase=erase)
        self.width, self.grid, self.dropout = check_count("width", width), check_count("grid", grid), dropout
        sides = [int(facts["slices"]), int(facts["size"])]
        strides = []
        first = _halving(sides) if sides[1] >= 32 else (1, 1, 1)
        if first != (1, 1, 1):
            sides = _halved(sides, first)
        while max(sides) > FINEST:
            strides.append(_halving(sides))
            sides = _halved(sides, strides[-1])
        widths = [width, *(width * 2 ** min(stage + 1, 2) for stage in range(len(strides)))]
        self.stem = nn.Sequential(
            nn.Conv3d(int(facts["channels"]), width, 3, first, 1, bias=False), nn.BatchNorm3d(width), nn.ReLU()
        )
        self.blocks = nn.Sequential(
            ResidualBlock(width, width, (1, 1, 1), axes=3),
            *(ResidualBlock(a, b, stride, axes=3) for (a, b), stride in zip(pairwise(widths), strides)),
        )
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(widths[-1], dim)

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        ImageEncoder.fit_statistics(self, {"pixels": inputs["pixels"].flatten(0, 1)})

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        pixels = inputs["pixels"]
        volume = self.standardised(pixels.flatten(1, 2)).view(pixels.shape).transpose(1, 2)
        cells = self.blocks(self.stem(volume))
        deep, high, wide = (min(self.grid, side) for side in cells.shape[-3:])
        x = self.out(self.drop(F.adaptive_avg_pool3d(cells, (deep, high, wide)).flatten(2).transpose(1, 2)))
        places = [(torch.arange(side, device=x.device) + 0.5) / side for side in (deep, high, wide)]
        where = torch.cartesian_prod(*places).float()[None].expand(x.shape[0], -1, -1)
        return Tokens(x, x.new_ones(x.shape[:2]).bool(), x.mean(1), where)

    def recipe(self) -> dict[str, Any]:
        return {"lr": 2e-3, "epochs": 20, "batch": 32, "weight_decay": 0.05, "precision": training_precision()}


def _as_film(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A scan's arrays as those of a film whose frames are its slices, at times 0..1."""
    rows, slices = inputs["pixels"].shape[:2]
    place = (torch.arange(slices, device=inputs["pixels"].device) + 0.5) / slices
    length = torch.full((rows,), slices, dtype=torch.int32, device=place.device)
    return {**inputs, "times": place.expand(rows, -1), "length": length}


def _in_space(tokens: Tokens) -> Tokens:
    """Tokens of stretches of slices with their places in three dimensions: each lies in the middle of its slices."""
    assert tokens.where is not None
    middle = torch.full_like(tokens.where, 0.5)
    return replace(tokens, where=torch.cat([tokens.where, middle, middle], 2))


def _halving(sides: list[int]) -> tuple[int, int, int]:
    """Strides along slices, rows and columns of a halving: of what is longer than 6 cells."""
    deep, wide = (2 if side > FINEST else 1 for side in sides)
    return deep, wide, wide


def _halved(sides: list[int], stride: tuple[int, int, int]) -> list[int]:
    return [-(-side // step) for side, step in zip(sides, stride)]
