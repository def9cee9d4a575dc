"""One segment of the store: a safetensors file that holds keys and arrays, written once and then only read.

Its metadata hold a digest of the header, of the keys and of each array (XXH3, Collet 2019), so that a bit that flipped
on the disk is met before anybody reads it. Segments of before have none and are read as they are.
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from polymodal.core.errors import BadArgument, suggest

Layout = dict[str, tuple[np.dtype, tuple[int, ...]]]

KEYS = "_keys"
_CODES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32",
    "uint64": "U64", "int64": "I64", "float16": "F16", "float32": "F32", "float64": "F64",
}  # fmt: skip
_DTYPES = {code: np.dtype(name) for name, code in _CODES.items()}
_ALIGN = 64
_ABOUT = "__metadata__"  # of a safetensors file: text by name
_HEADER = "header"  # in the metadata: the digest of all that the header says beside them; of an array, "array NAME"
_GROUP = "group"  # in the metadata: the folder that it was written into; another group's cells have the same keys
_BLOCK = 1 << 20


class BrokenSegment(ValueError):
    """A file that is no whole segment, or not what was written."""


@dataclass(frozen=True, eq=False)
class Segment:
    """`words` uint64 [N, 2] are the rows' keys; the arrays stay on the disk until `mapped`."""

    path: Path
    words: np.ndarray
    layout: Layout
    places: Mapping[str, int]  # where each array begins in the file
    digests: Mapping[str, str] = field(default_factory=dict)  # of each array; empty in files of before
    _mapped: dict[str, np.ndarray] = field(default_factory=dict)
    _checked: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.words)

    def is_sound(self, names: Iterable[str]) -> bool:
        """Whether the arrays are what was written, by their digests; each is read for it once. Raises `OSError`."""
        for name in set(names) & set(self.digests) - self._checked:
            dtype, shape = self.layout[name]
            size = len(self) * dtype.itemsize * math.prod(shape)
            if _digest_part(self.path, self.places[name], size) != self.digests[name]:
                return False
            self._checked.add(name)
        return True

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
        if name in (KEYS, _ABOUT):
            raise BadArgument(f"An array cannot be called {name!r}: the store itself uses that name.")
    return {name: (arrays[name].dtype.newbyteorder("="), arrays[name].shape[1:]) for name in sorted(arrays)}


def write_segment(path: Path, words: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
    """Write keys [N, 2] and arrays of N rows to a new file and wait until they are on the disk. Raises `OSError`."""
    widest_first = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))  # so that all begin aligned
    content = {
        name: np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        for name, array in ((KEYS, words), *((name, arrays[name]) for name in widest_first))
    }
    header: dict[str, Any] = {}
    end = 0
    for name, array in content.items():
        header[name] = {
            "dtype": _CODES[array.dtype.name], "shape": list(array.shape), "data_offsets": [end, end + array.nbytes],
        }  # fmt: skip
        end += array.nbytes
    digests = {f"array {name}": xxhash.xxh3_64_hexdigest(_bytes(array)) for name, array in content.items()}
    group = path.parent.name
    about = {_HEADER: _digest_header(header, group), _GROUP: group, **digests}
    packed = json.dumps({_ABOUT: about, **header}).encode()
    packed += b" " * (-(8 + len(packed)) % _ALIGN)
    with path.open("xb") as file:
        file.write(len(packed).to_bytes(8, "little") + packed)
        for array in content.values():
            file.write(_bytes(array))
        file.flush()
        os.fsync(file.fileno())


def read_segment(path: Path) -> Segment:
    """Read the header and the keys, and check them by their digests.

    Raises `BrokenSegment` where they are not what was written, or not there, or the file is not as long as its header
    says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= size - 8:
            raise BrokenSegment("its header is cut short")
        try:
            header = json.loads(file.read(length))
            about = header.pop(_ABOUT, None)
            if about is not None and about[_HEADER] != _digest_header(header, about.get(_GROUP, "")):
                raise ValueError("it does not have its digest")
            if about is not None and about.get(_GROUP, path.parent.name) != path.parent.name:
                raise ValueError(f"it belongs to group {about[_GROUP]}")
            entries = {name: _entry(value) for name, value in header.items()}
            digests = {} if about is None else {name: about[f"array {name}"] for name in entries}
            keys_dtype, keys_shape, begin, _ = entries.pop(KEYS)
        except (ValueError, KeyError, TypeError) as error:
            raise BrokenSegment(f"its header cannot be read ({error})") from error
        end = 8 + length + max(stop for _, _, _, stop in entries.values())
        if size != end:
            raise BrokenSegment(f"it has {size} bytes instead of {end}")
        file.seek(8 + length + begin)
        words = np.fromfile(file, keys_dtype, math.prod(keys_shape)).reshape(keys_shape)
        if digests and xxhash.xxh3_64_hexdigest(_bytes(words)) != digests[KEYS]:
            raise BrokenSegment("its keys do not have their digest")
    layout = {name: (entries[name][0], entries[name][1][1:]) for name in sorted(entries)}
    places = {name: 8 + length + begin for name, (_, _, begin, _) in entries.items()}
    return Segment(path, words, layout, places, digests)


def _entry(value: Mapping[str, Any]) -> tuple[np.dtype, tuple[int, ...], int, int]:
    begin, end = value["data_offsets"]
    dtype, shape = _DTYPES[value["dtype"]], tuple(value["shape"])
    if end - begin != dtype.itemsize * math.prod(shape):
        raise ValueError("offsets do not match shapes")
    return dtype, shape, begin, end


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _digest_header(header: Mapping[str, Any], group: str) -> str:
    return xxhash.xxh3_64_hexdigest((json.dumps(header) + group).encode())


def _digest_part(path: Path, begin: int, size: int) -> str:
    """The digest of `size` bytes of a file. Read, not mapped: a page that cannot be read is an error, not a crash."""
    state = xxhash.xxh3_64()
    with path.open("rb", buffering=0) as file:
        file.seek(begin)
        block = memoryview(bytearray(min(size, _BLOCK)))
        while size > 0 and (count := file.readinto(block[: min(size, _BLOCK)])):
            state.update(block[:count])
            size -= count
    return state.hexdigest()
