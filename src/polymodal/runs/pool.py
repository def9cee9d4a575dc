"""Worker processes for independent jobs: one thread each, as many as cores; on accelerators one a GPU.

Small modules gain little from several threads in one operation; two jobs side by side use two cores fully, and a
one-thread job gives the same bits wherever it runs. A GPU is shared by as many workers as the user asks for.
"""

from __future__ import annotations

import contextlib
import json
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from polymodal.core.registry import import_path
from polymodal.core.runtime import core_count, worker_devices
from polymodal.runs.events import Event, Failed, Skipped
from polymodal.runs.processes import FORKS, Forked, Host, Process, Started


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
    `devices` are the workers' own, one each (see `worker_devices`; default: CPUs); what runs here runs on `here`.
    `imports` names libraries that jobs will ask for, so that workers share them. A job that fails, or whose process
    dies, yields `Failed` and the others go on.
    """

    def __init__(
        self, workers: int | None = None, *, runs: str, devices: Sequence[str] | None = None, here: str = "cpu",
        imports: Sequence[str] = (),
    ):  # fmt: skip
        every = worker_devices("cpu", workers, cores=core_count()) if devices is None else list(devices)
        self.workers = len(every)
        self.runs, self.here, self.imports = runs, here, list(imports)
        self._free = every[::-1]  # devices without a worker
        self._workers: list[_Worker] = []
        self._host: Host | None = None
        self._events: queue.Queue[tuple[_Worker, Event | None]] = queue.Queue()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            worker.stop()
            self._free.append(worker.device)
        self._workers.clear()
        if self._host is not None:
            self._host.close()
            self._host = None

    def stop(self) -> None:
        """End all workers, from another thread: whoever runs jobs here hears that theirs have died."""
        for worker in list(self._workers):
            worker.process.stop()

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
        idle = list(self._workers)
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
        self._free += [worker.device for worker in self._workers if not worker.alive]
        self._workers = [worker for worker in self._workers if worker.alive]

    def _hired(self) -> _Worker:
        if not self._free:
            self._dismiss()
        if self._host is not None and not self._host.alive:
            self._host.close()
            self._host = None
        if FORKS and self._host is None:
            self._host = Host.of(self.runs)
            self._host.ask({"imports": self.imports})
        device = self._free[-1]
        process = Forked(self._host, device) if self._host else Started(self.runs, device)
        worker = _Worker(self._events, process, device)
        self._workers.append(worker)
        self._free.pop()  # not before: Ctrl-C may come at any time
        return worker


class _Worker:
    def __init__(self, events: queue.Queue[tuple[_Worker, Event | None]], process: Process, device: str):
        self.device, self.process = device, process
        self.code: int | None = None  # it ended with
        self._listener = threading.Thread(target=self._listen, args=(events,), daemon=True)
        self._listener.start()

    def _listen(self, events: queue.Queue[tuple[_Worker, Event | None]]) -> None:
        with contextlib.suppress(ConnectionResetError):  # it ended before it read all
            for line in self.process.lines:
                if line.endswith("\n"):  # or it ended while it spoke
                    events.put((self, Event.from_json(json.loads(line))))
        self.code = self.process.wait()
        events.put((self, None))

    @property
    def alive(self) -> bool:
        return self.code is None

    def send(self, job: Job) -> None:
        self.process.tell(json.dumps(job.to_json()) + "\n")  # the listener reports a death

    def exit_reason(self) -> str:
        hint = " (often: out of memory)" if self.code == -9 else ""
        return f"its worker process ended with code {self.code}{hint}"

    def stop(self) -> None:
        """End the process, whatever it is doing: an unfinished job has written nothing that counts."""
        self.process.stop()
        self._listener.join()
        self.process.close()


def _late(until: float | None) -> bool:
    return until is not None and time.perf_counter() > until
