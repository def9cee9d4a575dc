"""A small residual network on every frame, and attention over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.image_resnet import residual
from polymodal.encoders.video import TimePool, VideoEncoder, real_frames
from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.layers.position import index_features
from polymodal.nn.precision import training_precision


class VideoFrames(VideoEncoder):
    """The residual network of `image_resnet` on each frame; what it makes of a frame, and how that differs from the
    frame before, goes through `depth` Transformer blocks over time (after Arnab et al. 2021, their factorised encoder).

    `width` and `stride` as in `image_resnet`. Tokens are at most 16 stretches of time, `where` their time in seconds;
    `pooled` is a weighted mean, the weights learned.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        width: int = 16,
        stride: int | None = None,
        depth: int = 1,
        heads: int = 4,
        dropout: float = 0.1,
        shift: float = 0.05,
        rotate: float = 3.0,
        scale: float = 0.05,
        flip: bool | None = None,
        erase: float = 0.0,
    ):
        super().__init__(facts, dim, shift=shift, rotate=rotate, scale=scale, flip=flip, erase=erase)
        self.width, self.stride, self.depth, self.heads, self.dropout = width, stride, depth, heads, dropout
        self.stem, self.cells, last = residual(int(facts["channels"]), int(facts["size"]), width, stride)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(2 * last, dim)
        self.blocks = nn.ModuleList(TransformerBlock(dim, heads, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.pool = TimePool(dim)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        film, real = self.film(inputs), real_frames(inputs)
        frames = self.cells(self.stem(film.flatten(0, 1))).mean((2, 3)).unflatten(0, film.shape[:2])
        moved = torch.diff(frames, dim=1, prepend=frames[:, :1]) * real[..., None]
        x = self.out(self.drop(torch.cat([frames, moved], 2)))
        x = x + index_features(x.shape[1], self.dim, x.device).to(x.dtype)
        for block in self.blocks:
            x = block(x, real)
        return self.pool(self.norm(x), real, inputs["times"])

    def recipe(self) -> dict[str, Any]:
        return {"lr": 2e-3, "epochs": 20, "batch": 32, "weight_decay": 0.05, "precision": training_precision()}
