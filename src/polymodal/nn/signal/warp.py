"""Random affine changes and erased patches, a whole batch at once: augmentation of pictures and spectrograms."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from polymodal.nn.precision import autocast_type


def uniform(rows: int, reach: float, like: Tensor) -> Tensor:
    """[rows] numbers drawn evenly from -reach..reach."""
    return (torch.rand(rows, device=like.device) * 2 - 1) * reach


def affine(x: Tensor, matrix: Tensor, *, outside: str = "border") -> Tensor:
    """`x` [B, C, H, W] looked up where `matrix` [B, 2, 3] points: output (x, y, 1), in -1..1, to input (x, y)."""
    with torch.autocast(autocast_type(x), enabled=False):
        height, width = ((torch.arange(side, device=x.device) * 2 + 1) / side - 1 for side in x.shape[-2:])
        right, down, shift = matrix.float()[..., None, None].unbind(2)  # [B, 2, 1, 1] each
        grid = (right * width + down * height[:, None] + shift).permute(0, 2, 3, 1)  # torch's own multiplies matrices
        return F.grid_sample(x.float(), grid, padding_mode=outside, align_corners=False)


def stripes(rows: int, length: int, widest: float, like: Tensor) -> Tensor:
    """[rows, length] bool: one stretch a row, of up to `widest` (a share of the length), at a random place."""
    wide = torch.rand(rows, 1, device=like.device) * widest
    start = torch.rand(rows, 1, device=like.device) * (1 - wide)
    place = (torch.arange(length, device=like.device) + 0.5) / length
    return (place >= start) & (place < start + wide)


def rolled(x: Tensor, move: Tensor) -> Tensor:
    """`x` [B, ..., L], row b moved by `move[b]` places along the last axis; what leaves returns at the other end."""
    length = x.shape[-1]
    source = (torch.arange(length, device=x.device) - move[:, None]) % length
    return x.gather(-1, source.view(x.shape[0], *[1] * (x.ndim - 2), length).expand_as(x))
