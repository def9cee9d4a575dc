"""Batches of several processes as one, with gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


def world() -> int:
    """How many processes train together; one where nothing was set up."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gathered(x: Tensor) -> Tensor:
    """[n, ...] of every process, one after the other, [sum of n, ...]; n may differ. Gradient flows back to each owner.

    The backward pass adds up what all processes ask of a row, so that with losses that add up over processes the
    gradient is that of one process with the whole batch.
    """
    return _Gather.apply(x) if world() > 1 else x  # type: ignore[no-any-return]


def summed(x: Tensor) -> Tensor:
    """The sum of `x` over processes, without gradient."""
    if world() > 1:
        x = x.detach().clone()
        dist.all_reduce(x)
    return x


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        sizes = [torch.zeros((), dtype=torch.int64, device=x.device) for _ in range(world())]
        dist.all_gather(sizes, torch.tensor(len(x), device=x.device))
        counts = [int(size) for size in sizes]
        ctx.start, ctx.count = sum(counts[: dist.get_rank()]), len(x)
        padded = x.new_zeros(max(counts), *x.shape[1:])
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous().clone()
        dist.all_reduce(gradient)
        return gradient[ctx.start : ctx.start + ctx.count]
