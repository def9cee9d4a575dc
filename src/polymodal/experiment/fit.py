"""fit: from a plan to a finished run, resumable at every job."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polymodal.core.runtime import core_count, device_of, gpu_count, told, worker_devices
from polymodal.data.tables.table import problem_lines
from polymodal.experiment.augment import augmented
from polymodal.experiment.finalize import finalize
from polymodal.experiment.plan import Plan
from polymodal.experiment.plan import plan as make_plan
from polymodal.experiment.session import Session
from polymodal.inference.run import Run
from polymodal.models.specs import part_class
from polymodal.runs.folder import claimed
from polymodal.runs.pool import Pool
from polymodal.runs.progress import Log, Progress, tracker_of

RUNS = "polymodal.experiment.jobs:guarded"  # carries out a job


def fit(
    data: Any,
    target: Any = None,
    *,
    out: str | Path,
    valid: Any = None,
    test: Any = None,
    schema: Any = None,
    config: Any = None,
    resume: bool = False,
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Train every stream's encoder once, compare every strategy on the stored tokens, keep the best and report.

    Arguments as in `polymodal.plan`; `out` is the run's folder; `resume` continues an interrupted run to the result
    that an unbroken one would have had. Ctrl-C stops training and concludes with the strategies that are finished.

    Raises `BadArgument` when `out` holds another run, `BadData` for unusable data, `Interrupted` when stopped before
    any strategy had finished.
    """
    return fit_plan(
        make_plan(data, target, valid=valid, test=test, schema=schema, config=config, **options),
        out=out,
        resume=resume,
        quiet=quiet,
    )


def fit_plan(
    plan: Plan, *, out: str | Path, resume: bool = False, quiet: bool = False,
    session: Callable[..., Session] | None = None,
) -> Run:  # fmt: skip
    """Carry out a plan; see `fit`. `session` makes another `Session`, as one that knows encoders of other runs."""
    folder = Path(out)
    tracker_of(plan.config.trackers)  # a tracker that is not installed is said now, not after the training
    with claimed(folder, plan.to_json(), [list(plan.table.ids), dict(plan.truth), plan.split], resume):
        return _carry_out(plan, folder, quiet, session or Session)


def _carry_out(plan: Plan, folder: Path, quiet: bool, make: Callable[..., Session]) -> Run:
    started = time.perf_counter()
    device = device_of(plan.config.device)
    devices = worker_devices(
        str(device), plan.config.workers, cores=core_count(), gpus=gpu_count(),
        every=plan.config.device in ("auto", "cuda"),
    )  # fmt: skip
    fitted = [part_class(spec) for specs in plan.fitted.values() for spec in specs]
    imports = sorted({name for one in fitted for name in getattr(one, "imports", ())})
    with (
        Log(folder / "log.jsonl") as log,
        Progress(quiet=quiet) as progress,
        Pool(runs=RUNS, devices=devices, here=str(device), imports=imports) as pool,
    ):
        notes = told(device)
        if plan.config.augment:
            plan, more = augmented(plan, folder / "work" / "augmented")
            notes += more
        session = make(plan, folder, progress, pool, log, started)
        session.note(notes)
        for line in (*plan.notes, *(plan.towers.lines() if plan.towers.frozen else ())):
            progress.say(line)
        dataset, processors = session.prepare()
        for line in problem_lines(dataset.bad):
            progress.say(line)
        if dataset.bad:
            progress.say(f"All are listed in {folder / 'set_aside.jsonl'}")
        dataset = session.encode(dataset, processors)
        if session.answers() and (not plan.compared or session.objectives()) and session.joint():
            session.finetune()
        return finalize(session.plan, folder, dataset, processors, progress, log, session.notes, session.timings)
