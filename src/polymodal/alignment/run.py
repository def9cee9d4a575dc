"""align: from a table to a space in which its streams can be compared, resumable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from polymodal.aligners import ALIGNERS
from polymodal.aligners.base import Aligner
from polymodal.aligners.doctor import examine
from polymodal.aligners.pairs import Side
from polymodal.alignment.config import AlignConfig, Matching
from polymodal.alignment.items import Chosen, Tower, sides
from polymodal.alignment.layers import is_open, resolve_layers
from polymodal.alignment.matching import MatchTraining
from polymodal.alignment.plan import AlignPlan, plan_align
from polymodal.alignment.report import write_align_report
from polymodal.alignment.reranking import Embedded, Judged, Reader, measure
from polymodal.alignment.train import JUDGED, AlignTraining, embed_items, linked_ways, recall
from polymodal.core.errors import BadData
from polymodal.core.files import read_json, write_json
from polymodal.core.registry import label
from polymodal.core.runtime import device_of, told
from polymodal.core.sealed import load_sealed, save_sealed
from polymodal.core.shown import many
from polymodal.data.items import Items, items
from polymodal.data.media.remarks import summed
from polymodal.data.split import PARTS
from polymodal.data.storage.dataset import Dataset, process_table
from polymodal.data.storage.store import Store, default_store
from polymodal.data.tables.source import Problem
from polymodal.data.tables.table import problem_lines
from polymodal.encoders.base import Encoder
from polymodal.evaluation.retrieval import evidence, retrieval_ranks
from polymodal.inference.space import Space
from polymodal.metrics.random_order import NOT_ABOVE
from polymodal.models.build import build_encoder, parameters
from polymodal.models.matching import Matcher
from polymodal.process import PROCESSORS
from polymodal.process.base import Processor
from polymodal.report.align_page import matching_words
from polymodal.runs.folder import Finished, begun, claimed, environment, same_cells, set_aside
from polymodal.runs.progress import Log, Progress, tracker_of, write_trackers
from polymodal.train.encode import store_tokens
from polymodal.train.loop import Epoch

LEARNED, MATCHED = "aligner", "matcher"  # names of the files in work/encoders that hold what was learned


class Aligned(Finished):
    """The folder of a finished `align` run and the space in it."""

    def __init__(self, folder: str | Path, space: Space | None = None, *, trust: str | Sequence[str] = ()):
        super().__init__(folder)
        self.space = space or Space.load(self.folder, trust=trust)

    def __repr__(self) -> str:
        ways = []
        for way, scores in self.metrics["test"].items():
            first = scores["recall@1"]
            chance = f" (chance {first['chance']:.1%})" if "chance" in first else ""  # runs of before have none
            ways.append(f"{way} R@1 {first['mean']:.1%}{chance}")
        return f"Aligned({str(self.folder)!r}: {'; '.join(ways)})"


def align(
    data: Any,
    streams: str | Sequence[str] | None = None,
    *,
    out: str | Path,
    valid: Any = None,
    test: Any = None,
    schema: Any = None,
    config: AlignConfig | str | Path | Mapping[str, Any] | None = None,
    resume: bool = False,
    quiet: bool = False,
    **options: Any,
) -> Aligned:
    """Bring two streams or more of a table into one space, and measure how well each finds the other.

    `data`, `valid` and `test` are whatever `read_table` reads; `streams` as in `plan_align` (`caption_*` is one stream
    with several items a row); `options` are the fields of `AlignConfig`, first of all `method`, `towers` and
    `encoders`. Every cell is processed once, frozen towers encode every different cell once, and small heads are
    trained on the store; `towers="scratch"` or `"finetune"` train the encoders as well. The epoch is chosen by recall
    on the validation rows; the test rows are read once.

    Raises `BadArgument` when `out` holds another run, `BadData` for unusable data, `Interrupted` when stopped early.
    """
    plan = plan_align(data, streams, valid=valid, test=test, schema=schema, config=config, **options)
    folder = Path(out)
    tracker_of(plan.config.trackers)
    with (
        claimed(folder, plan.to_json(), [list(plan.table.ids), plan.split], resume),
        Log(folder / "log.jsonl") as log,
        Progress(quiet=quiet) as progress,
    ):
        return _Session(plan, folder, log, progress).run()


class _Session:
    """One run under way."""

    def __init__(self, plan: AlignPlan, folder: Path, log: Log, progress: Progress):
        self.plan, self.folder, self.log, self.progress = plan, folder, log, progress
        self.store = Store(Path(plan.config.store) if plan.config.store else default_store())
        self.timings: list[dict[str, Any]] = []
        self.device = device_of(plan.config.device)
        self.processors: dict[str, Processor] = {}
        self.encoders: dict[str, Encoder] = {}
        self.problems: list[Problem] = list(plan.table.problems)
        self.remarks: list[Problem] = []
        self.notes = list(plan.notes)
        self.costs: dict[str, float] = {}  # milliseconds that a frozen tower takes for one item

    def run(self) -> Aligned:
        for note in (*told(self.device), *self.plan.notes):
            self.progress.say(note)
        towers = self._encode(self._process())
        chosen = {part: self._chosen(towers, part) for part in PARTS}
        set_aside(self.folder, self.problems, self.remarks)
        aligner, curve = self._learn(towers, chosen)
        return self._conclude(towers, chosen, aligner.eval(), curve)

    def _process(self) -> dict[str, tuple[Items, Dataset]]:
        """Decode and process every cell once, a stream at a time."""
        plan = self.plan
        streams = {name: items(plan.table, field) for name, field in plan.schema.fields.items()}
        stage = self.progress.stage("processing", sum(map(len, streams.values())))
        train = np.zeros(len(plan.table), bool)
        train[plan.rows("train")] = True
        datasets = {}
        for name, some in streams.items():
            ready = plan.start.processors[name] if plan.start and name in plan.started else None
            self.processors[name] = ready or PROCESSORS.build(plan.processors[name])
            datasets[name] = process_table(
                {name: some.cells},
                {name: self.processors[name]},
                self.store,
                ids=[str(place) for place in range(len(some))],
                fit_rows=np.flatnonzero(train[some.row]),
                fitted=plan.started,
                progress=lambda stream, cells: stage.advance(stream, cells),
            )
            for mine, theirs in ((self.problems, datasets[name].bad), (self.remarks, datasets[name].noted)):
                for one in theirs:
                    place = int(one.row)
                    mine.append(Problem(plan.table.ids[some.row[place]], some.column[place], one.reason))
        self._note(summed(self.remarks))
        digests = {name: dataset.digests[name] for name, dataset in datasets.items()}
        if plan.start:
            row = {name: some.row for name, some in streams.items()}
            self._note(plan.start.check_unseen(plan.started, digests, plan.split, row))
        rows = {name: [plan.table.ids[row] for row in some.row.tolist()] for name, some in streams.items()}
        same_cells(self.folder / "work" / "cells.safetensors", digests, rows, begun=begun(self.folder))
        for line in problem_lines(self.problems):
            self.progress.say(line)
        aside = f"{many(len(self.problems), 'cell')} set aside" + (
            ", listed in set_aside.jsonl" if self.problems else ""
        )
        self._timed("processing cells", stage.end(f"{many(sum(map(len, streams.values())), 'item')}, {aside}"))
        return {name: (some, datasets[name]) for name, some in streams.items()}

    def _encode(self, processed: Mapping[str, tuple[Items, Dataset]]) -> dict[str, Tower]:
        """Build the encoders; those without anything to learn encode every different cell once."""
        self._choose_layers(processed)
        towers = {}
        stage = self.progress.stage("encoding", len(processed))
        for name, (some, dataset) in processed.items():
            torch.manual_seed(self.plan.config.seed)
            encoder = build_encoder(self.plan.encoders[name], self.processors[name].facts(), self.plan.config.width)
            if self.plan.start and name in self.plan.started:
                encoder.load_state_dict(self.plan.start.of(name))
            self.encoders[name] = encoder.eval()
            group = None
            if not any(p.requires_grad for p in encoder.parameters()):
                result = store_tokens(encoder.to(self.device), dataset, name, self.store)
                encoder.cpu()
                group, self.costs[name] = result["group"], result["ms_per_row"]
                self.log.write("tokens", stream=name, **result)
            elif self.plan.towers == "frozen":
                raise BadData(
                    f"The encoder of {name!r} has parameters to learn, but towers are frozen. Freeze it (tune: frozen, "
                    "requires_grad_(False)), or use --towers finetune."
                )
            towers[name] = Tower(name, some, dataset, encoder, group, self.store)
            stage.advance(name)
        self._timed("encoding items", stage.end())
        return towers

    def _choose_layers(self, processed: Mapping[str, tuple[Items, Dataset]]) -> None:
        plan = self.plan
        if any(is_open(spec) for spec in plan.encoders.values()):
            specs, words = resolve_layers(
                plan.encoders, processed, self.processors, plan.rows("train"),
                width=plan.config.width, seed=plan.config.seed,
            )  # fmt: skip
            self.plan = replace(plan, encoders=specs)
            self._note(words)

    def _chosen(self, towers: Mapping[str, Tower], part: str) -> dict[str, Chosen]:
        rows = self.plan.rows(part)
        if part == "valid" and len(rows) > JUDGED:
            rows = np.sort(np.random.default_rng(self.plan.config.seed).choice(rows, JUDGED, replace=False))
        by_stream = {name: tower.choose(rows, len(self.plan.table)) for name, tower in towers.items()}
        if empty := [name for name, chosen in by_stream.items() if not len(chosen)]:
            raise BadData(
                f"No {part} row has a usable cell of {', '.join(empty)}; set_aside.jsonl says why, if any is."
            )
        return by_stream

    def _learn(
        self, towers: dict[str, Tower], chosen: Mapping[str, Mapping[str, Chosen]]
    ) -> tuple[Aligner, dict[str, list[float]]]:
        """The trained or fitted aligner, and the curve of its training; encoders that learn are trained in place."""
        plan = self.plan
        torch.manual_seed(plan.config.seed)
        widths = {name: encoder.dim for name, encoder in self.encoders.items()}
        aligner: Aligner = ALIGNERS.build(plan.method, widths, plan.config.dim)
        self._tell(aligner)
        if plan.learns == "fit":
            return self._fitted(aligner, towers, chosen)
        training = AlignTraining(
            aligner, towers, chosen["train"], plan.config.chunk, plan.config.training, self.device, started=plan.started
        )
        checkpoint = self._file(LEARNED, ".checkpoint")
        events = training.run(plan.rows("train"), chosen["valid"], plan.config.seed, checkpoint)
        does = "aligning", f" by {label(plan.method)}", "recall"
        return aligner, self._trained(LEARNED, does, training.module, training.settings.epochs, events)

    def _trained(
        self, job: str, does: tuple[str, str, str], module: nn.Module, epochs: int, events: Iterable[Epoch]
    ) -> dict[str, list[float]]:
        """The curve of a training that `events` carry out in place, or that was carried out before; `does` says what,
        how, and by which score epochs are chosen."""
        weights, about, checkpoint = (self._file(job, end) for end in (".safetensors", ".json", ".checkpoint"))
        if about.exists():
            module.load_state_dict(load_sealed(weights, tensors=True)[0])
            module.to(self.device)
            return read_json(about)
        curve: dict[str, list[float]] = {"epoch": [], "loss": [], "valid": [], "seconds": []}
        what, how, score = does
        stage = self.progress.stage(f"{what}{how}", epochs)
        for epoch in events:
            for key, value in zip(curve, (epoch.number, epoch.loss, epoch.valid, epoch.seconds)):
                curve[key].append(value)
            self.log.write("epoch", job=job, number=epoch.number, loss=epoch.loss, valid=epoch.valid)
            stage.score(f"epoch {epoch.number}", epoch.valid)
            stage.advance(f"epochs, loss {epoch.loss:.3f}, {score} {epoch.valid:.3f}", epoch.number - stage.done)
            self._note(filter(None, [epoch.note]))
        self._timed(what, stage.end(f"{many(len(curve['epoch']), 'epoch')}, best {score} {max(curve['valid']):.3f}"))
        save_sealed(weights, module.state_dict())
        write_json(about, curve)
        checkpoint.unlink(missing_ok=True)
        return curve

    def _file(self, job: str, suffix: str) -> Path:
        return self.folder / "work" / "encoders" / f"{job}{suffix}"

    def _match(
        self, aligner: Aligner, towers: Mapping[str, Tower], parts: Mapping[str, Embedded]
    ) -> tuple[Matcher | None, dict[str, Any] | None]:
        """The matching model, where one is asked for, and what the test says of it."""
        options = Matching.given(self.plan.config.matching)
        if options is None:
            return None, None
        seed = self.plan.config.seed
        torch.manual_seed(seed)
        widths = {name: encoder.dim for name, encoder in self.encoders.items()}
        matcher, read = Matcher(widths, aligner.dim, dropout=options.dropout), Reader(aligner, towers)
        training = MatchTraining(matcher, read, parts["train"], options, self.device)
        valid = Judged.of(parts["valid"], "valid", options.candidates, seed)
        events = training.run(self.plan.rows("train"), valid, seed, self._file(MATCHED, ".checkpoint"))
        does = "matching", "", "mean reciprocal rank"
        curve = self._trained(MATCHED, does, matcher, training.settings.epochs, events)
        told = measure(matcher.eval(), read, Judged.of(parts["test"], "test", options.candidates, seed), seed)
        about = {"parameters": parameters(matcher), "trust": float(matcher.trust), "epochs": len(curve["epoch"])}
        for sentence in matching_words(told):
            self.progress.say(sentence)
        return matcher.cpu(), {**about, "ways": told}

    def _note(self, sentences: Iterable[str]) -> None:
        """Said now and in the report, once each."""
        for sentence in dict.fromkeys(sentences):
            if sentence not in self.notes:
                self.notes.append(sentence)
                self.progress.say(sentence)

    def _tell(self, aligner: Aligner) -> None:
        """The raw cells of the training rows to an aligner that reads them."""
        if not aligner.reads_cells:
            return
        train = set(self.plan.rows("train").tolist())
        cells = {
            name: [cell if row in train else None for row, cell in enumerate(self.plan.table.column(name))]
            for name in self.plan.table.columns
        }
        self._note(aligner.inform(cells, seed=self.plan.config.seed))

    def _fitted(
        self, aligner: Aligner, towers: Mapping[str, Tower], chosen: Mapping[str, Mapping[str, Chosen]]
    ) -> tuple[Aligner, dict[str, list[float]]]:
        stage = self.progress.stage(f"aligning by {label(self.plan.method)}", 1)
        self._note(aligner.fit(sides(towers, chosen["train"]), seed=self.plan.config.seed))
        score = recall(aligner.eval(), towers, chosen["valid"])
        self._timed("aligning", stage.end(f"validation recall {score:.3f}"))
        self.log.write("fitted", job=LEARNED, valid=score)
        return aligner, {"epoch": [], "loss": [], "valid": [score], "seconds": []}

    def _conclude(
        self,
        towers: Mapping[str, Tower],
        chosen: Mapping[str, Mapping[str, Chosen]],
        aligner: Aligner,
        curve: Mapping[str, list[float]],
    ) -> Aligned:
        """Read the test rows, once, and write the files of the run."""
        plan, test = self.plan, chosen["test"]
        for encoder in self.encoders.values():
            encoder.eval()
        asked = ("test",) if plan.config.matching is False else PARTS
        parts = {
            part: Embedded(chosen[part], {n: embed_items(aligner, one, chosen[part][n]) for n, one in towers.items()})
            for part in asked
        }
        vectors = parts["test"].vectors
        matcher, matched = self._match(aligner, towers, parts)
        stage = self.progress.stage("measuring", 1)
        for part in (aligner, *self.encoders.values()):
            part.cpu()
        scores: dict[str, Any] = {}
        evident: dict[str, dict[str, Any]] = {}
        for a, b in linked_ways(test, "test"):
            way = f"{a} to {b}"
            ranks = retrieval_ranks(vectors[a], vectors[b], (test[a].rows, test[b].rows))
            intervals = ranks.intervals(groups=test[a].rows[:, 0].numpy(), seed=plan.config.seed)
            chance = ranks.chance()
            scores[way] = {name: {**vars(interval), "chance": chance[name]} for name, interval in intervals.items()}
            evident[way] = {"streams": (a, b), **asdict(evidence(ranks, intervals, len(test[a])))}
        space = Space(
            plan.schema, plan.processors, self.processors, plan.encoders, self.encoders, plan.method, aligner,
            plan.config.width, matcher,
        )  # fmt: skip
        space.save(self.folder, {"config": plan.config.to_dict(), "sources": dict(plan.sources)})
        if curve["epoch"]:
            write_trackers(tracker_of(plan.config.trackers), self.folder, {LEARNED: curve})
        self._timed("measuring", stage.end())
        metrics = {
            "method": label(plan.method),
            "towers": plan.towers,
            "streams": space.streams,
            "dim": space.dim,
            "mark": space.mark,
            "rows": {part: len(plan.rows(part)) for part in PARTS},
            "items": {part: {name: len(c) for name, c in chosen[part].items()} for part in PARTS},
            "parameters": parameters(aligner, *(t.encoder for t in towers.values() if not t.stored)),
            "valid": max(curve["valid"]),
            "epochs": len(curve["epoch"]),
            "test": scores,
            "evidence": evident,
            **({"matching": matched} if matched else {}),
            "speed": self._speed(chosen["train"], curve),
            "set_aside": len(self.problems),
            "doctor": self._doctor(towers, chosen, vectors, aligner.linear),
            "notes": self.notes,
            "timings": self.timings,
            "environment": environment(),
        }
        write_json(self.folder / "metrics.json", metrics)
        write_align_report(self.folder / "report.html", plan, space, towers, test, vectors, metrics, curve)
        for way, values in scores.items():
            shown = ", ".join(
                f"R@{k} {values[f'recall@{k}']['mean']:.1%} (chance {values[f'recall@{k}']['chance']:.1%})"
                for k in (1, 5, 10)
            )
            verdict = evident[way]["verdict"]
            unsaid = "" if verdict == "above" else f". {NOT_ABOVE[verdict]}"
            self.progress.say(f"{way}: {shown}{unsaid}")
        return Aligned(self.folder, space)

    def _speed(self, train: Mapping[str, Chosen], curve: Mapping[str, list[float]]) -> dict[str, float] | None:
        """What it saves to encode once: an epoch of heads, validation included, against one that ran the towers too."""
        if not curve["epoch"] or set(self.costs) != set(train):
            return None
        count, seconds = sum(map(len, train.values())), float(np.median(curve["seconds"]))
        towers = sum(len(chosen) * self.costs[name] / 1000 for name, chosen in train.items())
        return {
            "items_a_second": count / seconds,
            "seconds_an_epoch": seconds,
            "towers_seconds_an_epoch": towers,
            "ratio": (seconds + towers) / seconds,
        }

    def _doctor(
        self,
        towers: Mapping[str, Tower],
        chosen: Mapping[str, Mapping[str, Chosen]],
        vectors: Mapping[str, np.ndarray],
        linear: bool,
    ) -> dict[str, Any] | None:
        """What the alignment doctor says of stored vectors of training rows before, and of test vectors after."""
        if not all(tower.stored for tower in towers.values()):
            return None
        stage = self.progress.stage("diagnosing", 1)
        after = {name: Side(torch.from_numpy(v), chosen["test"][name].rows) for name, v in vectors.items()}
        before, unseen = (sides(towers, chosen[part]) for part in ("train", "test"))
        diagnosis = examine(before, after, unseen=unseen, linear=linear, seed=self.plan.config.seed)
        self._timed("diagnosing", stage.end(diagnosis.verdict))
        return diagnosis.to_json()

    def _timed(self, what: str, seconds: float) -> None:
        self.timings.append({"what": what, "seconds": seconds})
