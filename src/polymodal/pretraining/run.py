"""pretrain: encoders that learn from rows without labels, resumable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polymodal.aligners import ALIGNERS
from polymodal.config import Training
from polymodal.core.errors import BadData
from polymodal.core.files import read_json, write_json
from polymodal.core.runtime import device_of, told
from polymodal.core.sealed import load_sealed, save_sealed
from polymodal.core.shown import many
from polymodal.data.cells import cells
from polymodal.data.media.remarks import summed
from polymodal.data.split import SAMPLE, some_of
from polymodal.data.storage.dataset import Dataset, process_table
from polymodal.data.storage.store import Store, default_store
from polymodal.data.tables.table import problem_lines
from polymodal.encoders.base import Encoder
from polymodal.inference.start import Start, named
from polymodal.models.build import build_encoder, parameters
from polymodal.pretraining.captioning import Captioner
from polymodal.pretraining.learning import Learning
from polymodal.pretraining.plan import PretrainPlan, plan_pretrain
from polymodal.process import PROCESSORS
from polymodal.report import pretrain_page
from polymodal.runs.folder import Finished, begun, claimed, environment, same_cells, set_aside
from polymodal.runs.progress import Log, Progress, tracker_of, write_trackers
from polymodal.train.loop import OutOfMemory, train

LEARNED = "learned"  # name of the files in work/encoders that hold what was learned
RECIPE = {"epochs": 40, "batch": 128, "lr": 2e-3, "weight_decay": 0.05, "patience": 10}


class Pretrained(Finished):
    """The folder of a finished `pretrain` run."""

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {value:.2f}" for name, value in self.metrics["valid"].items())
        return f"Pretrained({str(self.folder)!r}: {found} of knowing nothing)"


def pretrain(
    data: Any,
    target: str | Sequence[str] | None = None,
    *,
    out: str | Path,
    streams: str | Sequence[str] | None = None,
    valid: Any = None,
    test: Any = None,
    schema: Any = None,
    config: Any = None,
    resume: bool = False,
    quiet: bool = False,
    **options: Any,
) -> Pretrained:
    """Train the encoders of a table's streams without labels, for `fit` and `align` to start from (`start=out`).

    Arguments as in `plan_pretrain`; `options` are the fields of `PretrainConfig`, first of all `objective`. Rows
    without a label count. The training rows are learned from, the validation rows choose the epoch; test rows are not
    read, unless `test_rows` asks for it.

    Raises `BadArgument` when `out` holds another run, `BadData` for unusable data, `Interrupted` when stopped early.
    """
    plan = plan_pretrain(data, target, streams=streams, valid=valid, test=test, schema=schema, config=config, **options)
    folder = Path(out)
    tracker_of(plan.config.trackers)
    with (
        claimed(folder, plan.to_json(), [list(plan.table.ids), plan.split], resume),
        Log(folder / "log.jsonl") as log,
        Progress(quiet=quiet) as progress,
    ):
        return _Session(plan, folder, log, progress).run()


class _Session:
    """One run under way. Of the table only the rows that are used are kept."""

    def __init__(self, plan: PretrainPlan, folder: Path, log: Log, progress: Progress):
        self.plan, self.folder, self.log, self.progress = plan, folder, log, progress
        used = np.sort(np.concatenate([plan.learned, plan.judged]))
        self.table, self.tested = plan.table.select(used), int((plan.split[used] == 2).sum())
        judged = np.isin(used, plan.judged)
        self.rows, self.judges = np.flatnonzero(~judged), np.flatnonzero(judged)
        self.store = Store(Path(plan.config.store) if plan.config.store else default_store())
        self.device = device_of(plan.config.device)
        self.processors = {name: PROCESSORS.build(spec) for name, spec in plan.processors.items()}
        self.notes = list(plan.notes)
        self.timings: list[dict[str, Any]] = []
        self.set_aside = 0

    def run(self) -> Pretrained:
        for note in (*told(self.device), *self.plan.notes):
            self.progress.say(note)
        dataset = self._process()
        learning, objective = self._build(dataset)
        curve = self._learn(learning)
        return self._conclude(dataset, learning.eval(), objective, curve)

    def _note(self, line: str) -> None:
        self.notes.append(line)
        self.progress.say(line)

    def _timed(self, what: str, seconds: float) -> None:
        self.timings.append({"what": what, "seconds": seconds})

    def _process(self) -> Dataset:
        """Decode and process every cell of the used rows once."""
        fields = self.plan.schema.fields
        stage = self.progress.stage("processing", len(self.table) * len(fields))
        dataset = process_table(
            {name: cells(self.table, field) for name, field in fields.items()},
            self.processors,
            self.store,
            ids=self.table.ids,
            fit_rows=self.rows,
            progress=lambda stream, count: stage.advance(stream, count),
        )
        record = self.folder / "work" / "cells.safetensors"
        same_cells(record, dataset.digests, dict.fromkeys(fields, self.table.ids), begun=begun(self.folder))
        problems = [*self.table.problems, *dataset.bad]
        self.set_aside = len(problems)
        set_aside(self.folder, problems, dataset.noted)
        for line in (*problem_lines(problems), *summed(dataset.noted)):
            self.progress.say(line)
        self._timed("processing cells", stage.end(f"{many(len(self.table), 'row')} x {many(len(fields), 'stream')}"))
        return dataset

    def _build(self, dataset: Dataset) -> tuple[Learning, str]:
        """Encoders as they start, and what they learn by; the objective by name."""
        plan, config = self.plan, self.plan.config
        torch.manual_seed(config.seed)
        encoders: dict[str, Encoder] = {}
        for name in plan.schema.fields:
            if not dataset.present[name][self.rows].any():
                raise BadData(f"No row that is learned from has a usable cell of {name!r}: leave it out (--streams).")
        for name, spec in plan.encoders.items():
            there = self.rows[dataset.present[name][self.rows]]
            encoder = build_encoder(spec, self.processors[name].facts(), config.dim)
            if not any(p.requires_grad for p in encoder.parameters()):
                self._note(f"{name} is left out: its encoder has nothing to learn.")
                continue
            encoder.fit_statistics(dataset.tensors(name, some_of(there, SAMPLE)))
            encoders[name] = encoder
        masked = [n for n, e in encoders.items() if e.hideable(dataset.tensors(n, self.rows[:2])) is not None]
        objective = self._objective(dataset, [*encoders], masked)
        masked = masked if objective in ("masked", "both") else []
        if silent := [n for n in encoders if n not in masked and objective == "masked" and not config.across]:
            self._note(f"{', '.join(silent)}: has no parts to hide, and learns nothing.")
        widths = {name: encoder.dim for name, encoder in encoders.items()}
        aligner = None if objective in ("masked", "captioning") else ALIGNERS.build("infonce", widths, config.dim)
        captioners = self._captioners(dataset, [name for name in encoders if name not in plan.written])
        every = np.concatenate([self.rows, self.judges])
        return Learning(
            encoders, aligner, masked, dataset, every, self.rows,
            dim=config.dim, hidden=config.hidden, across=config.across, captioners=captioners,
            weight=config.weight if objective == "mix" else 1.0,
        ), objective  # fmt: skip

    def _captioners(self, dataset: Dataset, read: Sequence[str]) -> dict[str, Captioner]:
        """What writes each stream of text that is written. Raises `BadData` where no row has words and more."""
        found = {}
        seen = np.any([dataset.present[name] for name in read], axis=0)
        for name in self.plan.written:
            every, there = cells(self.table, self.plan.schema.fields[name]), dataset.present[name]
            texts = [every[row] if there[row] else None for row in range(len(every))]
            found[name] = captioner = Captioner(name, self.plan.config.dim, texts, self.rows)
            words = int(captioner.has_words[self.rows].sum())
            both = int((captioner.has_words & seen)[self.rows].sum())
            if not both:
                raise BadData(
                    f"No row that is learned from has words in {name!r} and a usable cell of {', '.join(read)}, from "
                    "which they are written: leave it out of captions."
                )
            if both < words:
                self._note(
                    f"{name} is written in {many(both, 'row')}; {words - both:,} more hold words and nothing to read."
                )
            for line in captioner.remarks():
                self._note(line)
        return found

    def _objective(self, dataset: Dataset, streams: Sequence[str], masked: Sequence[str]) -> str:
        """The objective that was asked for, or that these data let be. Raises `BadData` where it cannot be."""
        asked = self.plan.config.objective
        there = np.stack([dataset.present[name][self.rows] for name in streams]) if streams else np.zeros((0, 1), bool)
        shared = int((there.sum(0) > 1).sum())
        if asked in ("contrastive", "both", "mix") and shared < 2:
            other = "captioning" if asked == "mix" else "masked"
            raise BadData(
                f"objective={asked} contrasts streams that stand in one row, and {shared} rows that are learned from "
                f"have two of {', '.join(streams)}. Use objective={other}, or give rows in which both are filled in."
            )
        if self.plan.written and not {*streams}.difference(self.plan.written):
            raise BadData(
                f"objective={asked} writes {', '.join(self.plan.written)} from other streams, and none of them has an "
                "encoder that could learn. Give another stream, or name in captions those that are written."
            )
        if asked in ("masked", "both") and not masked:
            raise BadData(f"objective={asked}: no encoder of {', '.join(streams)} has parts that can be hidden.")
        if asked != "auto":
            return asked
        if not masked and shared < 2:
            raise BadData(
                f"Nothing to learn by: {', '.join(streams) or 'no stream'} can neither be masked nor contrasted."
            )
        found = "masked" if shared < 2 else "both" if masked else "contrastive"
        self._note(f"Objective: {found}; {many(shared, 'row')} with two streams or more.")
        return found

    def _learn(self, learning: Learning) -> dict[str, list[float]]:
        """Train in place and give the curve; resumed from where it stood."""
        plan, weights = self.plan, self.folder / "work" / "encoders" / f"{LEARNED}.safetensors"
        about, checkpoint = weights.with_suffix(".json"), weights.with_suffix(".checkpoint")
        if about.exists():
            learning.load_state_dict(load_sealed(weights, tensors=True)[0])
            learning.to(self.device)
            return read_json(about)
        recipes = (e.recipe().get("precision", "auto") for e in learning.encoders.values())  # type: ignore[operator]
        precision = next((one for one in recipes if one != "auto"), "auto")
        options = Training(modality_dropout=0.0).with_({**RECIPE, "precision": precision, **plan.config.training})
        curve: dict[str, list[float]] = {"epoch": [], "loss": [], "valid": [], "seconds": []}
        stage = self.progress.stage("pretraining", options.epochs)
        for epoch in train(
            learning.to(self.device),
            learning.loss,
            lambda: learning.score(self.judges, plan.config.seed),
            torch.from_numpy(self.rows),
            options,
            seed=plan.config.seed,
            checkpoint=checkpoint,
            smaller=_no_smaller if learning.aligner is not None else None,
        ):
            for key, value in zip(curve, (epoch.number, epoch.loss, epoch.valid, epoch.seconds)):
                curve[key].append(value)
            self.log.write("epoch", job=LEARNED, number=epoch.number, loss=epoch.loss, valid=epoch.valid)
            stage.advance(f"epochs, loss {epoch.loss:.3f}", epoch.number - stage.done)
            if epoch.note:
                self._note(epoch.note)
        self._timed("pretraining", stage.end(many(len(curve["epoch"]), "epoch")))
        save_sealed(weights, learning.state_dict())
        write_json(about, curve)
        checkpoint.unlink(missing_ok=True)
        return curve

    def _conclude(
        self, dataset: Dataset, learning: Learning, objective: str, curve: Mapping[str, list[float]]
    ) -> Pretrained:
        """Write the files of the run."""
        plan, config = self.plan, self.plan.config
        found = learning.measure(self.judges, config.seed)
        blind = learning.measure(self.judges, config.seed, blind=True) if plan.written else {}
        encoders = {name: encoder.cpu() for name, encoder in learning.encoders.items()}
        rows = {"learned": len(self.rows), "judged": len(self.judges), "test": self.tested}
        about = {
            "encoders": {name: plan.encoders[name] for name in encoders}, "dim": config.dim, "objective": objective,
            "test_rows": config.test_rows, "rows": rows,
            "targets": {name: named(spec) for name, spec in plan.targets.items()},
        }  # fmt: skip
        kept = {name: self.processors[name] for name in encoders}
        Start.made(
            self.folder, plan.schema, {n: plan.processors[n] for n in kept}, kept, encoders, about,
            {name: dataset.digests[name] for name in encoders},
        ).save({"config": config.to_dict(), "sources": dict(plan.sources)})  # fmt: skip
        write_trackers(tracker_of(config.trackers), self.folder, {LEARNED: curve})
        metrics = {
            "objective": objective,
            "streams": {name: plan.schema.fields[name].kind for name in encoders},
            "rows": rows,
            "valid": found,
            "epochs": len(curve["epoch"]),
            "blind": {name: blind[name] for name in plan.written if name in blind},
            "parameters": parameters(*encoders.values()),
            "left_behind": parameters(learning) - parameters(*encoders.values()),
            "set_aside": self.set_aside,
            "notes": self.notes,
            "timings": self.timings,
            "environment": environment(),
        }
        write_json(self.folder / "metrics.json", metrics)
        (self.folder / "report.html").write_text(pretrain_page.render(metrics, curve), encoding="utf-8")
        self.progress.say(" ".join(pretrain_page.sentences(metrics)))
        return Pretrained(self.folder)


def _no_smaller() -> str:
    raise OutOfMemory("A batch does not fit into memory, and its rows are contrasted with one another: lower batch.")
