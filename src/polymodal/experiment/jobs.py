"""Jobs: what a worker runs.

A job is plain values, so it runs in this process, in a worker or on another machine. It writes its result at once
and only when complete: a run that was killed repeats only unfinished jobs, and an encoder goes on from its last epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from polymodal.core.files import read_json, write_json
from polymodal.experiment.answer_job import AnswerJob, answer_job
from polymodal.experiment.encoder_job import EncoderJob, encoder_job, restored
from polymodal.experiment.end_to_end_job import EndToEndJob, end_to_end_job
from polymodal.experiment.scored_job import ScoredJob, scored_job, stored
from polymodal.experiment.work import Epochs, FitJob, Work, open_work
from polymodal.runs.events import Done, Event, Failed

JOBS: dict[str, tuple[type[FitJob], Callable[[Work, Any, Path], Epochs]]] = {
    "encoder": (EncoderJob, encoder_job),
    "scored": (ScoredJob, scored_job),
    "answer": (AnswerJob, answer_job),
    "end_to_end": (EndToEndJob, end_to_end_job),
}


def run_job(values: Mapping[str, Any], device: str = "cpu") -> Iterator[Event]:
    """Run a job, as JSON has it, on a device, unless its result is there; yield its events, `Done` last with it."""
    kind, carry_out = JOBS[values["kind"]]
    job = kind.from_json(values)
    out = Path(job.out)
    if out.with_suffix(".json").exists():
        result = read_json(out.with_suffix(".json"))
        if isinstance(job, EncoderJob):
            result = restored(open_work(job.work, device, job.store), job, out, result)
        if not isinstance(job, ScoredJob) or stored(open_work(job.work, device, job.store), job, result):
            yield Done(result, cached=True)
            return
    started, cpu = time.perf_counter(), time.process_time()
    result = yield from carry_out(open_work(job.work, device, job.store), job, out)
    result["seconds"], result["cpu_seconds"] = time.perf_counter() - started, time.process_time() - cpu
    write_json(out.with_suffix(".json"), result)
    out.with_suffix(".checkpoint").unlink(missing_ok=True)
    yield Done(result)


def guarded(values: Mapping[str, Any], device: str = "cpu") -> Iterator[Event]:
    """`run_job`, whose errors become `Failed`: a part that fails is set aside, and the comparison goes on."""
    try:
        yield from run_job(values, device)
    except Exception as error:  # noqa: BLE001 - the user's part may raise anything; its reason is reported, never lost
        yield Failed.by(error)
