"""From long sequences and maps to the few tokens that a fusion can afford."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def segment_mean(x: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Means of at most `count` equal stretches of `x` [B, L, D] over the places where `mask` [B, L] is True.

    Returns the means [B, T, D], which stretches hold a real place [B, T] bool, and their centres [T] as shares of L.
    T is below `count` where L is.
    """
    rows, length, width = x.shape
    step = -(-length // count)
    number = -(-length // step)
    extra = number * step - length
    weight = F.pad(mask, (0, extra)).view(rows, number, step, 1)
    parts = F.pad(x, (0, 0, 0, extra)).view(rows, number, step, width)
    total = weight.sum(2)
    means = torch.where(weight, parts, parts.new_zeros(())).sum(2) / total.clamp(min=1).to(x.dtype)
    edges = (torch.arange(number + 1, device=x.device) * step).clamp(max=length) / length
    return means, total[..., 0] > 0, (edges[:-1] + edges[1:]) / 2


def grid_places(rows: int, height: int, width: int, like: Tensor) -> Tensor:
    """Row and column of each cell's centre, in 0..1, [rows, height * width, 2], row by row."""
    y = (torch.arange(height, device=like.device) + 0.5) / height
    x = (torch.arange(width, device=like.device) + 0.5) / width
    return torch.cartesian_prod(y, x).float()[None].expand(rows, -1, -1)
