"""Where and in which precision to compute. Torch is imported when asked for, not before."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Any

from polymodal.core.errors import BadArgument, suggest

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda", "mps")
MOST_WORKERS = 8
_FORM = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def check_device(name: str) -> str:
    """The name, if it is one that a device may have; whether there is one is seen when it is used (`device_of`).

    Raises `BadArgument` for any other.
    """
    if not _FORM.fullmatch(name):
        raise BadArgument(f"Unknown device {name!r}: auto, cpu, cuda, cuda:1, mps.{suggest(name, DEVICES)}")
    return name


def device_of(name: str) -> torch.device:
    """The device called `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes CUDA, else MPS, else the CPU.

    Raises `BadArgument` for another name, and for a device that is not there.
    """
    import torch

    check_device(name)
    gpus, mps = gpu_count(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if gpus else "mps" if mps else "cpu"
    kind, _, number = name.partition(":")
    if (kind == "cuda" and int(number or 0) >= gpus) or (kind == "mps" and not mps):
        there = ["cpu", *(f"cuda:{i}" for i in range(gpus)), *(["mps"] if mps else [])]
        why = "" if gpus or kind != "cuda" or torch.version.cuda else " This build of torch knows no CUDA."
        raise BadArgument(f"There is no device {name!r} on this machine; there is {', '.join(there)}.{why}")
    return torch.device(f"cuda:{number or 0}" if kind == "cuda" else kind)


def gpu_count() -> int:
    """How many CUDA devices this process may use."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def told(device: torch.device) -> list[str]:
    """One line that says on which accelerator the work is done; none on the CPU."""
    import torch

    if device.type == "cpu":
        return []
    return [
        f"device: {device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else f"device: {device}"
    ]


def worker_devices(device: str, workers: int | None, *, cores: int, gpus: int = 0, every: bool = False) -> list[str]:
    """The device of each worker process.

    On the CPU as many as cores, at most eight; on accelerators one a GPU (`every`: on all `gpus`, else on `device`
    alone), in which jobs run one after the other. `workers` is how many the user wants: the GPUs are dealt out in turn,
    so that several small jobs share one. None (0 workers) run in this process.
    """
    if device == "cpu":
        return ["cpu"] * (max(1, min(cores, MOST_WORKERS)) if workers is None else workers)
    there = [f"cuda:{i}" for i in range(gpus)] if device.startswith("cuda") and every else [device]
    return there if workers is None else [there[i % len(there)] for i in range(workers)]


def core_count() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_precision(name: str) -> str:
    """The name, if it is a precision. Raises `BadArgument` for any other."""
    if name not in PRECISIONS:
        raise BadArgument(f"Unknown precision {name!r}.{suggest(name, PRECISIONS)}")
    return name


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Mixed precision by name; `auto` takes bfloat16 on CUDA only.

    On CPUs `auto` keeps float32; convolutional encoders, which gain there, ask for bfloat16 in their recipes (measured
    with AVX-512-BF16). Raises `BadArgument` for an unknown precision.
    """
    import torch

    if check_precision(precision) == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if fast else "float32"
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
