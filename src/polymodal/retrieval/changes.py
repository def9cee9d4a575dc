"""What a journal's records say: the head, rows put, rows deleted; to bytes and back."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.addresses import is_link, told_address

# Columns of ours beside the table's: the folder of a row's files, its number there, what it was made of, what was amiss
BASE, NUMBER, DIGEST, ASIDE = ":base", ":number", ":digest", ":set aside"
_SIZE = struct.Struct("<I")


@dataclass(frozen=True, eq=False)
class Vectors:
    """Items of one stream: `positions` [m] among the ids (repeated where a row has several), `vectors` [m, D] float32,
    and the column that each comes from, `parts` [m]."""

    positions: np.ndarray
    vectors: np.ndarray
    parts: Sequence[str]

    @classmethod
    def one_each(cls, vectors: np.ndarray, part: str, present: np.ndarray | None = None) -> Vectors:
        """An item a row, from [n, D] vectors; `present` [n] bool says which rows have one."""
        there = np.arange(len(vectors)) if present is None else np.flatnonzero(present)
        return cls(there, np.asarray(vectors)[there], [part] * len(there))


@dataclass(frozen=True, eq=False)
class Put:
    """Rows added or changed: what is given takes the place of what was there, the rest of a row stays.

    `columns[name]` have a value an id, None where missing.
    """

    ids: Sequence[str]
    columns: Mapping[str, Sequence[Any]]
    vectors: Mapping[str, Vectors]


@dataclass(frozen=True)
class Delete:
    """Rows taken away."""

    ids: Sequence[str]


Change = Put | Delete


def encode_head(head: Mapping[str, Any]) -> bytes:
    """The first record: what the index is of."""
    return _packed({"op": "head", **head}, b"")


def encode(change: Change) -> bytes:
    """A change as the bytes of a record."""
    if isinstance(change, Delete):
        return _packed({"op": "delete", "ids": list(change.ids)}, b"")
    items = {stream: [put.positions.tolist(), *_coded(put.parts)] for stream, put in change.vectors.items()}
    said = {"op": "put", "ids": list(change.ids), "columns": change.columns, "items": items}
    raw = b"".join(np.ascontiguousarray(put.vectors, "<f4").tobytes() for put in change.vectors.values())
    return _packed(said, raw)


def decode_head(payload: bytes) -> dict[str, Any] | None:
    """What `encode_head` was given; None for another record."""
    said, _ = _unpacked(payload)
    return {k: v for k, v in said.items() if k != "op"} if said["op"] == "head" else None


def decode(payload: bytes, dim: int) -> Change:
    """The change that `encode` wrote."""
    said, start = _unpacked(payload)
    if said["op"] == "delete":
        return Delete(said["ids"])
    vectors = {}
    for stream, (positions, names, codes) in said["items"].items():
        flat = np.frombuffer(payload, "<f4", len(positions) * dim, start)
        parts = [names[code] for code in codes]
        vectors[stream] = Vectors(np.array(positions, dtype=np.int64), flat.reshape(-1, dim), parts)
        start += flat.nbytes
    return Put(said["ids"], said["columns"], vectors)


def storable(value: Any) -> Any:
    """A raw cell as a record keeps it: None, a bool, a number, a string or a list of them; NaN is missing."""
    if isinstance(value, list | tuple):
        return [storable(v) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return storable(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return str(value)


def told_from(folder: Path, path: str | Path) -> str:
    """A path as an index in `folder` keeps it: from there, so that all may be moved, if both lie on one drive; an
    address as it may be told."""
    if is_link(str(path)):
        return told_address(str(path))
    whole = Path(path).resolve()
    try:
        return Path(os.path.relpath(whole, folder.resolve())).as_posix()
    except ValueError:
        return str(whole)


def place_from(folder: Path, told: str) -> Path:
    """The path that `told_from` told, or the absolute one that an index of before keeps."""
    return Path(os.path.normpath(folder.resolve() / told))


def _coded(parts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Each name once, and numbers into them."""
    names = list(dict.fromkeys(parts))
    place = {name: i for i, name in enumerate(names)}
    return names, [place[part] for part in parts]


def _packed(said: Mapping[str, Any], raw: bytes) -> bytes:
    text = json.dumps(said, allow_nan=False, separators=(",", ":")).encode()
    return _SIZE.pack(len(text)) + text + raw


def _unpacked(payload: bytes) -> tuple[dict[str, Any], int]:
    (size,) = _SIZE.unpack_from(payload)
    return json.loads(payload[_SIZE.size : _SIZE.size + size]), _SIZE.size + size
