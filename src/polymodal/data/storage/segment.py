"""One segment of the store: a safetensors file that holds keys and arrays, written once and then only read."""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, suggest

Layout = dict[str, tuple[np.dtype, tuple[int, ...]]]

KEYS = "_keys"
_CODES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32",
    "uint64": "U64", "int64": "I64", "float16": "F16", "float32": "F32", "float64": "F64",
}  # fmt: skip
_DTYPES = {code: np.dtype(name) for name, code in _CODES.items()}
_ALIGN = 64


class BrokenSegment(ValueError):
    """A file that is no whole segment."""


@dataclass(frozen=True, eq=False)
class Segment:
    """`words` uint64 [N, 2] are the rows' keys; the arrays stay on the disk until `mapped`."""

    path: Path
    words: np.ndarray
    layout: Layout
    places: Mapping[str, int]  # where each array begins in the file
    _mapped: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.words)

    def mapped(self) -> dict[str, np.ndarray]:
        """Read-only arrays [N, ...] on the file's pages, which outlive its removal. Raises `FileNotFoundError`."""
        if not self._mapped:
            with self.path.open("rb") as file:
                pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            for name, (dtype, shape) in self.layout.items():
                count = len(self) * math.prod(shape)
                flat = np.frombuffer(pages, dtype, count, self.places[name]) if count else np.zeros(0, dtype)
                self._mapped[name] = flat.reshape(len(self), *shape)
        return self._mapped


def layout_of(arrays: Mapping[str, np.ndarray]) -> Layout:
    """Dtype and trailing shape by name, sorted. Raises `BadArgument` for a dtype or a name that cannot be stored."""
    for name, array in arrays.items():
        if array.dtype.name not in _CODES:
            known = suggest(array.dtype.name, _CODES)
            raise BadArgument(f"{name!r} has dtype {array.dtype}, which cannot be stored.{known}")
        if name in (KEYS, "__metadata__"):
            raise BadArgument(f"An array cannot be called {name!r}: the store itself uses that name.")
    return {name: (arrays[name].dtype.newbyteorder("="), arrays[name].shape[1:]) for name in sorted(arrays)}


def write_segment(path: Path, words: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
    """Write keys [N, 2] and arrays of N rows to a new file and wait until they are on the disk. Raises `OSError`."""
    widest_first = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))  # so that all begin aligned
    content = {KEYS: words, **{name: arrays[name] for name in widest_first}}
    header: dict[str, Any] = {}
    end = 0
    for name, array in content.items():
        header[name] = {
            "dtype": _CODES[array.dtype.name], "shape": list(array.shape), "data_offsets": [end, end + array.nbytes],
        }  # fmt: skip
        end += array.nbytes
    packed = json.dumps(header).encode()
    packed += b" " * (-(8 + len(packed)) % _ALIGN)
    with path.open("xb") as file:
        file.write(len(packed).to_bytes(8, "little") + packed)
        for array in content.values():
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            file.write(little.reshape(-1).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())


def read_segment(path: Path) -> Segment:
    """Read the header and the keys. Raises `BrokenSegment` unless the file is exactly as long as its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= size - 8:
            raise BrokenSegment("its header is cut short")
        try:
            header = json.loads(file.read(length))
            entries = {name: _entry(value) for name, value in header.items() if name != "__metadata__"}
            keys_dtype, keys_shape, begin, _ = entries.pop(KEYS)
        except (ValueError, KeyError, TypeError) as error:
            raise BrokenSegment(f"its header cannot be read ({error})") from error
        end = 8 + length + max(stop for _, _, _, stop in entries.values())
        if size != end:
            raise BrokenSegment(f"it has {size} bytes instead of {end}")
        file.seek(8 + length + begin)
        words = np.fromfile(file, keys_dtype, math.prod(keys_shape)).reshape(keys_shape)
    layout = {name: (entries[name][0], entries[name][1][1:]) for name in sorted(entries)}
    places = {name: 8 + length + begin for name, (_, _, begin, _) in entries.items()}
    return Segment(path, words, layout, places)


def _entry(value: Mapping[str, Any]) -> tuple[np.dtype, tuple[int, ...], int, int]:
    begin, end = value["data_offsets"]
    dtype, shape = _DTYPES[value["dtype"]], tuple(value["shape"])
    if end - begin != dtype.itemsize * math.prod(shape):
        raise ValueError("offsets do not match shapes")
    return dtype, shape, begin, end
