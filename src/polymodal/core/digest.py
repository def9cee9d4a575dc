"""Content digests and fingerprints: 128 bits of XXH3 (Collet 2019), the same in every process and run.

A digest names content, so that what was computed from it once is found again. It is no protection against forgery.
"""

from __future__ import annotations

import datetime as dt
import decimal
import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
import xxhash

from polymodal.core.errors import BadArgument
from polymodal.core.limits import open_file

SIZE = 16  # bytes of a digest
_BLOCK = 1 << 20
_PLAIN = frozenset([str, int, float, bool, type(None)])
_WORDS = (dt.date, dt.time, dt.timedelta, decimal.Decimal, Path, np.dtype)


def digest_bytes(content: bytes) -> bytes:
    """Sixteen bytes that tell `content`."""
    return xxhash.xxh3_128_digest(content)


def digest_text(text: str) -> bytes:
    """The digest of the text's UTF-8; half a surrogate pair, which some tables hold, counts too."""
    return digest_bytes(text.encode("utf-8", "surrogatepass"))


def digest_file(path: Path) -> bytes:
    """The digest of a file's bytes, read a block at a time. Raises `OSError`."""
    return _of_file(path).digest()


def digest_cells(cells: Iterable[Any], salt: str = "") -> np.ndarray:
    """Digests uint8 [N, 16] of raw cells: strings, bytes, paths, arrays, lists, dicts of raw values; None is all zero.

    A path stands for its file's bytes and its suffix, by which some readers tell the format, a folder for its files and
    their names, a list of paths for each of them; a path that cannot be read stands for its own name, so that the file
    is met as new once it is there. `salt` keeps families of digests apart.
    """
    prefix = salt.encode()
    return np.frombuffer(b"".join(_of_cell(cell, prefix) for cell in cells), np.uint8).reshape(-1, SIZE)


def fingerprint(value: Any) -> str:
    """32 hexadecimal digits that tell a nested value of plain data, arrays, tensors, dates, paths and classes.

    Lists and tuples are alike and keys of dicts count as strings in any order, so a value and its JSON agree. A class
    stands for its name and its source, so that what an older version of it computed is not taken for its own. Raises
    `BadArgument`, naming the place, for anything else.
    """
    state = xxhash.xxh3_128()
    _feed(state, value)
    return state.hexdigest()


def _of_cell(cell: Any, prefix: bytes) -> bytes:
    if cell is None:
        return bytes(SIZE)
    if isinstance(cell, Path) and cell.is_dir():
        cell = [
            part
            for path in sorted(cell.rglob("*"))
            if path.is_file()
            for part in (path.relative_to(cell).as_posix(), path)
        ]
    if isinstance(cell, list | tuple) and any(map(_names_a_file, cell)):
        return xxhash.xxh3_128(b"files" + b"".join(_of_cell(item, prefix) for item in cell)).digest()
    if isinstance(cell, Path):
        try:
            state = _of_file(cell)
            state.update(b"file" + cell.suffix.lower().encode("utf-8", "surrogateescape") + prefix)
        except OSError:
            state = xxhash.xxh3_128(b"unreadable" + str(cell).encode("utf-8", "surrogateescape") + prefix)
        return state.digest()
    state = xxhash.xxh3_128(prefix)
    if isinstance(cell, dict) and all(type(v) in _PLAIN for v in cell.values()):
        state.update(repr(sorted(cell.items())).encode("utf-8", "surrogatepass"))  # ten times as fast as value by value
    else:
        _feed(state, cell)
    return state.digest()


def _names_a_file(cell: Any) -> bool:
    return isinstance(cell, Path) or (isinstance(cell, list | tuple) and any(map(_names_a_file, cell)))


def safe_name(name: str) -> str:
    """A file name for any stream or strategy: readable, and unique by a digest where letters had to go."""
    kept = "".join(c if c.isalnum() or c in "_-" else "_" for c in name)
    return kept if kept == name else f"{kept[:60]}_{fingerprint(name)[:8]}"


def _of_file(path: Path) -> Any:
    state = xxhash.xxh3_128()
    with open_file(path, buffering=0) as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return state


def _feed(state: Any, value: Any, place: str = "value") -> None:
    """Update `state` with a type mark and the content; containers tell their length, so that no values run together."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float):
        state.update(f"{type(value).__name__}:{value!r};".encode())
    elif isinstance(value, str):
        _feed_sized(state, "str", value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, bytes | bytearray):
        _feed_sized(state, "bytes", value)
    elif isinstance(value, Mapping):
        state.update(f"dict:{len(value)};".encode())
        for key, item in sorted(((str(key), item) for key, item in value.items()), key=lambda pair: pair[0]):
            _feed(state, key)
            _feed(state, item, f"{place}[{key!r}]")
    elif isinstance(value, list | tuple):
        state.update(f"list:{len(value)};".encode())
        for position, item in enumerate(value):
            _feed(state, item, f"{place}[{position}]")
    elif isinstance(value, set | frozenset):
        _feed(state, sorted(fingerprint(item) for item in value), place)
    elif isinstance(value, np.ndarray):
        _feed_array(state, value, place)
    elif isinstance(value, type):
        _feed(state, [f"{value.__module__}:{value.__qualname__}", *_sources(value)], place)
    elif isinstance(value, _WORDS):
        _feed_sized(state, type(value).__name__, str(value).encode("utf-8", "surrogateescape"))
    elif hasattr(value, "detach") and hasattr(value, "cpu"):
        _feed_tensor(state, value, place)
    else:
        raise BadArgument(
            f"{place} is a {type(value).__name__}, which has no fingerprint: give plain data, arrays, tensors, dates, "
            "paths or classes."
        )


def _feed_sized(state: Any, mark: str, content: bytes | bytearray) -> None:
    state.update(f"{mark}:{len(content)};".encode())
    state.update(content)


def _feed_array(state: Any, array: np.ndarray, place: str) -> None:
    if array.dtype.hasobject:
        _feed(state, ["objects", list(array.shape), array.ravel().tolist()], place)
        return
    state.update(f"array:{array.dtype.str}{array.shape};".encode())
    state.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8) if array.size else b"")


def _feed_tensor(state: Any, tensor: Any, place: str) -> None:
    """A torch tensor by its bytes, since NumPy lacks bfloat16 and the eight-bit floats."""
    import torch

    state.update(f"tensor:{tensor.dtype}{tuple(tensor.shape)};".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    _feed_array(state, flat.view(torch.uint8).numpy(), place)


def _sources(cls: type) -> list[bytes]:
    """Digests of the source of `cls` and of its bases in its own package; of the bytecode where no file holds it."""
    package = cls.__module__.split(".")[0]
    digests = []
    for base in cls.__mro__:
        if base.__module__.split(".")[0] == package and package != "builtins":
            file = Path(getattr(sys.modules.get(base.__module__), "__file__", None) or "")
            digests.append(digest_file(file) if file.is_file() else digest_bytes(repr(_bytecode(base)).encode()))
    return digests


def _bytecode(cls: type) -> list[Any]:
    functions = [value for _, value in sorted(vars(cls).items()) if inspect.isfunction(value)]
    return [_code(function.__code__) for function in functions]


def _code(code: CodeType) -> list[Any]:
    """What a function does, without where it stands."""
    constants = [_code(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    ordered = [sorted(map(repr, c)) if isinstance(c, frozenset) else c for c in constants]  # a set's order is by chance
    return [code.co_name, code.co_code, code.co_names, code.co_varnames, ordered]
