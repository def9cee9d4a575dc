"""Pooling over the real places of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def masked_softmax(scores: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """Softmax over the places where `mask` (same shape) is True; zero elsewhere, and everywhere where none is."""
    exact = scores.to(torch.promote_types(scores.dtype, torch.float32))
    weights = exact.masked_fill(~mask, torch.finfo(exact.dtype).min).softmax(dim)
    return weights.masked_fill(~mask, 0.0).to(scores.dtype)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real places, [B, T, D] and [B, T] bool to [B, D]; zero where none is. Masked NaN do not count."""
    total = torch.where(mask[..., None], x, x.new_zeros(())).sum(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1).to(x.dtype)


class AttentionPool(nn.Module):
    """A weighted mean whose weights are a softmax of tanh(x V) w (Bahdanau et al. 2015; Ilse et al. 2018).

    [B, T, dim] and [B, T] bool to [B, dim]; zero where no place is real. `hidden` units score a place (default: dim).
    """

    def __init__(self, dim: int, *, hidden: int | None = None):
        super().__init__()
        self.hidden = hidden
        self.score = nn.Sequential(nn.Linear(dim, hidden or dim), nn.Tanh(), nn.Linear(hidden or dim, 1, bias=False))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = torch.where(mask[..., None], x, x.new_zeros(()))
        weights = masked_softmax(self.score(x)[..., 0], mask)
        return (weights[:, None] @ x.to(weights.dtype))[:, 0]
