"""One trial: a plan with other settings, judged by rows that its models did not see, part by part."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.config import Config
from polymodal.core.digest import fingerprint
from polymodal.core.errors import BadArgument, PolymodalError
from polymodal.core.files import read_json, writing
from polymodal.core.sealed import load_sealed, save_sealed
from polymodal.data.storage.dataset import Dataset
from polymodal.data.tables.source import read_table
from polymodal.experiment.augment import augmented
from polymodal.experiment.finalize import question_of
from polymodal.experiment.outcome import Outcome, Question, score_of
from polymodal.experiment.plan import Plan
from polymodal.experiment.plan import plan as make_plan
from polymodal.experiment.results import Results
from polymodal.experiment.session import Session
from polymodal.experiment.work import TEST, FitJob, answer_out, settled_out
from polymodal.models.strategy import Strategy
from polymodal.process.base import Processor
from polymodal.runs.events import Done, Failed
from polymodal.runs.folder import Interrupted
from polymodal.runs.pool import Pool
from polymodal.runs.progress import Log, Progress
from polymodal.tuning.config import TuneConfig

TIMED = 256  # test rows whose cells are kept to measure milliseconds by; no answer to them is judged
# Hears after each part the score by the rows so far, and the CPU seconds spent; raises to give up.
Report = Callable[[int, float, float], None]


class WorkerDied(PolymodalError):
    """The process that trained for a trial has died, whatever of: out of memory, or killed."""


@dataclass(frozen=True)
class Judged:
    """What a trial found: its best strategy's score, what it costs a row and on the disk, and what it answered."""

    score: float
    strategy: str
    fusion: str
    ms: float
    mb: float
    cpu_seconds: float
    outcome: Outcome


@dataclass
class Trials:
    """What all trials share: the data, read once; the default options; and, under `folder`, what was encoded.

    Raises `BadData`, `BadArgument` or `UnknownName` as `plan` does.
    """

    data: Any
    target: Any
    config: TuneConfig
    folder: Path
    valid: Any = None
    test: Any = None
    schema: Any = None

    def __post_init__(self) -> None:
        read = {"valid": self.valid, "test": self.test}
        given: dict[str, Any] = {"target": self.target, "schema": self.schema, **read}
        self.base, self.note = self._judged_by(lambda **more: make_plan(self.data, config=self._fit(**more), **given))
        with self.config.fetching():
            self._given: dict[str, Any] = {
                "data": read_table(self.data), "schema": self.base.schema,
                **{name: read_table(rows) for name, rows in read.items() if rows is not None},
            }  # fmt: skip
        self.processed: dict[str, tuple[Dataset, dict[str, Processor], dict[str, float]]] = {}
        self.stopping = False

    def _fit(self, **changes: Any) -> Config:
        return self.config.fit_config(**changes)

    def _judged_by(self, make: Callable[..., Plan]) -> tuple[Plan, str]:
        """The plan whose strategies are judged by folds, or, where these do not go, by validation rows; and why."""
        if self.config.evidence == "validation":
            return make(), "Trials are judged by validation rows, as asked."
        try:
            return make(evidence="folds"), ""
        except BadArgument as error:
            plan, (_, _, why) = make(), str(error).partition("does not go here: ")
            return plan, f"Trials are judged by validation rows, not by folds: {why.partition(' Leave it out')[0]}"

    def options(self, changes: Mapping[str, Any]) -> Config:
        """The options of a fit with `changes`, judged by the same rows as every trial."""
        return self._fit(**{"evidence": self.base.config.evidence, **changes})

    def plan(self, changes: Mapping[str, Any]) -> Plan:
        """The plan of a trial, without most test rows. Raises as `plan` does."""
        plan = make_plan(config=self.options(changes), **self._given)
        test = plan.rows("test")[TIMED:]
        kept = np.setdiff1d(np.arange(len(plan.table)), test)
        each = {name: getattr(plan, name)[kept] for name in ("split", "fold", "part", "bag")}
        truth = {name: values[kept] for name, values in plan.truth.items()}
        return replace(plan, table=plan.table.select(kept), truth=truth, compared=(), joint=(), **each)

    def run(
        self, name: str, changes: Mapping[str, Any], kept: Callable[[tuple[Strategy, ...]], Sequence[Strategy]],
        pool: Pool, report: Report,
    ) -> Judged:  # fmt: skip
        """Encode what no trial has encoded, train the strategies that are `kept` a part at a time, and judge them;
        one that fails on a part is out, so that all trials are judged by the same rows.

        Raises `PolymodalError` where nothing could be trained, `WorkerDied`, `Interrupted`, and what `report` raises.
        """
        plan, folder = self.plan(changes), self.folder / "work" / "trials" / name
        plan = replace(plan, strategies=tuple(kept(plan.strategies)))
        with Log(self.folder / "log.jsonl") as log, Progress(quiet=True) as progress:
            if plan.config.augment:
                plan, _ = augmented(plan, folder / "work" / "augmented")
            session = TrialSession(self, plan, folder, progress, pool, log, time.perf_counter())
            session.encode(*session.prepare())
            for number, seed in enumerate(plan.trainings, 1):
                jobs = [session.answer_job(strategy, seed) for strategy in plan.strategies]
                done = session.run("answers", jobs)
                plan = replace(plan, strategies=tuple(job.strategy for job in jobs if job.out in done))
                found = Results(plan, session.work, judged=False)
                best, score = self._best(plan, found)
                report(number, score, session.cpu_seconds)
        mb = _bytes(session.work, best, found) / 1e6
        judged = Judged(
            score, best.name, best.strategy.fusion or best.name, best.predict_ms, mb, session.cpu_seconds, best
        )
        save_sealed(self._answers(name), {n: _letters(np.asarray(said)) for n, said in best.valid.items()})
        self.clear(name)
        return judged

    def _best(self, plan: Plan, found: Results) -> tuple[Outcome, float]:
        """The best strategy by the rows answered so far, and its score: that of the metric, or of several targets what
        their metrics share."""
        asked = [question_of(plan, target, found.evidence) for target in plan.targets]
        scores = [(score_of(outcome, asked), outcome) for outcome in found.outcomes()]
        if not (able := [one for one in scores if np.isfinite(one[0])]):
            raise PolymodalError(f"{asked[0].metric.name} of what {scores[0][1].name} answers is no number.")
        score, best = max(able, key=lambda one: one[0])
        return best, asked[0].metric.turned(score) if len(asked) == 1 else score

    # --- answers of finished trials ---

    def clear(self, name: str) -> None:
        """Remove what a trial has written on its way, if anything."""
        shutil.rmtree(self.folder / "work" / "trials" / name, ignore_errors=True)

    def asked(self) -> list[Question]:
        """What is asked of the targets, by the rows that trials answer, in the order in which these are kept."""
        plan = self.plan({})
        parts = [np.flatnonzero(plan.bag == part) for part in range(1, plan.bagged + 1)]
        rows = np.concatenate(parts) if parts else plan.rows("valid")
        return [question_of(plan, target, rows) for target in plan.targets]

    def kept(self, name: str) -> Outcome | None:
        """What a trial answered; None where it was made elsewhere."""
        if not (path := self._answers(name)).exists():
            return None
        return Outcome(Strategy(name, name, ()), {n: _texts(said) for n, said in load_sealed(path)[0].items()}, {})

    def _answers(self, name: str) -> Path:
        return self.folder / "work" / "answers" / f"{name}.safetensors"

    @property
    def greater_is_better(self) -> bool:
        """Whether the score of a trial is better the greater it is."""
        targets = self.base.targets
        return len(targets) > 1 or question_of(self.base, targets[0]).metric.greater_is_better


class SharedSession(Session):
    """A fit under way that takes what a trial has encoded alike, and leaves what it encodes to the others."""

    dataset: Dataset

    def __init__(self, trials: Trials, *given: Any):
        super().__init__(*given)
        self.trials = trials

    def _encode(self, dataset: Dataset, streams: Sequence[str]) -> None:
        self.dataset = dataset
        super()._encode(dataset, streams)

    def run(self, name: str, jobs: Sequence[FitJob], **how: Any) -> dict[str, dict[str, Any]]:
        shared = {job.out: self._shared(job) for job in jobs if getattr(job, "stream", "") in self.plan.unlinked}
        for out, kept in shared.items():
            _copy(kept, Path(out))
        results = super().run(name, jobs, **how)
        for out in results.keys() & shared.keys():
            _copy(Path(out), shared[out])
        return results

    def _shared(self, job: Any) -> Path:
        """Where the result of an encoder's job is kept for all: by everything that it depends on."""
        plan, stream = self.plan, getattr(job, "reads", "") or job.stream
        about = {n: v for n, v in job.to_json().items() if n not in ("work", "out", "store", "inline", "start")}
        about["start"] = Path(getattr(job, "start", "")).name  # which part's encoder it goes on from, whatever folder
        about |= {name: value for name, value in read_json(self.work / "work.json").items() if name != "processing_ms"}
        learned = plan.split < TEST
        rows = [plan.split, plan.fold, plan.part, plan.bag, self.dataset.digests[stream], self.dataset.present[stream]]
        mark = fingerprint([about, [one[learned] for one in (*rows, *plan.truth.values())]])
        return self.trials.folder / "work" / "encoders" / mark


class TrialSession(SharedSession):
    """A fit under way as a trial: nothing that it fails at is left out, and it stops when the search does."""

    cpu_seconds = 0.0

    def prepare(self) -> tuple[Dataset, dict[str, Processor]]:
        """Process every cell, or take what a trial with the same processors and the same rows made of them."""
        mark = fingerprint([self.plan.to_json()["processors"], list(self.plan.config.augment)])
        known = self.trials.processed.get(mark)
        if known is None:
            dataset, processors = super().prepare()
            known = dataset, processors, read_json(self.work / "work.json")["processing_ms"]
            self.trials.processed[mark] = known
        else:
            for stream, reading in self.plan.towers.readings.items():
                if reading not in known[0].digests:
                    self.plan = self.plan.without_tower(stream, "its checkpoint could not be opened")
            self.write(*known)
        return known[:2]

    def run(self, name: str, jobs: Sequence[FitJob], **how: Any) -> dict[str, dict[str, Any]]:
        if self.trials.stopping:
            raise Interrupted("Stopped.")
        results = super().run(name, jobs, **how)
        if not results and jobs:
            raise PolymodalError(f"Nothing could be trained: {self.notes[-1] if self.notes else 'no job finished'}")
        return results

    def done(self, event: Done) -> None:
        if not event.cached:
            self.cpu_seconds += event.result["cpu_seconds"]

    def failed(self, job: FitJob, event: Failed, needed: bool) -> None:
        if self.trials.stopping:
            raise Interrupted("Stopped.")
        if event.died:
            raise WorkerDied(f"{job.name}: {event.reason}")
        super().failed(job, event, needed)


def _copy(source: Path, goal: Path) -> None:
    """Copy a finished job's files; its result last, by which it is told to be finished."""
    if not source.with_suffix(".json").exists() or goal.with_suffix(".json").exists():
        return
    for suffix in (".safetensors", ".json"):
        with writing(goal.with_suffix(suffix)) as temporary:  # another trial may read or write it at the same time
            shutil.copyfile(source.with_suffix(suffix), temporary)


def _bytes(work: Path, best: Outcome, found: Results) -> int:
    """The size of the weights that a strategy ships: of its streams' encoders and of its own models."""
    sources = [work / source for s in best.streams for source in read_json(settled_out(work, s))["sources"]]
    sources += [answer_out(work, best.strategy, seed) for seed in found.seeds[: best.trained or 1]]
    return sum(path.with_suffix(".safetensors").stat().st_size for path in sources)


def _letters(said: np.ndarray) -> np.ndarray:
    """Answers as a file of arrays holds them: of texts [...] the letters [..., L]."""
    return said.astype(f"<U{max(1, said.itemsize // 4)}")[..., None].view(np.uint32) if said.dtype.kind == "U" else said


def _texts(held: np.ndarray) -> np.ndarray:
    """What `_letters` took apart."""
    return np.ascontiguousarray(held).view(f"<U{held.shape[-1]}")[..., 0] if held.dtype == np.uint32 else held
