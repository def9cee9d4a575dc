"""The encode-once store: arrays by content, in immutable segments that any number of processes may write and read.

A group (the fingerprint of a processor or an encoder) is a folder; a segment is a folder in it with one `.npy` file an array
and the keys of its rows. A segment is written under a temporary name and renamed when complete, so a kill at any moment
leaves either the whole segment or a temporary that is swept away; two processes that write the same cells write two
segments, and readers take either. No lock is needed.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadData, PolymodalError, UnknownName, suggest

STALE = 24 * 3600  # seconds after which a temporary is nobody's
_log = logging.getLogger(__name__)


class StoreFull(PolymodalError, OSError):
    """No space is left on the device."""


def default_store() -> Path:
    """`$POLYMODAL_STORE`, or `polymodal/store` in the user's cache folder."""
    if given := os.environ.get("POLYMODAL_STORE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "polymodal" / "store"


class Store:
    """Arrays by group and key. Keys are [N, 16] uint8 digests; every array of a group keeps its dtype and row shape."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self._open: dict[str, _Group] = {}

    def missing(self, group: str, keys: np.ndarray) -> np.ndarray:
        """Positions in `keys` that the group lacks, the first of equal keys only."""
        first = np.unique(_packed(keys), return_index=True)[1]
        found = self._group(group).find(keys)[0]
        absent = np.zeros(len(keys), dtype=bool)
        absent[first] = True
        return np.flatnonzero(absent & (found < 0))

    def lacks(self, group: str, keys: np.ndarray) -> np.ndarray:
        """[N] bool: keys that the group does not hold."""
        return self._group(group).find(keys)[0] < 0

    def write(self, group: str, keys: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Add one segment. Raises `BadData` for arrays that do not fit the keys, `StoreFull` when the disk is full."""
        for name, array in arrays.items():
            if len(array) != len(keys):
                raise BadData(f"{name} has {len(array)} rows for {len(keys)} keys.")
        folder = self.root / group
        temporary = folder / f".{uuid.uuid4().hex}"
        try:
            temporary.mkdir(parents=True)
            for name, array in {**arrays, "key": np.ascontiguousarray(keys)}.items():
                with open(temporary / f"{name}.npy", "wb") as file:
                    np.save(file, array)
                    file.flush()
                    os.fsync(file.fileno())
            os.rename(temporary, folder / f"s{time.time_ns():020d}-{uuid.uuid4().hex[:8]}")
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(
                    f"No space left for the store at {self.root}. See what it holds with `polymodal store`, free some with "
                    "`polymodal store --clear all`, or name another folder with --set store=FOLDER."
                ) from error
            raise

    def view(self, group: str, keys: np.ndarray) -> View:
        """Rows in the order of `keys`. Raises `BadData` when some are not stored."""
        found = self._group(group)
        segment, row = found.find(keys)
        if (segment < 0).any():
            raise BadData(f"{int((segment < 0).sum())} of {len(keys)} cells are not in group {group}; encode them first.")
        return View(found.segments, segment, row)

    def describe(self, group: str, **words: Any) -> None:
        """Say what a group is, for `polymodal store`."""
        folder = self.root / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "about.json").write_text(json.dumps(words), encoding="utf-8")

    def report(self) -> list[dict[str, Any]]:
        """One entry a group: name, what it is, cells, bytes, when last written."""
        found = []
        for folder in sorted(p for p in self.root.glob("*") if p.is_dir()):
            about = folder / "about.json"
            files = [f for f in folder.rglob("*") if f.is_file()]
            cells = sum(len(s.keys) for s in self._group(folder.name).segments)
            found.append({
                "group": folder.name, **(json.loads(about.read_text(encoding="utf-8")) if about.exists() else {}), "cells": cells,
                "bytes": sum(f.stat().st_size for f in files), "written": max((f.stat().st_mtime for f in files), default=0.0),
            })
        return found

    def text(self) -> str:
        """The report as lines."""
        rows = self.report()
        lines = [
            f"{r['group']}  {r.get('what', ''):<28} {r['cells']:>9,} cells {r['bytes'] / 1e6:>9.1f} MB" for r in rows
        ]
        return "\n".join([*lines, f"{self.root}: {len(rows)} groups, {sum(r['bytes'] for r in rows) / 1e6:.1f} MB"])

    def clear(self, group: str | None = None) -> int:
        """Delete one group or all; returns the bytes freed. Raises `UnknownName`."""
        names = [p.name for p in self.root.glob("*") if p.is_dir()]
        if group is not None and group not in names:
            raise UnknownName(f"The store has no group {group!r}.{suggest(group, names)}")
        freed = 0
        for name in names if group is None else [group]:
            folder = self.root / name
            freed += sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
            shutil.rmtree(folder)
            self._open.pop(name, None)
        return freed

    def _group(self, name: str) -> _Group:
        """The group as it is on disk now."""
        group = self._open.setdefault(name, _Group(self.root / name))
        group.refresh()
        return group


@dataclass(frozen=True, eq=False)
class View:
    """Chosen rows of a group; `read` gathers from the memory maps."""

    segments: Sequence[_Segment]
    segment: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    @property
    def names(self) -> list[str]:
        return list(self.segments[0].arrays) if self.segments else []

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one row."""
        return self.segments[0].arrays[name].shape[1:]

    @property
    def nbytes(self) -> int:
        """Bytes of all rows of all arrays."""
        return sum(int(np.prod(self.shape(n))) * self.segments[0].arrays[n].itemsize for n in self.names) * len(self)

    def read(self, rows: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The rows at these positions, an array a name."""
        segment, row = self.segment[rows], self.row[rows]
        found = {}
        for name in self.names if names is None else names:
            first = self.segments[0].arrays[name]
            out = np.empty((len(rows), *first.shape[1:]), first.dtype)
            for s in np.unique(segment):
                here = segment == s
                out[here] = self.segments[s].arrays[name][row[here]]
            found[name] = out
        return found


class _Segment:
    def __init__(self, folder: Path):
        self.keys = np.load(folder / "key.npy")
        files = sorted(f for f in folder.glob("*.npy") if f.stem != "key")
        self.arrays = {f.stem: np.load(f, mmap_mode="r") for f in files}
        if any(len(a) != len(self.keys) for a in self.arrays.values()):
            raise ValueError("arrays and keys differ in length")


class _Group:
    """A group's segments and the sorted index over their keys, kept up with the folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.segments: list[_Segment] = []
        self._known: set[str] = set()
        self._sorted = np.zeros(0, dtype="V16")
        self._segment = self._row = np.zeros(0, dtype=np.int64)

    def refresh(self) -> None:
        if not self.folder.is_dir():
            return
        names = sorted(p.name for p in self.folder.iterdir() if p.is_dir())
        for name in names:
            if name.startswith(".") and time.time() - (self.folder / name).stat().st_mtime > STALE:
                shutil.rmtree(self.folder / name, ignore_errors=True)
        fresh = [n for n in names if not n.startswith(".") and n not in self._known]
        if not fresh:
            return
        self._known.update(fresh)
        for name in fresh:
            try:
                self.segments.append(_Segment(self.folder / name))
            except (OSError, ValueError, EOFError) as error:
                _log.warning("store: segment %s is damaged and left out (%s); its cells will be encoded again", name, error)
        keys = np.concatenate([_packed(s.keys) for s in self.segments]) if self.segments else self._sorted
        order = np.argsort(keys, kind="stable")
        counts = [len(s.keys) for s in self.segments]
        self._sorted = keys[order]
        self._segment = np.repeat(np.arange(len(counts)), counts)[order]
        self._row = np.concatenate([np.arange(c) for c in counts])[order] if counts else self._row

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Segment and row of each key; segment -1 where it is not stored."""
        wanted = _packed(keys)
        if not len(self._sorted):
            return np.full(len(wanted), -1), np.zeros(len(wanted), dtype=np.int64)
        place = np.searchsorted(self._sorted, wanted).clip(max=len(self._sorted) - 1)
        hit = self._sorted[place] == wanted
        return np.where(hit, self._segment[place], -1), self._row[place]


def _packed(keys: np.ndarray) -> np.ndarray:
    """[N, 16] uint8 as N sortable values of 16 bytes."""
    return np.ascontiguousarray(keys).view("V16").reshape(-1)
