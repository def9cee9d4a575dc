"""Engines: who carries out the parts. Both run the same function on the same files, so the result is the same."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from polymodal.core.errors import BadArgument, require, suggest
from polymodal.core.runtime import core_count, worker_devices
from polymodal.preparation.work import PartJob, run_part
from polymodal.runs.events import Event
from polymodal.runs.pool import Pool

ENGINES = ("local", "ray")


class Engine(Protocol):
    """Runs jobs for `preparation.work.run_part` and yields (job, event) as each ends."""

    def __enter__(self) -> Engine: ...

    def __exit__(self, *exception: object) -> None: ...

    def run(self, jobs: Sequence[PartJob]) -> Iterator[tuple[PartJob, Event]]: ...


def engine_of(name: str, workers: int | None, device: str = "cpu") -> Engine:
    """The engine called `name`, whose workers run networks on `device`.

    Raises `BadArgument` for another name, `MissingExtra` where Ray is not installed.
    """
    if name not in ENGINES:
        raise BadArgument(f"Unknown engine {name!r}.{suggest(name, ENGINES)}")
    if name == "ray":
        return RayData(workers, device)
    count = len(worker_devices("cpu", workers, cores=core_count()))  # its work is the CPU's, but for the networks
    return Pool(runs="polymodal.preparation.work:run_part", devices=[device] * count, here=device)


class RayData:
    """Parts as rows of a Ray Data set: a laptop, or a cluster that shares the output folder.

    Joins the cluster that `RAY_ADDRESS` names, else starts Ray on this machine.
    """

    def __init__(self, workers: int | None, device: str = "cpu"):
        self.workers, self.device = workers, device
        self.ray = require("ray", "ray")
        require("ray.data", "ray")
        self._ours = False

    def __enter__(self) -> RayData:
        if not self.ray.is_initialized():
            for name in ("ray", "ray.data"):  # what it tells of its own doings; our progress and errors say the rest
                logging.getLogger(name).setLevel(logging.ERROR)
            self.ray.init(
                num_cpus=self.workers or None, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR
            )
            self._ours = True
        return self

    def __exit__(self, *exception: object) -> None:
        if self._ours:
            self.ray.shutdown()

    def run(self, jobs: Sequence[PartJob]) -> Iterator[tuple[PartJob, Event]]:
        context = self.ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        numbered = [{"place": i, "job": job.to_json(), "device": self.device} for i, job in enumerate(jobs)]
        done = self.ray.data.from_items(numbered, override_num_blocks=max(1, len(numbered))).map(_on_ray)
        for row in done.iter_rows():
            yield jobs[row["place"]], Event.from_json(json.loads(row["event"]))


def _on_ray(row: dict[str, Any]) -> dict[str, Any]:
    last = list(run_part(row["job"], row["device"]))[-1]
    return {"place": row["place"], "event": json.dumps(last.to_json())}
