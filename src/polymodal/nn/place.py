"""Batches and modules on a device: to it, back from it, and in smaller pieces where its memory does not suffice."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens

CPU = torch.device("cpu")
T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)


def to_device(value: T, device: torch.device) -> T:
    """A tensor, `Tokens`, or a dict of them on `device`; what is there already is given back as it is.

    To CUDA from pinned memory and without waiting, so that the next batch is made while this one travels.
    """
    if isinstance(value, Tensor):
        if value.device == device:
            return value  # type: ignore[return-value]
        if device.type == "cuda" and value.device.type == "cpu" and not value.requires_grad:
            return value.pin_memory().to(device, non_blocking=True)  # type: ignore[return-value]
        return value.to(device)  # type: ignore[return-value]
    if isinstance(value, Tokens):
        parts = (value.x, value.mask, value.pooled, value.where)
        if all(p is None or p.device == device for p in parts):
            return value  # type: ignore[return-value]
        return Tokens(*(None if p is None else to_device(p, device) for p in parts))  # type: ignore
    if isinstance(value, Mapping):
        return {name: to_device(inner, device) for name, inner in value.items()}  # type: ignore[return-value]
    raise TypeError(f"to_device moves tensors, Tokens and dicts of them; got {type(value).__name__}")


def device_of_module(module: nn.Module) -> torch.device:
    """Where a module's parameters and buffers are; the CPU if it has none."""
    first = next(chain(module.parameters(), module.buffers()), None)
    return CPU if first is None else first.device


def at_rest(module: M) -> M:
    """The module in eval mode. One that is has its parts not walked again."""
    return module.eval() if module.training else module


def in_use(run: Callable[[Any], T], inputs: Any, device: torch.device) -> T:
    """`run(inputs)` computed on `device`, its outcome on the CPU; both are nests as of `to_device`, rows first.

    Where the device's memory does not suffice, `run` is given half of the rows at a time, down to one; that is said
    once, as a warning. For use, not for training: rows must not depend on one another.
    """
    try:
        return to_device(run(to_device(inputs, device)), CPU)
    except torch.OutOfMemoryError:
        rows = _rows(inputs)
        if rows < 2:
            raise
    release(device)
    warnings.warn(f"The memory of {device} is short: batches are halved.", RuntimeWarning, stacklevel=2)
    parts = [in_use(run, _cut(inputs, part), device) for part in (slice(rows // 2), slice(rows // 2, rows))]
    return _joined(parts)


def release(device: torch.device) -> None:
    """Give back what torch holds of a device's memory unused."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def random_state(device: torch.device) -> Tensor | None:
    """The state of a device's random numbers, on the CPU; None for the CPU's own, which torch keeps elsewhere."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Go on with the random numbers of `random_state`."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state.cpu(), device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state.cpu())


def _rows(value: Any) -> int:
    first = value
    while isinstance(first, Mapping):
        first = next(iter(first.values()))
    return (first.x if isinstance(first, Tokens) else first).shape[0]


def _cut(value: Any, rows: slice) -> Any:
    if isinstance(value, Mapping):
        return {name: _cut(inner, rows) for name, inner in value.items()}
    return value.select(rows) if isinstance(value, Tokens) else value[rows]


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Mapping):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, Tokens):
        return joined_tokens(parts)
    return torch.cat(parts)


def joined_tokens(parts: list[Tokens]) -> Tokens:
    """The rows of all parts, one after another."""
    if len(parts) == 1:
        return parts[0]
    where = None if parts[0].where is None else torch.cat([p.where for p in parts])  # type: ignore[misc]
    return Tokens(
        torch.cat([p.x for p in parts]), torch.cat([p.mask for p in parts]), torch.cat([p.pooled for p in parts]), where
    )
