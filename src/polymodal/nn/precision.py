"""Which precision a convolutional or attentive encoder should be trained in."""

from __future__ import annotations

import torch


def training_precision() -> str:
    """`bfloat16` where the processor multiplies it in hardware (AVX-512-BF16, AMX), else `auto`.

    Measured on an AMD EPYC with AVX-512-BF16 but no AMX: small convolutional networks train 1.5 to 2 times as fast, and
    a CPU that emulates bfloat16 is several times slower. On a GPU it is what `auto` chooses anyway.
    """
    return "bfloat16" if torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported() else "auto"
