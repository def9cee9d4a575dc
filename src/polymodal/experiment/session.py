"""The stages of a fit under way: cells to arrays, arrays to tokens, tokens to answers, both together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from polymodal.core.digest import digest_cells
from polymodal.core.errors import DiskFull, PolymodalError
from polymodal.core.files import read_json, write_json
from polymodal.core.registry import Spec
from polymodal.core.sealed import save_sealed
from polymodal.core.shown import many
from polymodal.data.inspection.examine import misfits
from polymodal.data.kinds import KINDS
from polymodal.data.media.remarks import summed
from polymodal.data.storage.dataset import Dataset, process_table
from polymodal.data.storage.store import Store, default_store
from polymodal.data.tables.source import cells
from polymodal.experiment.answer_job import AnswerJob
from polymodal.experiment.encoder_job import GOES_ON, TRY, EncoderJob
from polymodal.experiment.end_to_end_job import EndToEndJob
from polymodal.experiment.finalize import question_of
from polymodal.experiment.joint import called_for
from polymodal.experiment.ladder import Ladder
from polymodal.experiment.neighbours import add_neighbours
from polymodal.experiment.outcome import score_of
from polymodal.experiment.plan import Plan
from polymodal.experiment.results import Results
from polymodal.experiment.scored_job import ScoredJob
from polymodal.experiment.strategies import ALWAYS, PRODUCT, fused
from polymodal.experiment.verdict import Tests, indistinct
from polymodal.experiment.work import (
    SCRATCH,
    TRIAL,
    FitJob,
    answer_out,
    encoder_out,
    scored_out,
    settled_out,
    start_out,
)  # fmt: skip
from polymodal.models.build import build_encoder
from polymodal.models.specs import listed, part_class
from polymodal.models.strategy import Strategy
from polymodal.process import PROCESSORS
from polymodal.process.base import Processor
from polymodal.runs.events import Done, EpochEnd, Failed, Skipped
from polymodal.runs.folder import begun, same_cells, set_aside
from polymodal.runs.pool import Pool
from polymodal.runs.progress import Log, Progress
from polymodal.train.encode import processing_ms

TRIALS = (TRIAL, SCRATCH)
LATER = 0.5  # of the time left: what encoders may take that others follow
UNTOLD = ("epoch", "loss", "valid", "notes", "strategy", "encoder")  # of a job's result, in the log


class Session:
    """One fit under way: the plan, where it is written, who works and who watches."""

    def __init__(self, plan: Plan, folder: Path, progress: Progress, pool: Pool, log: Log, started: float):
        self.plan, self.folder, self.progress, self.pool, self.log = plan, folder, progress, pool, log
        self.work = folder / "work"
        self.store = Store(Path(plan.config.store) if plan.config.store else default_store())
        self.deadline = started + plan.config.time_limit if plan.config.time_limit else None
        judges = [spec for specs in plan.metrics.values() for spec in specs]
        paths = [str(spec["name"] if isinstance(spec, Mapping) else spec) for spec in judges]
        self.started = {stream: str(start_out(self.work, stream)) for stream in plan.started}  # weights to start from
        self.local = any(path.startswith("__main__:") for path in paths)  # a metric of the user's own script
        self.notes: list[str] = []
        self.timings: list[dict[str, Any]] = []

    def note(self, lines: Iterable[str]) -> None:
        """What the user should know: said now, and again in the report."""
        for line in lines:
            self.notes.append(line)
            self.progress.say(line)

    # --- stage 0: cells to arrays ---

    def prepare(self) -> tuple[Dataset, dict[str, Processor]]:
        """Decode and process every cell once; write what the jobs read."""
        plan = self.plan
        processors = {n: PROCESSORS.build(spec) for n, spec in plan.processors.items() if n in plan.schema.fields}
        if plan.start:
            processors |= {stream: plan.start.processors[stream] for stream in plan.started}
        raw = {name: cells(plan.table, plan.schema.fields[name]) for name in plan.unlinked}
        for stream, reading in plan.towers.readings.items():
            try:
                processors[reading] = PROCESSORS.build(plan.processors[reading])
            except PolymodalError as error:  # a checkpoint that cannot be opened costs its rung
                self.note([f"{stream}: the pretrained tower is left out. {error}"])
                plan = self.plan = plan.without_tower(stream, str(error))
            else:
                raw[reading] = raw[stream]
        stage = self.progress.stage("processing", len(plan.table) * len(raw))
        dataset = process_table(
            raw,
            processors,
            self.store,
            fit_rows=plan.rows("train"),
            fitted=plan.started,
            ids=plan.table.ids,
            targets=dict(plan.truth),
            progress=lambda stream, cells: stage.advance(stream, cells),
        )
        if plan.start:
            self.note(plan.starting)
            self.note(plan.start.check_unseen(plan.started, dataset.digests, plan.split, targets=plan.schema.targets))
            for stream, path in self.started.items():
                save_sealed(Path(path).with_suffix(".safetensors"), plan.start.of(stream))
        dataset.agree(plan.towers.readings)
        counts = f"{many(len(dataset), 'row')} x {many(len(plan.unlinked), 'stream')}"
        seconds = stage.end(f"{counts}, {many(len(dataset.bad), 'cell')} set aside")
        self.timings.append({"what": "processing cells", "seconds": seconds})
        links = {name: digest_cells(cells(plan.table, plan.schema.fields[name])) for name in plan.linked}
        held = {**dataset.digests, **links}
        ids = dict.fromkeys(held, plan.table.ids)
        same_cells(self.work / "cells.safetensors", held, ids, begun=begun(self.folder))
        self.write(dataset, processors, self._processing_ms(dataset, raw, processors))
        wrong = [p for one in plan.schema.fields.values() for p in misfits(plan.table, plan.schema, one)]
        set_aside(self.folder, [*plan.table.problems, *dataset.bad, *wrong], dataset.noted)
        remote = plan.table.remote
        self.note([*summed(dataset.noted), *(remote.told() if remote else ())])
        return dataset, processors

    def write(self, dataset: Dataset, processors: Mapping[str, Processor], processing_ms: Mapping[str, float]) -> None:
        """What the jobs read: rows, targets and options."""
        plan = self.plan
        dataset.save(self.work / "dataset")
        save_sealed(
            self.work / "rows.safetensors",
            {
                "split": plan.split,
                "fold": plan.fold,
                "part": plan.part,
                "bag": plan.bag,
                "number": plan.table.rows,
                **({} if (groups := plan.schema.ranked(plan.table)) is None else {"groups": groups}),
            },
        )
        write_json(
            self.work / "work.json",
            {
                "dim": plan.config.dim,
                "heads": dict(plan.config.heads),
                "targets": [t.to_json() for t in plan.targets],
                "facts": {name: processors[name].facts() for name in dataset.digests},
                "processing_ms": dict(processing_ms),
                "budget_ms": plan.config.budget_ms,
                "kinds": KINDS.modules(f.kind for f in plan.schema.fields.values()),
                "metrics": plan.to_json()["metrics"],
            },
        )

    def _processing_ms(
        self, dataset: Dataset, raw: Mapping[str, Any], processors: Mapping[str, Processor]
    ) -> dict[str, float]:
        """What a cell of each stream costs; measured once a run, so that a resumed one orders streams by the same."""
        if (self.work / "work.json").exists():
            return read_json(self.work / "work.json")["processing_ms"]
        rows = self.plan.rows("train")
        return {n: processing_ms(processors[n], raw[n], rows[dataset.present[n][rows]]) for n in raw}

    # --- stage 1: arrays to tokens ---

    def encode(self, dataset: Dataset, processors: dict[str, Processor]) -> Dataset:
        """Every stream to tokens; links between rows last, since they read what the others gave."""
        self._encode(dataset, self.plan.unlinked)
        if self.plan.linked:
            dataset = add_neighbours(self.plan, dataset, processors, self.work, self.store)
            self._encode(dataset, self.plan.linked)
        return dataset

    def _encode(self, dataset: Dataset, streams: Sequence[str]) -> None:
        """Fit and train the encoders, whole and part by part, and settle which of them each stream keeps.

        Where a stream has encoders fitted in one go, the trained one must first show on one part that it is worth the
        others. So must one that starts from pretrained weights show there that it is no worse than one from scratch.
        """
        plan, both = self.plan, [s for s in streams if self.plan.fitted.get(s) and s in self.plan.trained]
        alone = [s for s in streams if s not in both]
        parts: list[Any] = [*range(plan.parts)]
        folds = [None, *parts]
        # A pretrained tower may be frozen, and its parts then the whole one: several jobs would encode the same cells
        # at once. Whether it learns is known when the whole one is built.
        waiting = {s for s in alone if getattr(part_class(plan.encoders[s]), "pretrained", False)}
        first: dict[str, list[Any]] = {s: [None] if s in waiting else parts or [None] for s in alone}
        started = [s for s in streams if s in self.started and s in plan.trained]
        first = {s: [TRIAL] if s in started else first.get(s, [TRIAL]) for s in streams if s in plan.trained}
        first |= {s: [TRIAL, SCRATCH] for s in started}
        jobs: list[EncoderJob | ScoredJob] = [job for s in self._costly_first(streams) for job in self._scored_jobs(s)]
        jobs += [self._encoder_job(s, fold) for s in self._costly_first([*first]) for fold in first[s]]
        tuned = self._costly_first([s for s in streams if s in plan.towers.aware])
        jobs += [self._encoder_job(s, fold, aware=True) for s in tuned for fold in folds[1:2] or folds]

        tries = {self._encoder(s, which) for s in streams for which in TRIALS}  # the whole training can do without

        def needed(job: Any) -> bool:
            pretrained = job.reads or job.encoder == plan.towers.frozen.get(job.stream)
            return job.stream in alone and not pretrained and job.out not in tries

        results = self.run("encoders", jobs, needed=needed)
        ladders = {s: Ladder(plan, self.work, self.store, dataset, s, folds) for s in streams}
        for stream in started:
            if not ladders[stream].start_pays(results):
                del self.started[stream]
        worth = [s for s in both if ladders[s].worth_training(results)]
        tuned = [s for s in tuned if ladders[s].worth_training(results, aware=True)]
        if (cut := dict.fromkeys([*worth, *tuned])) and self._left() <= 0:
            self.note([f"The time limit left encoders of {', '.join(cut)} trained on one part only."])
            worth, tuned = [], []
        worth += [s for s in alone if s in first and (s not in waiting or results[self._encoder(s)]["trained"])]
        more = [self._encoder_job(s, fold, aware=True) for s in tuned for fold in folds]
        # What was tried goes on as the first part's, or as the whole one; that goes on from the first part's.
        for some, start in [(parts, TRIAL), ([None], parts[0])] if parts else [([None], TRIAL)]:
            begun = {s: ladders[s].trial if start == TRIAL else start for s in worth}
            goes_on = {s for s in worth if self._encoder(s, begun[s]) in results and s not in waiting}
            more += [
                self._encoder_job(s, fold, begun[s] if s in goes_on and fold == some[0] else None)
                for s in self._costly_first(worth)
                for fold in some
            ]
            results |= self.run("encoders", [job for job in more if job.out not in results], needed=needed)
            more = []
        for stream in streams:
            told = ladders[stream].settle(results)
            self.note(f"{stream}: {note}" for note in told.pop("said"))
            self.log.write("tokens", stream=stream, **told)

    def _scored_jobs(self, stream: str) -> list[ScoredJob]:
        fitted = self.plan.fitted.get(stream, ())
        places = [self._place(scored_out(self.work, stream, i), spec) for i, spec in enumerate(fitted)]
        about: dict[str, Any] = {"stream": stream, "seed": self.plan.config.seed, "training": {}}
        return [
            ScoredJob(encoder=spec, reads=self._reads(stream, spec), **about, **place)
            for spec, place in zip(fitted, places)
        ]

    def _encoder_job(self, stream: str, fold: Any, start: Any = None, *, aware: bool = False) -> EncoderJob:
        """The training of a part (None: of the whole), or, for less, of what is `TRIAL` or `SCRATCH`; it goes on from
        `start`'s."""
        config, spec = self.plan.config, (self.plan.towers.aware if aware else self.plan.encoders)[stream]
        training = {**config.training, **config.encoder_training}
        place = self._place(encoder_out(self.work, stream, fold, aware), spec)
        return EncoderJob(
            stream=stream, fold=(0 if self.plan.parts else None) if fold in TRIALS else fold, encoder=spec,
            seed=config.seed, training=training, scored=bool(self.plan.fitted.get(stream)),
            reads=self._reads(stream, spec),
            share=TRY if {fold, start} & {*TRIALS} else 1.0 if start is None else GOES_ON,
            start="" if start is None else self._encoder(stream, start),
            pretrained="" if aware or fold == SCRATCH else self.started.get(stream, ""), **place,
        )  # fmt: skip

    def _encoder(self, stream: str, fold: Any = None) -> str:
        """The output path of a job that trains a stream's encoder."""
        return str(encoder_out(self.work, stream, fold))

    def _reads(self, stream: str, spec: Spec) -> str:
        """The dataset's stream whose arrays an encoder reads; empty where it is its own."""
        reads = self.plan.towers.reads(stream, spec)
        return "" if reads == stream else reads

    def _place(self, out: Path, *specs: Spec) -> dict[str, Any]:
        """Where a job works and writes; `inline` where a class is in the user's own script, out of a worker's reach."""
        inline = self.local or any(part_class(spec).__module__ == "__main__" for spec in specs)
        where = {"work": str(self.work.resolve()), "store": str(self.store.root.resolve())}
        return {**where, "out": str(out), "inline": inline}

    def _costly_first(self, streams: Sequence[str]) -> list[str]:
        """Long jobs first, so that no core idles at the end."""
        return sorted(streams, key=lambda stream: -self.plan.schema.fields[stream].about.cost)

    # --- stage 2: tokens to answers ---

    def answers(self) -> bool:
        """Train every strategy with every seed; False when the user stopped it, and some are finished.

        Seeds outermost, so that a time limit leaves all with the same seeds; one seed of what a verdict needs (single
        modalities, concat, late mean) is trained whatever the limit.
        """
        config = self.plan.config
        jobs = [self.answer_job(strategy, seed) for seed in self.plan.trainings for strategy in self.plan.strategies]
        needed = [j for j in jobs if j.seed == config.seed and _needed(j.strategy)] if self.deadline else []
        try:
            if needed:
                self.run("baselines", needed)
            self.run("strategies", [j for j in jobs if j not in needed], limited=True)
        except KeyboardInterrupt:
            if not any(Path(f"{j.out}.json").exists() for j in jobs):
                raise
            self._stopped("strategies that had not finished are missing")
            return False
        return True

    def answer_job(self, strategy: Strategy, seed: int) -> AnswerJob:
        training = {**self.plan.config.training, **self.plan.config.answer_training}
        place = self._place(answer_out(self.work, strategy, seed), *strategy.specs)
        held = 1 + seed - self.plan.config.seed if self.plan.bagged else 0
        return AnswerJob(strategy=strategy, seed=seed, held=held, training=training, **place)

    def _end_to_end_job(self, strategy: Strategy, seed: int) -> EndToEndJob:
        config, encoders, tuned = self.plan.config, dict(self.plan.encoders), strategy.encoders == "finetuned"
        if tuned:
            encoders = {name: read_json(settled_out(self.work, name))["encoder"] for name in strategy.streams}
        training = dict(config.finetune_training if tuned else config.joint_training)
        place = self._place(answer_out(self.work, strategy, seed), *strategy.specs, *encoders.values())
        pretrained = {} if tuned else {n: path for n, path in self.started.items() if n in strategy.streams}
        return EndToEndJob(
            strategy=strategy, seed=seed, training=training, encoders=encoders, pretrained=pretrained, **place
        )

    def _ranked(self, finished: Results, names: Iterable[str]) -> list[str]:
        """Those of the strategies `names` that are finished, best validation score first."""
        questions = [question_of(self.plan, target, finished.evidence) for target in self.plan.targets]
        able = [o for o in finished.outcomes() if o.name in names]
        return [o.name for o in sorted(able, key=lambda o: -score_of(o, questions))]

    def objectives(self) -> bool:
        """Train the fusion by every objective to compare, and with none; False when the user stopped it."""
        plan, config = self.plan, self.plan.config
        named = listed(config.objectives_on)
        ranked = self._ranked(Results(plan, self.work), {s.fusion for s in plan.compared} - set(named))
        chosen = {*named, *(ranked[:1] if "best" in named else [])}
        seeds = range(config.seed, config.seed + config.seeds)
        rows = [s for s in plan.compared if s.fusion in chosen]
        return self._together("objectives", [self.answer_job(s, seed) for seed in seeds for s in rows])

    def _stopped(self, what: str) -> None:
        self.notes.append(f"Interrupted: {what}.")
        self.progress.say("stopping: concluding with the strategies that are finished")

    # --- stage 3: encoders and answers together ---

    def joint(self) -> bool:
        """Train fusions and their encoders together from the start, where that is asked for or called for.

        The single modalities and the concatenation are trained alike. A row that is to be deployed is asked for. False
        when the user stopped it.
        """
        plan, config = self.plan, self.plan.config
        if not plan.joint:
            if config.joint is True:
                self.note(["Nothing is fused here, so nothing is trained jointly."])
            return True
        asked = config.joint is True or config.deploy in {s.name for s in plan.joint}
        finished = Results(plan, self.work)
        if not any(map(self._learns, plan.streams)):
            if asked:
                self.note(["No encoder is trained in this fit, so none is trained jointly."])
            return True
        if not asked:
            questions = [question_of(plan, t, finished.evidence) for t in plan.targets]
            why = called_for(finished.outcomes(), questions, config.seed)
            if not why:
                return True
            self.note([f"{why} So encoders and fusions are also trained together from the start (joint)."])
        rows = plan.joint
        if config.joint_on == "auto":
            best = self._ranked(finished, {s.fusion for s in rows})[:1]
            kept = {*best, PRODUCT, "concat"}
            rows = tuple(
                s for s in rows if s.family == "single" or s.fusion in kept or fused(s) or s.name == config.deploy
            )
        jobs = [self._end_to_end_job(strategy, seed) for seed in finished.seeds[:1] for strategy in rows]
        return self._together("joint training", jobs)

    def _learns(self, stream: str) -> bool:
        """Whether the encoder that is trained together with an answer has anything to learn."""
        facts = read_json(self.work / "work.json")["facts"][stream]
        encoder = build_encoder(self.plan.encoders[stream], facts, self.plan.config.dim)
        return any(p.requires_grad for p in encoder.parameters())

    def finetune(self) -> None:
        """Train the best fusion by validation, and its encoders, together; where objectives are compared, by each.

        So are the single modalities and the concatenation that a verdict compares it with; they come last, so that a
        time limit leaves a comparison of before fine-tuning rather than no fine-tuned fusion.
        """
        if not self.plan.config.finetune:
            return
        finished = Results(self.plan, self.work)
        every = (*self.plan.strategies, *self.plan.compared)
        trained = {name for name, encoder in finished.encoders.items() if encoder["trained"]}
        idle = {s.name for s in every if s.family in ("single", "decision") and not trained & {*s.streams}}
        trainable = {s.name for s in every if s.family in ("fusion", "decision") or s.adapters or fused(s)} - idle
        chosen = dict.fromkeys([*self._ranked(finished, trainable)[:1], *(s.name for s in self.plan.compared)])
        if chosen:
            singles = [o for o in finished.outcomes() if o.level == "single" and not o.strategy.end_to_end]
            tests = [Tests(question_of(self.plan, t), self.plan.config.seed, "valid") for t in self.plan.targets]
            chosen |= {o.name: None for test in tests for o in indistinct(singles, [test])}
            chosen |= {"concat": None} if "concat" in trainable else {}
        self._together(
            "fine-tuning",
            [
                self._end_to_end_job(replace(Strategy.from_json(result["strategy"]), encoders="finetuned"), seed)
                for name in chosen
                if name not in idle
                for seed, result in zip(finished.seeds, finished.answers.get(name, ()))
            ],
        )

    def _together(self, name: str, jobs: Sequence[FitJob]) -> bool:
        """Carry out jobs that a conclusion can do without; False when the user stopped them."""
        try:
            self.run(name, jobs, limited=True)
        except KeyboardInterrupt:
            self._stopped(f"{name} did not finish")
            return False
        return True

    def run(
        self, name: str, jobs: Sequence[FitJob], *, limited: bool = False,
        needed: Callable[[Any], bool] = lambda job: False,
    ) -> dict[str, dict[str, Any]]:  # fmt: skip
        """Run jobs, show and log their events; results by output path.

        A job that fails leaves a note, or, where it is needed, ends the fit with `PolymodalError`.
        """
        if not jobs:
            return {}
        jobs = self._bounded(jobs, 1.0 if limited else LATER)
        stage = self.progress.stage(name, len(jobs))
        results: dict[str, dict[str, Any]] = {}
        late = 0
        deadline = self.deadline if limited else None
        for job, event in self.pool.run(jobs, until=deadline):
            if isinstance(event, EpochEnd):
                stage.detail(f"{job.name}: epoch {event.number}/{event.of}, valid {event.valid or 0:.3f}")
                self.log.write("epoch", job=job.name, number=event.number, loss=event.loss, valid=event.valid)
            elif isinstance(event, Done):
                self.done(event)
                results[job.out] = event.result
                if isinstance(job, AnswerJob) and (judged := [v for v in event.result["valid"] if v is not None]):
                    stage.score(job.name, max(judged))
                self.note(f"{job.name}: {note}" for note in event.result.get("notes", ()))
                stage.advance(job.name)
                kept = {k: v for k, v in event.result.items() if k not in UNTOLD}
                self.log.write("done", job=job.name, **kept)
            elif isinstance(event, Failed):
                self.log.write("failed", job=job.name, reason=event.reason, trace=event.trace)
                self.failed(job, event, needed(job))
                stage.advance(job.name)
            elif isinstance(event, Skipped):
                late += 1
        if late:
            self.note([f"The time limit left {late} of {len(jobs)} fits undone."])
        self.timings.append(
            {"what": f"{name}: {len(results)} fits", "seconds": stage.end(f"{len(results)} of {len(jobs)} fits")}
        )
        return results

    def _left(self) -> float:
        """Seconds that the time limit leaves."""
        return float("inf") if self.deadline is None else max(0.0, self.deadline - time.perf_counter())

    def _bounded(self, jobs: Sequence[FitJob], share: float) -> list[FitJob]:
        """The jobs, where those that train encoders get alike of a share of the time left."""
        if self.deadline is None:
            return [*jobs]
        count = sum(isinstance(job, EncoderJob | EndToEndJob) for job in jobs)
        each = share * self._left() * min(1.0, max(1, self.pool.workers) / max(1, count))
        return [replace(j, seconds=each) if isinstance(j, EncoderJob | EndToEndJob) else j for j in jobs]

    def done(self, event: Done) -> None:
        """Hear that a job is done."""

    def failed(self, job: FitJob, event: Failed, needed: bool) -> None:
        """A job that failed is left out; `PolymodalError` where nothing can do without it, or `DiskFull`."""
        if event.full:
            raise DiskFull(f"{event.reason} What is finished is kept for --resume.")
        if needed:
            raise PolymodalError(
                f"The encoder {job.name!r} failed, and no fusion can do without it; what is finished is "
                f"kept for --resume. {event.reason}"
            )
        self.note([f"{job.name} failed and is left out: {event.reason}"])


def _needed(strategy: Strategy) -> bool:
    return strategy.family == "single" or strategy.name in ALWAYS
