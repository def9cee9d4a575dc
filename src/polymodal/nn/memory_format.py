"""Memory layouts that convolutions run faster in."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def channels_last(*parts: nn.Module) -> None:
    """Lay out the parts' 4-D weights with channels innermost; inputs follow.

    Measured on CPUs: a fifth to a half faster, more so in bfloat16.
    """
    for part in parts:
        for parameter in part.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def channels_last_gradient(x: Tensor) -> Tensor:
    """`x` [B, C, H, W] itself, whose gradient arrives with channels innermost, as what comes before it wants.

    Behind a `flatten` it does not, and everything between there and the next convolution runs several times slower.
    """
    if x.requires_grad:
        x.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
    return x
