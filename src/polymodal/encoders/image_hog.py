"""Hand-made features of pictures: edges, colours, texture and a tiny copy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from polymodal.core.values import check_range
from polymodal.encoders.features import FeatureEncoder

TINY = 0.01  # the smallest spread of a channel, of 1, that skewness is told of
SCALES = 4  # of texture, each half of the one before
LEAST_SIDE = 8  # pixels, of the coarsest scale
BINS = 8  # of each histogram of colour
COLOUR_SIDE = 48  # pixels; larger pictures are shrunk before their colours are counted
UNIFORM = 10  # of local binary patterns: 0 to 8 bits set in one run, and all others
CLIP = 0.2  # of a block's histogram, before it is normalised again


class ImageHOG(FeatureEncoder):
    """Histograms of oriented gradients, of colour and of local binary patterns, and a tiny copy of the picture.

    Gradients (Dalal & Triggs 2005) in `cells` x `cells` cells that share the picture, `orientations` each, normalised
    in blocks of 2 x 2 (L2-Hys); pictures whose side is no multiple of `cells` are stretched to the next, above 16
    pixels a cell shrunk. Patterns are uniform and invariant to rotation (Ojala, Pietikäinen & Mäenpää 2002), their
    shares at up to four scales, with the energy of every scale. Colour, in three-channel pictures: moments and
    histograms of red, green, blue, hue, saturation, value and two opponents, of the middle and of the rim; grey
    pictures have those of their one channel. The copy is `tiny` x `tiny`.
    """

    processor = "image"
    codes: Tensor
    middle: Tensor
    rim: Tensor

    def __init__(self, facts: Mapping[str, Any], dim: int, *, cells: int = 4, orientations: int = 9, tiny: int = 6):
        super().__init__(facts, dim)
        check_range("[2, 32]", cells=cells, orientations=orientations)
        check_range("[1, 64]", tiny=tiny)
        self.cells, self.orientations, self.tiny = cells, orientations, tiny
        side, channels = int(facts["size"]), int(facts["channels"])
        self.cell = min(16, max(2, -(-side // cells)))
        few = min(side, COLOUR_SIDE)
        place = (torch.arange(few) + 0.5) / few * 2 - 1
        middle = (place[:, None].square() + place.square()).sqrt() < 0.6
        self.register_buffer("codes", _uniform(), persistent=False)
        self.register_buffer("middle", middle.flatten().nonzero()[:, 0], persistent=False)
        self.register_buffer("rim", (~middle).flatten().nonzero()[:, 0], persistent=False)
        self._measured({"pixels": torch.zeros(1, channels, side, side, dtype=torch.uint8)})

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        pixels = inputs["pixels"].float() / 255
        grey = luminance(pixels)
        copy = F.interpolate(pixels, (self.tiny, self.tiny), mode="area").flatten(1)
        return torch.cat([self.gradients(pixels), self._texture(grey), self._colour(pixels), copy], 1)

    def gradients(self, pixels: Tensor) -> Tensor:
        """Histograms of oriented gradients of [B, C, S, S]: [B, (cells - 1)² · 4 · orientations].

        As `skimage.feature.hog` where the side is `cells` · `cell`: of every pixel the channel of the largest
        gradient, which votes for one orientation of its own cell.
        """
        side = self.cells * self.cell
        if pixels.shape[-1] != side:
            smaller = side < pixels.shape[-1]
            pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=smaller)
        down, right = torch.zeros_like(pixels), torch.zeros_like(pixels)
        down[..., 1:-1, :] = pixels[..., 2:, :] - pixels[..., :-2, :]
        right[..., :, 1:-1] = pixels[..., :, 2:] - pixels[..., :, :-2]
        size, channel = (down.square() + right.square()).max(1, keepdim=True)
        turn = torch.atan2(down.gather(1, channel), right.gather(1, channel)) / math.pi
        number = ((turn % 1) * self.orientations).long().clamp(max=self.orientations - 1)
        votes = size.new_zeros(size.shape[0], self.orientations, side, side).scatter(1, number, size.sqrt())
        x = F.avg_pool2d(votes, self.cell)
        blocks = x.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 4, 5, 1).flatten(3)  # [B, row, column, 4 · o]
        blocks = blocks / (blocks.square().sum(3, keepdim=True) + 1e-10).sqrt()
        blocks = blocks.clamp(max=CLIP)
        return (blocks / (blocks.square().sum(3, keepdim=True) + 1e-10).sqrt()).flatten(1)

    def _texture(self, grey: Tensor) -> Tensor:
        """Shares of local binary patterns at each scale, and the logarithm of what the next coarser one loses."""
        told = []
        x = (grey * 255).round()
        for _ in range(SCALES):
            told.append(patterns(x, self.codes).sqrt())
            if x.shape[-1] // 2 < LEAST_SIDE:
                break
            coarse = F.avg_pool2d(x, 2)
            lost = x - F.interpolate(coarse, x.shape[-2:], mode="nearest")
            told.append((lost.square().mean((1, 2, 3)) + 0.1).log()[:, None])
            x = coarse.round()
        return torch.cat(told, 1)

    def _colour(self, pixels: Tensor) -> Tensor:
        """Moments and histograms of every plane, in the middle and at the rim."""
        if pixels.shape[-1] > COLOUR_SIDE:
            pixels = F.interpolate(pixels, (COLOUR_SIDE, COLOUR_SIDE), mode="area")
        planes = torch.cat([pixels, colours(pixels)], 1) if pixels.shape[1] == 3 else pixels
        told = []
        for part in (self.middle, self.rim):
            x = planes.flatten(2)[..., part]
            mean = x.mean(2)
            away = x - mean[..., None]
            square = away * away
            spread = square.mean(2).sqrt()
            skew = (square * away).mean(2) / spread.clamp(min=TINY) ** 3
            number = (x * BINS).long().clamp(0, BINS - 1)
            share = x.new_full((), 1 / x.shape[2]).expand_as(x)
            shares = x.new_zeros(*x.shape[:2], BINS).scatter_add(2, number, share)
            told += [mean, spread, skew, shares.sqrt().flatten(1)]
        return torch.cat(told, 1)


def luminance(pixels: Tensor) -> Tensor:
    """[B, C, S, S] to [B, 1, S, S]: red, green and blue by ITU-R BT.601; one channel as it is."""
    if pixels.shape[1] == 1:
        return pixels
    return (pixels * pixels.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def colours(pixels: Tensor) -> Tensor:
    """Red, green and blue [B, 3, S, S], 0 to 1, to hue, saturation, value and two opponents, [B, 5, S, S], 0 to 1.

    Hue is 0 where there is none. Opponents: red less green; red and green less twice blue.
    """
    red, green, blue = pixels.unbind(1)
    most, least = pixels.amax(1), pixels.amin(1)
    width = most - least
    sure = width.clamp(min=1e-6)
    sixth = torch.where(
        most == red,
        (green - blue) / sure % 6,
        torch.where(most == green, (blue - red) / sure + 2, (red - green) / sure + 4),
    )
    hue = torch.where(width > 1e-6, sixth / 6, 0.0)
    opponents = (red - green + 1) / 2, (red + green - 2 * blue + 2) / 4
    return torch.stack([hue, width / most.clamp(min=1e-6), most, *opponents], 1)


def patterns(x: Tensor, codes: Tensor) -> Tensor:
    """Shares of the uniform local binary patterns of [B, 1, S, S], over the pixels with eight neighbours, [B, 10].

    A bit a neighbour, set where it is at least as bright; `codes` [256] give a pattern its number.
    """
    inner = x[..., 1:-1, 1:-1]
    code = torch.zeros_like(inner, dtype=torch.long)
    for bit, (row, column) in enumerate(((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))):
        near = x[..., row : row + inner.shape[-2], column : column + inner.shape[-1]]
        code = code + (near >= inner).long() * 2**bit
    number = codes[code].flatten(1)
    ones = torch.ones_like(number, dtype=x.dtype) / number.shape[1]
    return x.new_zeros(x.shape[0], UNIFORM).scatter_add(1, number, ones)


def _uniform() -> Tensor:
    """Number of each of the 256 patterns: bits set where they are one run around the circle, else 9."""
    bits = torch.arange(256)[:, None] >> torch.arange(8) & 1
    turns = (bits != bits.roll(1, 1)).sum(1)
    return torch.where(turns <= 2, bits.sum(1), UNIFORM - 1)
