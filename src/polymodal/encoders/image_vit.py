"""A small vision Transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.image import LARGEST_GRID, ImageEncoder
from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.layers.segment import grid_places
from polymodal.nn.precision import training_precision

GRID = 7  # patches a side


class ImageViT(ImageEncoder):
    """Vision Transformer (Dosovitskiy et al. 2021) on a grid of at most 7 x 7 patches, small enough to train from
    scratch.

    Patches overlap by half (Yuan et al. 2021), which spares a small data set from learning what a patch's edge is.
    After `layers` blocks of width `width` the grid is averaged to at most 4 x 4 tokens; `pooled` is their mean.
    `where` holds row and column in 0..1.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        width: int = 64,
        layers: int = 3,
        shift: float = 0.03,
        rotate: float = 3.0,
        scale: float = 0.03,
        flip: bool | None = None,
        erase: float = 0.0,
    ):
        super().__init__(facts, dim, shift=shift, rotate=rotate, scale=scale, flip=flip, erase=erase)
        self.width, self.layers = width, layers
        side = int(facts["size"])
        step = -(-side // GRID)
        self.grid = -(-side // step)
        self.margin = (step // 2, self.grid * step + step - side - step // 2)
        self.patch = nn.Conv2d(int(facts["channels"]), width, 2 * step, stride=step)
        self.place = nn.Parameter(0.02 * torch.randn(self.grid**2, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, max(1, width // 32), dropout=0.1) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, dim)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        picture = F.pad(self.standardised(inputs["pixels"]), self.margin * 2)
        x = self.patch(picture).flatten(2).transpose(1, 2) + self.place
        x = self.norm(self.blocks(x)).transpose(1, 2).unflatten(2, (self.grid, self.grid))
        side = min(LARGEST_GRID, self.grid)
        x = self.out(F.adaptive_avg_pool2d(x, side).flatten(2).transpose(1, 2))
        mask = x.new_ones(x.shape[:2]).bool()
        return Tokens(x, mask, x.mean(1), grid_places(x.shape[0], side, side, x))

    def recipe(self) -> dict[str, Any]:
        return {"lr": 1e-3, "epochs": 12, "batch": 64, "weight_decay": 0.05, "precision": training_precision()}
