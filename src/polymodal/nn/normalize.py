"""Vectors of length one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def l2_normalize(x: Tensor) -> Tensor:
    """`x` [..., D] scaled to length one, in float32 at least; a zero vector stays zero."""
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)
