"""Worker processes for independent jobs: one thread each, as many as cores; on accelerators one a GPU.

Small modules gain little from several threads in one operation; two jobs side by side use two cores fully, and a
one-thread job gives the same bits wherever it runs. A GPU is shared by as many workers as the user asks for.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from polymodal.core.registry import import_path
from polymodal.core.runtime import core_count, worker_devices
from polymodal.runs.events import Event, Failed, Skipped

_HOME = str(Path(__file__).parents[2])
# A worker looks for modules where this process does, but in a safe order: the folder of the data or of the user's
# script comes last, so that a `secrets.py` beside the data is not taken for Python's. Only this package comes first.
_START = """
import importlib, json, sys, typing
sys.path.insert(0, sys.argv[1])
import polymodal
del sys.path[0]
sys.path += [path for path in json.loads(sys.argv[2]) if path not in sys.path]
from polymodal.runs.worker import serve
serve(*sys.argv[3:])
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done, in plain values, so that JSON carries it to another process.

    It works on the folder `work` and writes to `out`. `inline`: its classes live in the user's own script, so it runs
    in this process.
    """

    work: str
    out: str
    inline: bool = False

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)


J = TypeVar("J", bound=Job)


class Pool:
    """Runs jobs in `workers` processes; `workers=0` runs them in this process.

    `runs` names the function that carries out a job, given as JSON has it, on a device, and yields its events.
    `devices` are the workers' own, one each (see `worker_devices`; default: CPUs); what runs here runs on `here`. A job
    that fails, or whose process dies, yields `Failed` and the others go on.
    """

    def __init__(
        self, workers: int | None = None, *, runs: str, devices: Sequence[str] | None = None, here: str = "cpu"
    ):
        every = worker_devices("cpu", workers, cores=core_count()) if devices is None else list(devices)
        self.workers = len(every)
        self.runs, self.here = runs, here
        self._free = every[::-1]  # devices without a worker
        self._processes: list[_Worker] = []
        self._events: queue.Queue[tuple[_Worker, Event | None]] = queue.Queue()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._processes:
            worker.stop()
            self._free.append(worker.device)
        self._processes.clear()

    def stop(self) -> None:
        """End all workers, from another thread: whoever runs jobs here hears that theirs have died."""
        for worker in list(self._processes):
            worker.process.terminate()

    def run(self, jobs: Sequence[J], *, until: float | None = None) -> Iterator[tuple[J, Event]]:
        """Yield (job, event) as events come; the last event of a job is `Done`, `Failed` or `Skipped`.

        Jobs marked `inline` run here, after the others. Those not begun by `until` (on `time.perf_counter`'s clock) are
        skipped.
        """
        here = [j for j in jobs if self.workers == 0 or j.inline]
        away = deque(j for j in jobs if not (self.workers == 0 or j.inline))
        yield from self._run_away(away, until)
        for job in here:
            yield from [(job, Skipped())] if _late(until) else self._run_here(job)

    def _run_here(self, job: J) -> Iterator[tuple[J, Event]]:
        run = import_path(self.runs)
        torch = sys.modules.get("torch")
        threads = torch.get_num_threads() if torch else 1
        if torch:
            torch.set_num_threads(1)
        try:
            for event in run(job.to_json(), self.here):
                yield job, event
        finally:
            if torch:
                torch.set_num_threads(threads)

    def _run_away(self, waiting: deque[J], until: float | None) -> Iterator[tuple[J, Event]]:
        busy: dict[_Worker, J] = {}
        idle = list(self._processes)
        try:
            while waiting or busy:
                while waiting and _late(until):
                    yield waiting.popleft(), Skipped()
                while waiting and len(busy) < self.workers:
                    worker = idle.pop() if idle else self._hired()
                    if worker.alive:
                        busy[worker] = waiting.popleft()
                        worker.send(busy[worker])
                if not busy:
                    return
                worker, event = self._events.get()
                if event is None:  # its process is gone
                    worker.stop()
                    event = Failed(worker.exit_reason(), died=True)
                if worker in busy:
                    job = busy.pop(worker) if event.over else busy[worker]
                    if event.over:
                        idle.append(worker)
                    yield job, event
        finally:
            for worker in busy:  # nobody waits any longer for what they are doing
                worker.stop()
            self._dismiss()

    def _dismiss(self) -> None:
        """Forget workers that are gone, so that others get their devices."""
        self._free += [worker.device for worker in self._processes if not worker.alive]
        self._processes = [worker for worker in self._processes if worker.alive]

    def _hired(self) -> _Worker:
        if not self._free:
            self._dismiss()
        worker = _Worker(self._events, self.runs, self._free.pop())
        self._processes.append(worker)
        return worker


class _Worker:
    def __init__(self, events: queue.Queue[tuple[_Worker, Event | None]], runs: str, device: str):
        self.device = device
        folders = json.dumps([path for path in sys.path if isinstance(path, str)])  # Python passes over others
        environment = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", PYTHONSAFEPATH="1")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, _HOME, folders, runs, device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        self._listener = threading.Thread(target=self._listen, args=(events,), daemon=True)
        self._listener.start()

    def _listen(self, events: queue.Queue[tuple[_Worker, Event | None]]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            events.put((self, Event.from_json(json.loads(line))))
        self.process.wait()
        events.put((self, None))

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def send(self, job: Job) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the listener reports the death
            self.process.stdin.write(json.dumps(job.to_json()) + "\n")
            self.process.stdin.flush()

    def exit_reason(self) -> str:
        code = self.process.returncode
        hint = " (often: out of memory)" if code == -9 else ""
        return f"its worker process ended with code {code}{hint}"

    def stop(self) -> None:
        """End the process, whatever it is doing: an unfinished job has written nothing that counts."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._listener.join()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):  # what was still to be sent to it is void
                pipe.close()  # type: ignore[union-attr]


def _late(until: float | None) -> bool:
    return until is not None and time.perf_counter() > until
