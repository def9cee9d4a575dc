"""Small residual adapters: the part of a tower that is trained where its encoder is frozen or stored."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Adapter(nn.Module):
    """x + U gelu(D norm(x)), with U zero at the start, so that it begins as the identity (Houlsby et al. 2019).

    The bottleneck has half as many units as x has entries, at least 4.
    """

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down = nn.Linear(width, max(4, width // 2))
        self.up = nn.Linear(max(4, width // 2), width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] to the same."""
        return torch.add(x, self.up(F.gelu(self.down(self.norm(x)))))
