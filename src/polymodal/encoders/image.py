"""What the picture encoders share: casting, standardising, augmentation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from polymodal.encoders.base import Encoder, Held
from polymodal.nn.signal.warp import affine, stripes, uniform

LARGEST_GRID = 4  # tokens lie on a grid of at most 4 x 4
PATCHES = 7  # a side, that can be hidden
FINEST = 8  # pixels a side to which a hidden patch is rebuilt, at most


class ImageEncoder(Encoder):
    """Abstract: pictures `pixels` uint8 [B, C, S, S] arrive in the subclass as standardised floats.

    Options of augmentation, in training only: `shift` (share of the side), `rotate` (degrees) and `scale` (share) are
    the largest random changes, drawn anew for every picture and applied in one look-up; `flip` mirrors half of the
    pictures (None: colour pictures only, since grey ones are often signs, whose mirror image means something else);
    `erase` is the largest side of a blanked rectangle, as a share (Zhong et al. 2020).
    """

    processor = "image"
    hidden_share = 0.6
    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        shift: float,
        rotate: float,
        scale: float,
        flip: bool | None,
        erase: float,
    ):
        super().__init__(facts, dim)
        self.shift, self.rotate, self.scale, self.flip, self.erase = shift, rotate, scale, flip, erase
        self.register_buffer("mean", torch.full((int(facts["channels"]), 1, 1), 127.5))
        self.register_buffer("spread", torch.full((int(facts["channels"]), 1, 1), 64.0))

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """Mean and spread of each channel."""
        pixels = inputs["pixels"].float()
        self.mean.copy_(pixels.mean((0, 2, 3))[:, None, None])
        self.spread.copy_(pixels.std((0, 2, 3))[:, None, None].clamp(min=1.0))

    def hideable(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Patches of a grid of at most 7 x 7, row by row."""
        pixels = inputs["pixels"]
        return pixels.new_ones((len(pixels), _grid(pixels)[1] ** 2), dtype=torch.bool)

    def hide(self, inputs: Mapping[str, Tensor], hidden: Tensor) -> tuple[dict[str, Tensor], list[Held]]:
        """Hidden patches have the mean colour of the training pictures."""
        pixels = inputs["pixels"].float()
        side, (step, count) = pixels.shape[-1], _grid(pixels)
        where = hidden.view(-1, 1, count, count).repeat_interleave(step, 2).repeat_interleave(step, 3)
        mean, spread = self._scale(pixels)
        x = F.pad((pixels - mean) / spread, (0, count * step - side) * 2)
        fine = min(step, FINEST)
        x = F.adaptive_avg_pool2d(x, count * fine) if fine < step else x
        held = Held(F.unfold(x, fine, stride=fine).transpose(1, 2), hidden)
        return {**inputs, "pixels": torch.where(where[..., :side, :side], mean, pixels)}, [held]

    def standardised(self, pixels: Tensor) -> Tensor:
        """[B, C, S, S] floats; in training with a random change of place and a blanked rectangle. C may be that of
        several pictures, one behind the other, which are then changed alike."""
        mean, spread = self._scale(pixels)
        x = (pixels.float() - mean) / spread
        if not self.training:
            return x
        flips = self.flip if self.flip is not None else len(self.mean) == 3
        if self.shift or self.rotate or self.scale or flips:
            x = affine(x, self._change(x.shape[0], flips, x))
        if self.erase:
            rows, columns = (stripes(x.shape[0], side, self.erase, x) for side in x.shape[-2:])
            x = x.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0.0)
        return x

    def _scale(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread of each of the channels."""
        pictures = pixels.shape[1] // len(self.mean)
        return self.mean.repeat(pictures, 1, 1), self.spread.repeat(pictures, 1, 1)

    def _change(self, rows: int, flips: bool, like: Tensor) -> Tensor:
        angle = uniform(rows, math.radians(self.rotate), like)
        size = torch.exp(uniform(rows, math.log1p(self.scale), like))
        mirror = torch.where(torch.rand(rows, device=like.device) < 0.5, -1.0, 1.0) if flips else torch.ones_like(size)
        cos, sin = size * torch.cos(angle), size * torch.sin(angle)
        right, down = uniform(rows, 2 * self.shift, like), uniform(rows, 2 * self.shift, like)
        return torch.stack([mirror * cos, -sin, right, mirror * sin, cos, down], 1).view(rows, 2, 3)


def _grid(pixels: Tensor) -> tuple[int, int]:
    """The side of a patch that can be hidden, and how many there are along a side."""
    side = pixels.shape[-1]
    step = -(-side // PATCHES)
    return step, -(-side // step)
