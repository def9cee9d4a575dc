"""Several maps of one shape computed in one multiplication, each on its own part of the rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GroupedLinear(nn.Module):
    """G linear maps side by side: rows [G · B, …, width], one group's after the other's, to [G · B, …, out].

    For small tensors one batched multiplication is much cheaper than G of them. Each map starts as `nn.Linear` does.
    The bias is flat, [G · out]: optimisers tell biases, which must not decay, by their one dimension.
    """

    def __init__(self, groups: int, width: int, out: int, *, bias: bool = True):
        super().__init__()
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(groups, out, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(groups * out).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        groups, out, width = self.weight.shape
        rows = x.reshape(groups, x.numel() // (groups * width), width)
        weight = self.weight.transpose(1, 2)
        if self.bias is None:
            return torch.bmm(rows, weight).view(*x.shape[:-1], out)
        return torch.baddbmm(self.bias.view(groups, 1, out), rows, weight).view(*x.shape[:-1], out)


def linear(width: int, out: int, *, groups: int = 1, bias: bool = True) -> nn.Module:
    """A linear map, or `groups` of them."""
    return nn.Linear(width, out, bias=bias) if groups == 1 else GroupedLinear(groups, width, out, bias=bias)


def norm(dim: int, *, groups: int = 1) -> nn.Module:
    """Layer normalisation in front of `linear`.

    Groups get it without gain and shift, which the linear map behind it can express itself.
    """
    return nn.LayerNorm(dim, elementwise_affine=groups == 1)
