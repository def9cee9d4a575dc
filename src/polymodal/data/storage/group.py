"""The segments of one group of the store, and a sorted index of their keys."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from polymodal.data.storage.segment import BrokenSegment, Layout, Segment, read_segment

log = logging.getLogger(__name__)

SUFFIX, TEMPORARY = ".safetensors", ".tmp"
STALE = 3600  # seconds after which a temporary belongs to nobody: no segment takes that long to write


class Group:
    """What is on the disk now. `owner` and `offset` say, a stored key each, which segment holds it and in which row.

    Keys are found by binary search among their first eight bytes: a million are sorted in a tenth of a second, where a
    dict of them would take seconds and hundreds of megabytes.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.segments: list[Segment] = []
        self.layout: Layout = {}
        self.owner = self.offset = np.zeros(0, np.int64)
        self._seen: dict[str, Segment | None] = {}  # None: unusable, and said so
        self._first = self._second = np.zeros(0, np.uint64)

    def refresh(self) -> None:
        """Take in segments that were added or cleared since."""
        names = self._names()
        if names == list(self._seen):
            return
        self._seen = {name: self._seen[name] if name in self._seen else self._read(name) for name in names}
        usable = [segment for segment in self._seen.values() if segment is not None]
        self.layout = usable[0].layout if usable else {}
        self.segments = [segment for segment in usable if segment.layout == self.layout]
        for odd in (segment for segment in usable if segment.layout != self.layout):
            log.warning("store: %s holds arrays of another form than its group; it is ignored", odd.path)
        self._index()

    def find(self, words: np.ndarray) -> np.ndarray:
        """Places in `owner` and `offset` of keys [N, 2], -1 where a key is not stored."""
        places = np.full(len(words), -1, np.int64)
        if not len(self._first):
            return places
        at = np.searchsorted(self._first, words[:, 0])
        looking = np.arange(len(words))
        while len(looking):  # once, unless several stored keys share their first eight bytes
            at, looking = at[at < len(self._first)], looking[at < len(self._first)]
            near = self._first[at] == words[looking, 0]
            at, looking = at[near], looking[near]
            same = self._second[at] == words[looking, 1]
            places[looking[same]] = at[same]
            at, looking = at[~same] + 1, looking[~same]
        return places

    def sound(self, words: np.ndarray, names: Iterable[str] | None = None) -> np.ndarray:
        """As `find`, among segments whose arrays (`names`, by default all) are what was written.

        A segment that is not is said, deleted, and forgotten: what it held is met as never written.
        """
        while True:
            places = self.find(words)
            owners = np.unique(self.owner[places[places >= 0]]).tolist()
            faults = {owner: fault for owner in owners if (fault := self._fault(self.segments[owner], names))}
            if not faults:
                return places
            damaged = [self.segments[owner] for owner in faults]
            log.warning(
                "store: %d cells of group %s in %d of %d segments are computed again: %s",
                sum(map(len, damaged)), self.folder.name, len(damaged), len(self.segments), next(iter(faults.values())),
            )  # fmt: skip
            for segment in damaged:
                self._seen[segment.path.name] = None
            self.segments = [segment for segment in self.segments if segment not in damaged]
            self._index()

    def _fault(self, segment: Segment, names: Iterable[str] | None) -> str:
        """What is wrong with a segment, if anything; one whose bits are not those that were written is deleted."""
        try:
            if segment.is_sound(segment.layout if names is None else names):
                return ""
        except OSError as error:  # cleared meanwhile, or the disk does not give it now
            return f"{segment.path.name} cannot be read ({error.strerror or error})"
        with contextlib.suppress(OSError):  # a store that may only be read
            segment.path.unlink(missing_ok=True)
        return f"{segment.path.name} was damaged on the disk"

    def _names(self) -> list[str]:
        """Segments' file names in the order of their making; sweeps temporaries that crashed writers left."""
        if not self.folder.is_dir():
            return []
        names = []
        for entry in os.scandir(self.folder):
            if entry.name.endswith(SUFFIX):
                names.append(entry.name)
            elif entry.name.endswith(TEMPORARY):
                with contextlib.suppress(OSError):  # another process may sweep it at the same moment
                    if time.time() - entry.stat().st_mtime > STALE:
                        os.unlink(entry.path)
        return sorted(names)

    def _read(self, name: str) -> Segment | None:
        try:
            return read_segment(self.folder / name)
        except FileNotFoundError:  # cleared by another process since it was listed
            return None
        except (BrokenSegment, OSError) as error:
            log.warning("store: %s is ignored, its cells will be computed again: %s", self.folder / name, error)
            return None

    def _index(self) -> None:
        if not self.segments:
            self._first = self._second = np.zeros(0, np.uint64)
            self.owner = self.offset = np.zeros(0, np.int64)
            return
        words = np.concatenate([segment.words for segment in self.segments])
        counts = [len(segment) for segment in self.segments]
        order = np.argsort(words[:, 0], kind="stable")
        self._first, self._second = words[order, 0], words[order, 1]
        self.owner = np.repeat(np.arange(len(counts)), counts)[order]
        self.offset = np.concatenate([np.arange(count) for count in counts])[order]
