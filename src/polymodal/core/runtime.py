"""Precision of a training. Torch is imported when asked for, not before."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from polymodal.core.errors import BadArgument, suggest

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "float32", "bfloat16")


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Mixed precision by name; `auto` takes bfloat16 on CUDA only.

    On CPUs `auto` keeps float32; convolutional encoders, which gain there, ask for bfloat16 in their recipes (measured
    with AVX-512-BF16). Raises `BadArgument` for an unknown precision.
    """
    import torch

    if precision not in PRECISIONS:
        raise BadArgument(f"Unknown precision {precision!r}.{suggest(precision, PRECISIONS)}")
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
