"""Copies of objects on disk: whole or absent, shared between processes, the longest unused removed first."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from polymodal.core.errors import BadCell, PolymodalError
from polymodal.core.files import write_json
from polymodal.core.limits import most
from polymodal.core.lock import Lock

ABOUT, LOCK = ".about.json", ".lock"
GRACE = 60.0  # seconds for which a copy that was handed out is sure to stay
TIDIED = 0.9  # of the limit, to which the cache shrinks when it is full
STEP = 20  # parts of the limit: after so much was added the disk is looked at again, where others write too
LONGEST = 100  # letters of a copy's name


def default_cache() -> Path:
    """The user's cache of objects: `POLYMODAL_REMOTE_CACHE`, else `polymodal/remote` in the user's cache folder."""
    if named := os.environ.get("POLYMODAL_REMOTE_CACHE"):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(cache) / "polymodal" / "remote"


@dataclass(frozen=True)
class About:
    """What a server said of an object, by which a change is seen, and when (seconds since 1970)."""

    tag: str
    size: int
    asked: float


class Cache:
    """A folder for each object under `root`: the copy under the object's own name, and what is known of it."""

    def __init__(self, root: Path):
        self.root = root
        self._added: int | None = None  # bytes since the disk was looked at; None: never
        self._held = 0
        self._changing = threading.Lock()
        self._pinned: set[Path] = set()

    def place(self, key: str, name: str) -> Path:
        """Where the copy of an object lies, or will lie."""
        letters = "".join(c if c.isalnum() or c in "._-+ ()" else "_" for c in name).strip(". ") or "object"
        while len(letters.encode()) > LONGEST:
            letters = letters[1:]  # its end tells its kind
        return self.root / key[:2] / key[2:] / letters

    def about(self, path: Path) -> About | None:
        """What is known of the copy; None where there is none, or another than was kept."""
        try:
            told = About(**json.loads((path.parent / ABOUT).read_text(encoding="utf-8")))
            return told if path.stat().st_size == told.size else None
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, path: Path, about: About) -> None:
        """Remember what is known of a copy that has just been put, or confirmed."""
        write_json(path.parent / ABOUT, asdict(about))

    def use(self, path: Path, *, pin: bool = False) -> bool:
        """Whether the copy is there; if so it is now the last to go, and with `pin` stays as long as this process
        looks after the cache."""
        try:
            os.utime(path)
        except OSError:
            return False
        if pin:
            self._pinned.add(path)
        return True

    @contextlib.contextmanager
    def alone(self, path: Path) -> Iterator[Path]:
        """A file to fetch into, while no other process fetches the same object; what is left of it goes. Raises
        `BadCell` where another process takes too long."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)  # what only this user may read elsewhere, lies here
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{os.urandom(6).hex()}.part")
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(Lock(path.parent / LOCK, patience=10.0 * most("remote wait")))
            except PolymodalError as error:
                raise BadCell("is being fetched by another process, which does not come to an end") from error
            try:
                path.parent.mkdir(exist_ok=True)  # had another process removed it meanwhile
                part.touch()
                yield part
            finally:
                part.unlink(missing_ok=True)

    def drop(self, path: Path) -> None:
        """Remove a copy whose object is gone."""
        for one in (path.parent / ABOUT, path):
            one.unlink(missing_ok=True)

    def make_room(self, size: int) -> None:
        """Count `size` new bytes; where the cache is full, remove what was not used for longest."""
        allowed = most("remote cache")
        with self._changing:
            if self._added is not None:
                self._added += size
                if self._added < allowed / STEP and self._held + self._added <= allowed:
                    return
            copies = sorted(self._copies())
            self._held, self._added = sum(size for _, size, _ in copies), 0
            if self._held > allowed:
                self._evict(copies, TIDIED * allowed)

    def _evict(self, copies: list[tuple[float, int, Path]], goal: float) -> None:
        now = time.time()
        for path in self._pinned:
            self.use(path)
        for used, size, path in copies:
            if self._held <= goal or now - used < GRACE:
                return
            if path not in self._pinned:
                shutil.rmtree(path.parent, ignore_errors=True)
                self._held -= size

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        """When each copy was last used, its bytes, and where it lies; what a killed process left counts too."""
        for folder in self.root.glob("??/*"):
            with contextlib.suppress(OSError):  # another process removes it
                for entry in os.scandir(folder):
                    if entry.name not in (ABOUT, LOCK):
                        status = entry.stat()
                        yield status.st_mtime, status.st_size, Path(entry.path)
