"""A lock between processes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from polymodal.core.errors import PolymodalError

_PATIENCE = 0.02  # seconds between tries
_FAR = 1 << 30  # the byte that is locked where bytes are
WAIT = "Wait until it is done, or stop it; readers need not wait."


class Lock:
    """One process at a time; the system lets go of it when the process ends, however it ends.

    Raises `PolymodalError` when it is not free within `patience` seconds, saying who has it, and the `advice`.
    """

    def __init__(self, path: Path, patience: float = 10.0, advice: str = WAIT):
        self.path = path
        self.patience = patience
        self.advice = advice
        self._file: BinaryIO | None = None
        self._depth = 0

    def __enter__(self) -> Lock:
        if self._depth == 0:
            self._file = self._acquired()
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0 and self._file is not None:
            self._file.close()
            self._file = None

    def _acquired(self) -> BinaryIO:
        file = self.path.open("a+b")
        until = time.monotonic() + self.patience
        while not _locked(file):
            if time.monotonic() > until:
                file.seek(0)
                holder = file.read(20).decode("ascii", "replace").strip()
                file.close()
                since = f" for over {self.patience:g} s" if self.patience else ""
                who = f"Another process ({holder or 'unknown'})"
                raise PolymodalError(f"{who} has been writing to {self.path.parent}{since}. {self.advice}")
            time.sleep(_PATIENCE)
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        file.flush()
        return file


def _locked(file: BinaryIO) -> bool:
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            file.seek(_FAR)  # the same byte for all, and none that says who holds it: Windows lets nobody read those
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    return True
