"""A generator of pictures and its critic."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from polymodal.nn.layers.unet import Block, norm

START = 4  # pixels, from about which a generator begins and at which a critic ends


class Generator(nn.Module):
    """Noise and condition [B, D] to pictures [B, C, S, S] in -1 … 1: from a small map, doubled until it is large.

    Blocks have group normalisation, which the condition turns, and none over the batch.
    """

    def __init__(self, channels: int, side: int, width: int, *, condition: int):
        super().__init__()
        self.sides = sides_of(side)[::-1]
        widths = [width * min(2**level, 4) for level in range(len(self.sides))][::-1]
        self.first = nn.Linear(condition, widths[0] * self.sides[0] ** 2)
        self.blocks = nn.ModuleList(Block(a, b, condition) for a, b in zip([widths[0], *widths], widths))
        self.last = nn.Sequential(norm(width), nn.SiLU(), nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, condition: Tensor) -> Tensor:
        x = self.first(condition).unflatten(1, (-1, self.sides[0], self.sides[0]))
        for side, block in zip(self.sides, self.blocks):
            if x.shape[-1] != side:
                x = F.interpolate(x, (side, side), mode="nearest")
            x = block(x, condition)
        return self.last(x).tanh()


class Critic(nn.Module):
    """How real pictures [B, C, S, S] look for a condition [B, D], [B]: by projection (Miyato & Koyama 2018).

    Every map has a spectral norm of 1 (Miyato et al. 2018), and nothing is normalised by other rows.
    """

    def __init__(self, channels: int, side: int, width: int, *, condition: int):
        super().__init__()
        count = len(sides_of(side))
        widths = [width * min(2**level, 4) for level in range(count)]
        maps = []
        for level, (given, own) in enumerate(zip([channels, *widths], widths)):
            maps += [_bounded(nn.Conv2d(given, own, 3, padding=1)), nn.LeakyReLU(0.2)]
            if level + 1 < count:
                maps += [_bounded(nn.Conv2d(own, own, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        self.maps = nn.Sequential(*maps)
        self.real = _bounded(nn.Linear(widths[-1], 1, bias=False))
        self.fits = _bounded(nn.Linear(condition, widths[-1], bias=False))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        seen = self.maps(x).mean((2, 3))
        return self.real(seen)[:, 0] + (self.fits(condition) * seen).sum(1) / math.sqrt(seen.shape[1])


def sides_of(side: int) -> list[int]:
    """The side, and its halves as long as they are no smaller than `START`."""
    sides = [side]
    while sides[-1] // 2 >= START:
        sides.append(sides[-1] // 2)
    return sides


def augmented(x: Tensor) -> Tensor:
    """Pictures brighter or darker, moved by up to an eighth, and with a square hidden, each at random and with a
    gradient: what a critic sees of few pictures, real and drawn alike (DiffAugment; Zhao et al. 2020)."""
    rows, _, side, _ = x.shape
    x = x + torch.rand(rows, 1, 1, 1, device=x.device) - 0.5
    reach = max(1, side // 8)
    shift = torch.randint(-reach, reach + 1, (2, rows, 1), device=x.device)
    place = torch.arange(side, device=x.device)
    down, right = ((place + some).clamp(-1, side) + 1 for some in shift)  # of a picture with a rim
    padded = F.pad(x, (1, 1, 1, 1))
    x = padded.gather(2, down[:, None, :, None].expand(-1, x.shape[1], -1, side + 2))
    x = x.gather(3, right[:, None, None, :].expand(-1, x.shape[1], side, -1))
    middle = torch.randint(0, side, (2, rows, 1), device=x.device)
    hidden = [(place - some).abs() <= side // 4 for some in middle]
    return x * ~(hidden[0][:, None, :, None] & hidden[1][:, None, None, :])


def _bounded(part: nn.Module) -> nn.Module:
    return spectral_norm(part)
