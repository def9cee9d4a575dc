"""Gradient caching: a batch of any size in the memory of one piece of it, with the gradient of the whole."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def in_pieces(embed: Callable[[Tensor], Tensor], items: Tensor, size: int) -> Tensor:
    """`embed(items)` [N, D], computed `size` items at a time; only the N vectors are kept for the backward pass.

    A contrastive loss needs all vectors of a batch, but its gradient reaches the network through them alone: first all
    vectors without their graphs, then the loss and its gradient at the vectors, then piece by piece the network again
    with that gradient (Gao et al. 2021). Each piece runs twice, under the same random numbers, so dropout agrees.

    `embed` maps item numbers [n] to vectors [n, D] and reads its inputs itself, so that they are not kept either. What
    it does to statistics over a batch (batch normalisation) is done a piece at a time, and twice.
    """
    if len(items) <= size or not torch.is_grad_enabled():
        return torch.cat([embed(part) for part in items.split(size)])
    return torch.cat([checkpoint(embed, part, use_reentrant=False) for part in items.split(size)])
