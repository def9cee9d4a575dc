"""A worker process: reads one job a line as JSON, answers with one event a line as JSON.

Started by `runs.processes`, never as a fork of the user's process, so a user's script is never imported again and needs
no `__main__` guard.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import IO, NoReturn

from polymodal.core.files import finite
from polymodal.core.registry import import_path

PATIENCE = 5.0  # seconds between asking a worker to end and ending it
LONGEST = 65_536  # bytes of a request


def serve(runs: str, device: str, lines: IO[str] | None = None, channel: IO[str] | None = None) -> NoReturn:
    """Carry out jobs by the function that `runs` names until `lines` (default: standard input) end, then end at once.

    They end when whoever started this process has ended, however that came about: nobody waits for what is under way.
    Events go to `channel` (default: standard output).
    """
    if lines is None or channel is None:
        lines = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as this process lives
        channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
        os.dup2(2, 1)  # whatever a library prints goes to standard error, never into the channel
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines, jobs), daemon=True).start()
    try:
        run = import_path(runs)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)
        while True:
            for event in run(json.loads(jobs.get()), device):
                sys.stdout.flush()  # what a part printed: this process ends without emptying buffers
                channel.write(json.dumps(finite(event.to_json())) + "\n")
                channel.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except ConnectionError:
        os._exit(1)


def _listen(lines: Iterator[str], jobs: queue.SimpleQueue[str]) -> None:
    with contextlib.suppress(OSError):  # a reset, where whoever started this process ended before it heard all
        for line in lines:
            jobs.put(line)
    os._exit(0)


def host(runs: str, descriptor: str) -> NoReturn:
    """Import what `runs` names, then fork a worker at each request on the socket `descriptor`, until it closes.

    A request is `{"imports"}`, modules that workers shall share; `{"device"}` with a socket for the worker, answered by
    the worker's process id; or `{"ended"}`, the process id of one that has ended or, with `signal`, shall end; its exit
    code is the answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for whoever asks
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(2, 1)
    control = socket.socket(fileno=int(descriptor))
    import_path(runs)
    codes: dict[int, int] = {}
    with contextlib.suppress(ConnectionError):  # whoever asks has ended
        while True:
            message, given, *_ = socket.recv_fds(control, LONGEST, 1)
            if not message:
                break
            request = json.loads(message)
            if given:
                if not (answer := os.fork()):
                    control.close()
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                    _fork(runs, request["device"], socket.socket(fileno=given[0]))
                os.close(given[0])
            elif "imports" in request:
                for name in request["imports"]:
                    with contextlib.suppress(Exception):  # the job that asks for it says so
                        importlib.import_module(name)
                gc.freeze()  # what is imported stays, so no fork's collector writes to the pages that it shares
                answer = 0
            else:
                pid = request["ended"]
                if pid not in codes:
                    codes[pid] = _ended(pid, request.get("signal"))
                answer = codes[pid]
            control.send(str(answer).encode())
    os._exit(0)


def _fork(runs: str, device: str, own: socket.socket) -> NoReturn:
    """`serve` in a fork, which ends here, whatever its host was about to do."""
    code: object = 1
    try:
        serve(runs, device, own.makefile(encoding="utf-8"), own.makefile("w", encoding="utf-8"))
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - said as Python would, and then it ends
        traceback.print_exc()
    finally:
        os._exit(code if isinstance(code, int) else 1)


def _ended(pid: int, number: int | None) -> int:
    """The exit code of a worker, which is asked to end by a signal if one is given, and killed if it does not."""
    if number:
        os.kill(pid, number)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
