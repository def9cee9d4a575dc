"""Jobs: what a worker runs.

A job is a JSON dict, so it runs in this process, in a worker or on another machine. It writes its result at once and
only when complete: a run that was killed repeats only unfinished jobs, and an encoder goes on from its last epoch.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from polymodal.core.errors import PolymodalError
from polymodal.core.files import read_json, write_json
from polymodal.experiment.answer_job import answer_job
from polymodal.experiment.encoder_job import encoder_job
from polymodal.experiment.finetune_job import finetune_job
from polymodal.experiment.work import Event, Work, open_work

JOBS: dict[str, Callable[[Work, Mapping[str, Any], Path], Iterator[Event]]] = {
    "encoder": encoder_job,
    "answer": answer_job,
    "finetune": finetune_job,
}


def run_job(job: Mapping[str, Any]) -> Iterator[Event]:
    """Run a job unless its result is there already; yield its events, `done` last with the result."""
    out = Path(job["out"])
    if out.with_suffix(".json").exists():
        yield {"event": "done", "result": read_json(out.with_suffix(".json")), "cached": True}
        return
    started, cpu = time.perf_counter(), time.process_time()
    result: dict[str, Any] = {}
    for event in JOBS[job["kind"]](open_work(job["work"]), job, out):
        if event["event"] == "result":
            result = event["result"]
        else:
            yield event
    result["seconds"], result["cpu_seconds"] = time.perf_counter() - started, time.process_time() - cpu
    write_json(out.with_suffix(".json"), result)
    out.with_suffix(".checkpoint").unlink(missing_ok=True)
    yield {"event": "done", "result": result, "cached": False}


def guarded(job: Mapping[str, Any]) -> Iterator[Event]:
    """`run_job`, whose errors become a `failed` event: a part that fails is set aside, and the comparison goes on."""
    try:
        yield from run_job(job)
    except PolymodalError as error:
        yield {"event": "failed", "reason": str(error), "trace": ""}
    except Exception as error:  # noqa: BLE001 - the user's part may raise anything; its reason is reported, never lost
        yield {"event": "failed", "reason": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
