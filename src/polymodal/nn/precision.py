"""In which precision to train, and where to compute in at least float32."""

from __future__ import annotations

import torch
from torch import Tensor


def training_precision() -> str:
    """`bfloat16` where the processor multiplies it in hardware (AVX-512-BF16, AMX), else `auto`.

    Measured on an AMD EPYC with AVX-512-BF16 but no AMX: small convolutional networks train 1.5 to 2 times as fast, and
    a CPU that emulates bfloat16 is several times slower. On a GPU it is what `auto` chooses anyway.
    """
    return "bfloat16" if torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported() else "auto"


def autocast_type(x: Tensor) -> str:
    """The type of a tensor's device as `torch.autocast` takes it: `cpu` where a device has no autocast (meta)."""
    kind = x.device.type
    return kind if torch.amp.is_autocast_available(kind) else "cpu"


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32 where it is less exact: logarithms, exponentials and sums of many terms need it."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
