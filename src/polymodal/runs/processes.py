"""How a worker process comes about: forked from one that has imported all that jobs need, or started by itself.

Importing is what small jobs cost most (some two seconds a process), so it is paid once for all workers. A fork is safe
from a process that has one thread and never computed, which the host is. Where Python does not run on Linux, where
forks are not to be trusted, every worker is started and imports for itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

FORKS = sys.platform == "linux"
_HOME = str(Path(__file__).parents[2])
# A process looks for modules where this one does, but in a safe order: the folder of the data or of the user's script
# comes last, so that a `secrets.py` beside the data is not taken for Python's. Only this package comes first.
_START = """
import importlib, json, sys, typing
sys.path.insert(0, sys.argv[1])
import polymodal
del sys.path[0]
sys.path += [path for path in json.loads(sys.argv[2]) if path not in sys.path]
from polymodal.runs import worker
getattr(worker, sys.argv[3])(*sys.argv[4:])
"""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONSAFEPATH"), "1")


def _started(does: str, *words: str, **options: Any) -> subprocess.Popen[str]:
    """A Python process that carries out `does` of `runs.worker`, in one thread."""
    folders = json.dumps([path for path in sys.path if isinstance(path, str)])  # Python passes over others
    command = [sys.executable, "-P", "-c", _START, _HOME, folders, does, *words]
    return subprocess.Popen(command, text=True, encoding="utf-8", env={**os.environ, **_ONE_THREAD}, **options)


class Process:
    """A worker's process: lines to it, lines from it, and how it ended."""

    lines: IO[str]  # what it says
    words: IO[str]  # what it is told

    def wait(self) -> int:
        """Its exit code, once it has ended; the negative signal where one ended it."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it, whatever it is doing; it is killed where five seconds do not suffice."""
        raise NotImplementedError

    def tell(self, line: str) -> None:
        """Send a line; nothing where it has ended."""
        with contextlib.suppress(OSError):
            self.words.write(line)
            self.words.flush()

    def close(self) -> None:
        """Drop the ends of what was to be said."""
        for end in (self.words, self.lines):
            with contextlib.suppress(OSError):  # what was still to be sent to it is void
                end.close()


class Started(Process):
    """A process of its own, which imports for itself."""

    def __init__(self, runs: str, device: str):
        self._process = _started("serve", runs, device, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.words, self.lines = self._process.stdin, self._process.stdout

    def wait(self) -> int:
        return self._process.wait()

    def stop(self) -> None:
        _end(self._process)


class Forked(Process):
    """A fork of a host."""

    def __init__(self, host: Host, device: str):
        self._host = host
        ours, theirs = socket.socketpair()
        with theirs:
            self._pid = host.ask({"device": device}, theirs.fileno())
        with ours:
            self.words, self.lines = ours.makefile("w", encoding="utf-8"), ours.makefile(encoding="utf-8")

    def wait(self) -> int:
        return self._host.ask({"ended": self._pid})

    def stop(self) -> None:
        self._host.ask({"ended": self._pid, "signal": signal.SIGTERM})


class Host:
    """A process that imports what the function `runs` needs, and then forks a worker at each request."""

    def __init__(self, runs: str):
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = _started(
                "host", runs, str(theirs.fileno()), pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
            )
        self._lock = threading.Lock()

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], *descriptors: int) -> int:
        """The process id of a fork, or the exit code of one; the host's own exit code where it has ended."""
        with self._lock, contextlib.suppress(OSError):
            socket.send_fds(self._channel, [json.dumps(request).encode()], descriptors)
            if answer := self._channel.recv(64):
                return int(answer)
        return self._process.wait()

    def close(self) -> None:
        """Let it end."""
        self._channel.close()
        _end(self._process, gently=True)


def _end(process: subprocess.Popen[str], *, gently: bool = False) -> None:
    if not gently:
        process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
