"""The encode-once store: arrays on disk, found by the content they were computed from and by what computed them.

A *group* is the fingerprint of a processor's or an encoder's whole state; a *key* is the digest of a cell. A write adds
one *segment* to a group: a safetensors file that holds keys and arrays and never changes again. It is written under a
temporary name, synced and renamed, so a reader sees all of it or nothing, whenever the writer dies. Names of segments
are unique, so any number of processes may write at once without a lock; a key that two of them wrote is kept twice and
read once. Nothing is ever overwritten, so nothing can be lost but by `clear`.

Whoever asks for keys gets them from segments that have their digests: arrays are read through once by each process
before they are answered from. What was damaged on the disk counts as never written, and is computed again.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.digest import SIZE
from polymodal.core.errors import FULL, BadArgument, BadData, DiskFull, PolymodalError, UnknownName, suggest
from polymodal.core.files import read_json, sync_folder, write_json
from polymodal.data.storage.group import STALE, SUFFIX, TEMPORARY, Group
from polymodal.data.storage.segment import Layout, Segment, layout_of, write_segment

_ABOUT = "about.json"
_count = itertools.count()


def default_store() -> Path:
    """The user's store: `POLYMODAL_STORE`, else `polymodal/store` in the user's cache folder."""
    if named := os.environ.get("POLYMODAL_STORE"):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(cache) / "polymodal" / "store"


class Store:
    """Groups of segments under the folder `root`, which is made when first written to."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self._open: dict[str, Group] = {}

    # --- reading and writing ---

    def has(self, group: str, keys: np.ndarray) -> np.ndarray:
        """bool [N]: which of `keys` [N, 16] the group holds."""
        return self._group(group).sound(_words(keys)) >= 0

    def missing(self, group: str, keys: np.ndarray) -> np.ndarray:
        """Positions [M] of those `keys` [N, 16] that the group lacks, ascending; of equal keys the first only."""
        words = _words(keys)
        lacking = np.flatnonzero(self._group(group).sound(words) < 0)
        _, first = np.unique(words[lacking], axis=0, return_index=True)
        return lacking[np.sort(first)]

    def write(self, group: str, keys: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Add `arrays` (name to N rows) under `keys` [N, 16] uint8 as one segment; they are on the disk on return.

        Raises `BadArgument` when rows do not match keys, or names, dtypes or trailing shapes differ from the group's;
        `PolymodalError` when the disk is full.
        """
        words = _words(keys)
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        self._check(group, len(words), arrays)
        if not len(words):
            return
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(_count)}-{secrets.token_hex(4)}"
        temporary = self._folder(group) / f"{name}{TEMPORARY}"
        try:
            self._create(temporary, words, arrays)
            os.replace(temporary, temporary.with_suffix(SUFFIX))
            sync_folder(temporary.parent)
        except OSError as error:
            raise self._explained(error, sum(a.nbytes for a in arrays.values())) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def view(self, group: str, keys: np.ndarray, names: Sequence[str] | None = None) -> View:
        """What the group holds for each of `keys` [N, 16], equal keys allowed: all arrays, or `names`.

        Raises `BadData` when it lacks some, `UnknownName` for an array that it has not.
        """
        held = self._group(group)
        wanted = held.layout if names is None or not held.layout else names
        layout = {name: _known(held.layout, name) for name in wanted}
        places = held.sound(_words(keys), layout)
        if (places < 0).any():
            raise BadData(
                f"The store {self.root} lacks {int((places < 0).sum())} of {len(places)} cells of group {group}: it "
                "was cleared, was damaged on the disk, or is not the store that they were written to. The same command "
                "again (with --resume) computes them anew."
            )
        try:
            return View(held.segments, held.owner[places], held.offset[places], layout)
        except FileNotFoundError as error:
            raise BadData(f"Group {group} of the store {self.root} was cleared just now; run again.") from error

    def layout(self, group: str) -> Layout:
        """The dtype and trailing shape of each array of the group; empty when the group is."""
        return self._group(group).layout

    # --- what there is ---

    def groups(self) -> list[str]:
        """Names of all groups, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in self.root.iterdir() if entry.is_dir() and _is_name(entry.name))

    def describe(self, group: str, **about: Any) -> None:
        """Say what a group is (what made it, of which stream) in plain values, for `report`. The first saying stays."""
        path = self._folder(group) / _ABOUT
        if not path.exists():
            try:
                write_json(path, {**about, "created": datetime.now().astimezone().isoformat(timespec="seconds")})
            except OSError as error:
                raise self._explained(error, 0) from error

    def meta(self, group: str) -> dict[str, Any]:
        """What `describe` was told, with the time; empty when nothing was."""
        with contextlib.suppress(FileNotFoundError, ValueError):  # ValueError: damaged; it is for the reader only
            return read_json(self._folder(group) / _ABOUT)
        return {}

    def size(self, group: str | None = None) -> int:
        """Bytes on the disk of one group, or of all."""
        names = self.groups() if group is None else [self._named(group)]
        return sum(_size(path) for name in names for path in self._files(name))

    def report(self) -> dict[str, Any]:
        """`root`, `bytes` and `groups`: dicts of `group`, `bytes`, `segments`, `rows` and what `describe` was told."""
        groups: list[dict[str, Any]] = []
        for name in self.groups():
            segments = self._group(name).segments
            counts = {"segments": len(segments), "rows": sum(map(len, segments))}
            groups.append({"group": name, "bytes": self.size(name), **counts, **self.meta(name)})
        groups.sort(key=lambda g: (-g["bytes"], g["group"]))
        return {"root": str(self.root), "bytes": sum(g["bytes"] for g in groups), "groups": groups}

    def text(self) -> str:
        """`report` as a table for a terminal, the largest group first."""
        report = self.report()
        lines = [f"{report['root']}: {len(report['groups'])} groups, {report['bytes'] / 1e6:,.1f} MB"]
        for g in report["groups"]:
            about = " ".join(str(v) for k, v in g.items() if k not in ("group", "bytes", "segments", "rows"))
            lines.append(f"{g['group']}  {g['bytes'] / 1e6:>10,.1f} MB  {g['rows']:>9,} cells  {about}".rstrip())
        return "\n".join(lines)

    def clear(self, group: str | None = None, older_than: float | None = None) -> int:
        """Delete one group (a prefix of its name will do), or all; only those not written to for `older_than` seconds.

        Returns the bytes freed. A process that reads a cleared group goes on reading what it has open; one that writes
        keeps what it writes from then on. Raises `UnknownName`, or `PolymodalError` where deleting is not allowed.
        """
        freed, now = 0, time.time()
        for name in self.groups() if group is None else [self._named(group)]:
            files = self._files(name)
            latest = max((_mtime(path) for path in files), default=0.0)
            if older_than is not None and now - latest < older_than:
                continue
            for path in files:
                if path.suffix == TEMPORARY and now - _mtime(path) < STALE:
                    continue  # someone is writing it
                size = _size(path)
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise PolymodalError(f"{path} cannot be deleted: {error}.") from error
                freed += size
            with contextlib.suppress(OSError):
                self._folder(name).rmdir()
            self._open.pop(name, None)
        return freed

    # --- parts ---

    def _folder(self, group: str) -> Path:
        if not _is_name(group):
            raise BadArgument(f"A group is named by hexadecimal digits (a fingerprint); got {group!r}.")
        return self.root / group

    def _files(self, group: str) -> list[Path]:
        with contextlib.suppress(FileNotFoundError):
            return list(self._folder(group).iterdir())
        return []

    def _named(self, prefix: str) -> str:
        names = self.groups()
        matched = [name for name in names if name.startswith(prefix)] if prefix else []
        if len(matched) != 1:
            fault = "Several groups begin with" if matched else "The store has no group"
            raise UnknownName(f"{fault} {prefix!r}.{suggest(prefix, names)}")
        return matched[0]

    def _group(self, group: str) -> Group:
        known = self._open.setdefault(group, Group(self._folder(group)))
        known.refresh()
        return known

    def _check(self, group: str, count: int, arrays: Mapping[str, np.ndarray]) -> None:
        wrong = {name: len(a) if a.ndim else 0 for name, a in arrays.items() if not a.ndim or len(a) != count}
        if wrong or not arrays:
            raise BadArgument(f"Each array needs a row for each of {count} keys; got {wrong or 'no array'}.")
        given, known = layout_of(arrays), self._group(group).layout
        if known and given != known:
            raise BadArgument(f"Group {group} holds {known}; got {given}. Arrays of another form are another group.")

    def _create(self, temporary: Path, words: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a temporary segment; its folder may be cleared away by another process while we look."""
        for attempt in range(8):
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                return write_segment(temporary, words, arrays)
            except FileNotFoundError:
                if attempt == 7:
                    raise

    def _explained(self, error: OSError, needed: int) -> Exception:
        if error.errno in FULL:
            held = self.size() / 1e6
            return DiskFull(
                f"The disk is full: {needed / 1e6:,.1f} MB could not be written to the store {self.root}, which holds "
                f"{held:,.1f} MB. Free some with `polymodal store --clear all` (or one group's name; `polymodal store` "
                "lists them), or set POLYMODAL_STORE to a folder on another disk."
            )
        return PolymodalError(f"Cannot write to the store {self.root}: {error}. Set POLYMODAL_STORE to another folder.")


class View:
    """The arrays that a group holds for a list of keys; row r belongs to the r-th key. Values stay on the disk."""

    def __init__(self, segments: Sequence[Segment], owner: np.ndarray, offset: np.ndarray, layout: Layout):
        used, self._owner = np.unique(owner, return_inverse=True)
        self._arrays = [segments[i].mapped() for i in used]  # now, so that clearing the group takes nothing away
        self._offset = offset
        self._layout = layout

    def __len__(self) -> int:
        return len(self._offset)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays, sorted."""
        return tuple(self._layout)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows in memory."""
        return len(self) * sum(dtype.itemsize * math.prod(shape) for dtype, shape in self._layout.values())

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one row of `name`. Raises `UnknownName`."""
        return _known(self._layout, name)[1]

    def read(self, rows: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Copies of the rows at positions `rows` [n], in that order; of all arrays or of `names`."""
        rows = np.asarray(rows)
        wanted = self.names if names is None else tuple(names)
        for name in wanted:
            self.shape(name)
        offset = self._offset[rows]
        if len(self._arrays) == 1:
            return {name: self._arrays[0][name].take(offset, axis=0) for name in wanted}
        owner = self._owner[rows]
        order = np.argsort(owner, kind="stable")
        cuts = np.flatnonzero(np.diff(owner[order])) + 1
        parts = np.split(order, cuts) if len(order) else []
        copies = {name: np.empty((len(rows), *self._layout[name][1]), self._layout[name][0]) for name in wanted}
        for part in parts:
            arrays = self._arrays[owner[part[0]]]
            for name in wanted:
                copies[name][part] = arrays[name].take(offset[part], axis=0)
        return copies

    def load(self) -> dict[str, np.ndarray]:
        """All rows, in memory."""
        return self.read(np.arange(len(self)))


def _known(layout: Layout, name: str) -> tuple[np.dtype, tuple[int, ...]]:
    if name not in layout:
        raise UnknownName(f"No array {name!r} is stored here.{suggest(name, layout)}")
    return layout[name]


def _words(keys: np.ndarray) -> np.ndarray:
    """Keys as uint64 [N, 2], from uint8 [N, 16], `V16` [N] or uint64 [N, 2]. Raises `BadArgument`."""
    keys = np.ascontiguousarray(keys)
    fits = keys.ndim == 2 and keys.shape[1] * keys.dtype.itemsize == SIZE and keys.dtype.kind == "u"
    if not fits and not (keys.ndim == 1 and keys.dtype == np.dtype(f"V{SIZE}")):
        raise BadArgument(f"Keys are digests, uint8 [N, {SIZE}]; got {keys.dtype} {list(keys.shape)}.")
    return keys.view(np.uint8).reshape(-1, SIZE).view("<u8")


def _is_name(group: str) -> bool:
    return 8 <= len(group) <= 64 and set(group) <= set("0123456789abcdef")


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _mtime(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0
