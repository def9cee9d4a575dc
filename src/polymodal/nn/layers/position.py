"""Where a token stands: sinusoids of its number, Fourier features of its place in the source. No parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SHORTEST, LONGEST = 0.5, 4096.0  # wavelengths of places: shares of a picture, seconds and characters all fall between


def sinusoids(position: Tensor, dim: int, *, shortest: float = 2 * math.pi, longest: float = 2e4 * math.pi) -> Tensor:
    """Sines, then cosines, of `position` [...] at wavelengths spaced geometrically: [..., dim].

    The defaults are the Transformer's (Vaswani et al. 2017). With an odd `dim` the last channel is zero.
    """
    count = max(dim // 2, 1)
    step = (longest / shortest) ** (1 / max(count - 1, 1))
    frequency = 2 * math.pi / (shortest * step ** torch.arange(count, device=position.device, dtype=torch.float32))
    angle = position.float()[..., None] * frequency
    out = torch.cat([angle.sin(), angle.cos()], dim=-1)[..., :dim]
    return torch.nn.functional.pad(out, (0, dim - out.shape[-1]))


def index_features(length: int, dim: int, device: torch.device | None = None) -> Tensor:
    """Sinusoids of 0 … length - 1: [length, dim]."""
    return sinusoids(torch.arange(length, device=device), dim)


def place_features(where: Tensor, dim: int) -> Tensor:
    """Fourier features of `Tokens.where` [B, T, K]: each coordinate gets an equal share of the channels, [B, T, dim].

    Coordinates may be seconds, shares of a picture or numbers of characters, so wavelengths run from 0.5 to 4096.
    """
    coordinates = where.shape[-1]
    share = dim // coordinates
    out = sinusoids(where, share, shortest=SHORTEST, longest=LONGEST).flatten(-2)
    return torch.nn.functional.pad(out, (0, dim - out.shape[-1]))
