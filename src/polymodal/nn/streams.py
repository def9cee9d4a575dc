"""Streams of different widths brought to one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


class Project(nn.Module):
    """A linear map of its own for each of K streams, all to width `dim`."""

    def __init__(self, widths: Iterable[int], dim: int):
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(width, dim) for width in widths)

    def each(self, values: Sequence[Tensor]) -> list[Tensor]:
        """K tensors [..., width_k] to K tensors [..., dim]."""
        return [project(value) for project, value in zip(self.maps, values, strict=True)]

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """K vectors [B, width_k] to [B, K, dim]."""
        return torch.stack(self.each(vectors), 1)
