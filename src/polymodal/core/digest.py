"""Content hashes: what a cell or a part is, whatever it is called and wherever it lies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

DIGEST = 16  # bytes


def digest_cells(cells: Iterable[Any], salt: str = "") -> np.ndarray:
    """[N, 16] uint8: the content of each cell; a path counts by its file's bytes, None by nothing.

    A file that cannot be read counts by its path: reading it later says what is wrong with it.
    """
    rows = [_cell(cell, salt) for cell in cells]
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), DIGEST).copy()


def fingerprint(value: Any) -> str:
    """32 hexadecimal digits for nested plain values, arrays and tensors; the same in every process and run."""
    state = xxhash.xxh3_128()
    _feed(state, value)
    return state.hexdigest()


def _cell(cell: Any, salt: str) -> bytes:
    state = xxhash.xxh3_128(salt.encode())
    if isinstance(cell, Path):
        try:
            with open(cell, "rb") as file:
                while block := file.read(1 << 20):
                    state.update(block)
        except OSError:
            state.update(b"unreadable:" + str(cell).encode("utf-8", "surrogatepass"))
    else:
        _feed(state, cell)
    return state.digest()


def _feed(state: xxhash.xxh3_128, value: Any) -> None:
    """Type tags and lengths keep different structures from giving the same bytes."""
    if isinstance(value, Mapping):
        state.update(b"m%d;" % len(value))
        for key in sorted(value, key=str):
            _feed(state, str(key))
            _feed(state, value[key])
    elif isinstance(value, list | tuple):
        state.update(b"l%d;" % len(value))
        for item in value:
            _feed(state, item)
    elif isinstance(value, bytes):
        state.update(b"b%d;" % len(value) + value)
    elif hasattr(value, "detach"):  # a tensor, told without importing torch
        tensor = value.detach().cpu()
        _feed(state, tensor.float().numpy() if str(tensor.dtype) == "torch.bfloat16" else tensor.numpy())
    elif isinstance(value, np.ndarray):
        state.update(f"a{value.dtype.str}{value.shape};".encode())
        state.update(np.ascontiguousarray(value).tobytes())
    else:
        text = json.dumps(value, default=str, ensure_ascii=False)
        state.update(f"{type(value).__name__}{len(text)};{text}".encode("utf-8", "surrogatepass"))
