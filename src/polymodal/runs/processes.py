"""How a worker process comes about: forked from one that has imported all that jobs need, or started by itself.

Importing is what small jobs cost most (some two seconds a process), so it is paid once for all workers. A fork is safe
from a process that has one thread, as the host has, which never computes. A command that has imported all and has one
thread still is forked itself. Where this is not Linux, forks are not to be trusted: every worker imports for itself.
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
import time
from pathlib import Path
from typing import IO, Any

from polymodal.runs import worker

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
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._pid = host.ask({"device": device}, theirs.fileno())
        self.words = self._socket.makefile("w", encoding="utf-8")
        self.lines = self._socket.makefile(encoding="utf-8")

    def wait(self) -> int:
        return self._host.ask({"ended": self._pid})

    def stop(self) -> None:
        self._host.ask({"ended": self._pid, "signal": signal.SIGTERM})
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # by which it ends where its host is gone

    def close(self) -> None:
        super().close()
        self._socket.close()


class Host:
    """A process that imports what the function `runs` needs, and then forks a worker at each request."""

    def __init__(self, runs: str, *, here: bool = False):
        """With `here` it is a fork of this process, which must have one thread."""
        self.runs = runs
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | _Fork
        with theirs:
            if here:
                self._process = _Fork(runs, theirs, self._channel)
            else:
                words = ("host", runs, str(theirs.fileno()))
                self._process = _started(*words, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)

    @classmethod
    def of(cls, runs: str) -> Host:
        """The host that was forked ahead for `runs`, or else one that is started."""
        ready = [host for host in _AHEAD if host.runs == runs and host.alive]
        for host in _AHEAD:
            if host not in ready[:1]:
                host.close()
        _AHEAD.clear()
        return ready[0] if ready else cls(runs)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], *descriptors: int) -> int:
        """The process id of a fork, or the exit code of one; the host's own exit code where it has ended."""
        with self._lock, contextlib.suppress(OSError):
            try:
                socket.send_fds(self._channel, [json.dumps(request).encode()], descriptors)
                if answer := self._channel.recv(64):
                    return int(answer)
            except (KeyboardInterrupt, SystemExit):  # or the answer is taken for that to the next request
                self.close()
                raise
        return self._process.wait()

    def close(self) -> None:
        """End it; workers that it forked end by themselves when they are told nothing more."""
        self._channel.close()
        _end(self._process)


class _Fork:
    """A fork of this process that is a host, waited for like a `Popen`."""

    def __init__(self, runs: str, own: socket.socket, other: socket.socket):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # or what waits in them would be said twice
        self._code: int | None = None
        self._lock = threading.Lock()
        self._pid = os.fork()
        if self._pid:
            return
        try:
            other.close()
            os.environ.update(_ONE_THREAD)
            with open(os.devnull, "rb") as nothing:
                os.dup2(nothing.fileno(), 0)
            worker.host(runs, str(own.detach()))
        finally:
            os._exit(1)

    def poll(self) -> int | None:
        with self._lock:
            if self._code is None:
                done, status = os.waitpid(self._pid, os.WNOHANG)
                self._code = os.waitstatus_to_exitcode(status) if done else None
            return self._code

    def wait(self, timeout: float = float("inf")) -> int:
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("host", timeout)
            time.sleep(0.005)
        return code

    def terminate(self) -> None:
        os.kill(self._pid, signal.SIGTERM)

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)


_AHEAD: list[Host] = []


def fork_ahead(runs: str) -> bool:
    """Make this process's next pool for `runs` fork its workers from this process as it is now; whether it can.

    It can on Linux, from a process with one thread: nobody then holds a lock that a fork would wait for, and no
    library has threads of its own that a fork would lack. To be called when all is imported and nothing computed.
    """
    if not FORKS or len(os.listdir("/proc/self/task")) > 1:
        return False
    _AHEAD.append(Host(runs, here=True))
    return True


def _end(process: subprocess.Popen[str] | _Fork) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
