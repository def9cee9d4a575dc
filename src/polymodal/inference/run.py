"""A finished run: what `fit` returns and `load` reads back."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.digest import digest_file
from polymodal.core.errors import BadArgument, BadData, nearest, require
from polymodal.core.files import read_json, write_json
from polymodal.core.html import table_html, text_html
from polymodal.core.registry import Spec
from polymodal.core.runtime import device_of
from polymodal.core.trust import reading
from polymodal.core.values import read_written
from polymodal.core.words import label_of
from polymodal.data.answers import target_cells
from polymodal.data.inputs import asked_rows
from polymodal.data.split import units
from polymodal.data.storage.dataset import process_table
from polymodal.data.storage.store import Store, default_store
from polymodal.data.tables.source import Problem, Table
from polymodal.inference.answers import Answers, Stopped
from polymodal.inference.judging import Judged
from polymodal.inference.keyed import ALL, kept_columns, keyed, names_of, place_of, whole
from polymodal.inference.ordered import first_of, order_columns
from polymodal.inference.predictor import LEARNED, Predictor
from polymodal.metrics.base import Metric
from polymodal.metrics.build import by_target, directed, target_metrics, undefined
from polymodal.runs.progress import Progress
from polymodal.targets.base import Target, written

# columns of the leaderboard that a notebook shows, and those that are words whatever they look like
SHOWN = (
    "strategy", "streams", "target", "metric", "valid", "test_mean", "test_low", "test_high", "seeds", "predict_ms",
)  # fmt: skip
WORDS = ("strategy", "target", "level", "streams", "note", "metric")


class Leaderboard(list[dict[str, Any]]):
    """A dict a strategy and target, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        heads = [head for head in SHOWN if any(row.get(head) is not None for row in self)]
        return table_html(heads, [[row.get(head) for head in heads] for row in self])


class Run:
    """The folder of a finished run and the model in it."""

    def __init__(
        self,
        folder: str | Path,
        predictor: Predictor | None = None,
        *,
        metrics: Mapping[str, Sequence[Spec]] | None = None,
        trust: str | Sequence[str] = (),
    ):
        """`metrics` are what each target is judged by, where the caller vouches for them; see `evaluate`."""
        self.folder = Path(folder)
        self._metrics = metrics
        self._trust = trust
        self.predictor = predictor or Predictor.load(self.folder, trust=trust)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {self.metrics['chosen']}, {self.verdict})"

    @property
    def metrics(self) -> dict[str, Any]:
        """`metrics.json`."""
        return read_json(self.folder / "metrics.json")

    @property
    def verdict(self) -> str:
        """Whether fusing helped, in words."""
        return self.metrics["headline"]

    @property
    def leaderboard(self) -> Leaderboard:
        """The rows of `leaderboard.csv`: numbers as numbers, True and False as such, None where a cell is empty."""
        with open(self.folder / "leaderboard.csv", encoding="utf-8", newline="") as file:
            return Leaderboard(
                {k: v if k in WORDS else _value(v) for k, v in row.items()} for row in csv.DictReader(file)
            )

    def _repr_html_(self) -> str:
        """The verdict and the leaderboard, for a notebook."""
        best = Leaderboard(sorted(self.leaderboard, key=lambda row: row["strategy"] != self.metrics["chosen"]))
        said = text_html(self.verdict, f"Deployed: {self.metrics['chosen']}. Report: {self.report}")
        return said + best._repr_html_()

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    def predict(
        self,
        data: Any,
        *,
        keep: str | Sequence[str] = (),
        problems: list[Problem] | None = None,
        as_frame: bool = False,
        top: int | None = None,
    ) -> Any:
        """Answers for every record of `data` (whatever `read_table` reads), as columns; targets need not be there.

        Beside the answers stand the columns that name the rows, such as `id`, under their own names (`row`, the number
        of the record, where none does), and those to `keep`: names, or `all`. A record that could not be read has no
        answer (None) and its reason in the column `problem`; see `keyed`. Where rows are put in order within groups,
        there are their score and rank, and the columns that name group and item; `top` keeps the first of each group,
        in order.

        Returns `Answers`, a dict of lists, or with `as_frame` a pandas DataFrame.

        Cells that cannot be used count as missing and are appended to `problems`. A model that learns from feedback
        remembers in the run's folder what it said. Raises `UnknownName` for a column to keep that is not there,
        `BadArgument` for `top` where no order was asked for in the fit.
        """
        rank = self.predictor.schema.rank
        if top is not None and rank is None:
            raise BadArgument("top keeps the first rows of each group; this run puts nothing in order (fit with rank).")
        table = self.read(data, last=True)
        kept_columns(table, keep)
        found: list[Problem] = []
        groups = [] if rank is None else rank.values(table)  # said before anything is answered if the table lacks it
        answers = self.predictor.predict(table, found)
        order = order_columns(self.predictor, table, answers) if groups else {}
        if rank is not None and keep != ALL:
            named = [column for column in (rank.by, rank.item) if column in table.data]
            keep = [*named, *([keep] if isinstance(keep, str) else keep)]
        if self.predictor.ledger.bandits:
            self.predictor.ledger.save(self.folder / LEARNED)
        if problems is not None:
            problems.extend(found)
        columns = Answers(keyed(table, self.predictor.schema, {**answers, **order}, keep=keep, problems=found))
        if top is not None and rank is not None:
            columns = Answers(first_of(columns, [*order][-1], rank.by, top))
        return columns.frame() if as_frame else columns

    def generate(
        self,
        data: Any,
        *,
        n: int = 1,
        seed: int = 0,
        keep: str | Sequence[str] = (),
        problems: list[Problem] | None = None,
        **decoding: Any,
    ) -> Answers:
        """`predict` for answers in words or drawn, `n` of each, written as `decoding` says: `beams`, `temperature`,
        `top_k`, `top_p`, `length_penalty`, `no_repeat`, `least`, `most`, `allowed` (see `nn.decoding.Decoding`); a
        model without words draws by `guidance`, `steps` and `solver`. One that copies its words gives these.
        `keep` as in `predict`.

        Cells that cannot be used count as missing and are appended to `problems`. Raises `BadArgument` where no target
        is in words or drawn, and for an option that is wrong or that a copy cannot follow; and, where it is
        interrupted, `Stopped`, which is a `KeyboardInterrupt` that holds the answers so far.
        """
        from polymodal.inference.generation import generated

        table = self.read(data, last=True)
        kept_columns(table, keep)
        found: list[Problem] = []
        stopped: Stopped | None = None
        try:
            said = generated(self.predictor, table, n=n, seed=seed, problems=found, **decoding)
        except Stopped as early:
            stopped, said, table = early, early.answers, early.table
            found = [problem for problem in found if problem.row in set(table.ids)]
        if problems is not None:
            problems.extend(found)
        answers = Answers(keyed(table, self.predictor.schema, said, keep=keep, problems=found))
        if stopped:
            raise Stopped(answers, table, stopped.missing)
        return answers

    def classes(self, target: str | None = None) -> tuple[str, ...]:
        """The classes or labels of a target (default: the first), in the order of `predict_proba`; none of a number."""
        return self._target(target).labels

    def predict_proba(self, data: Any, *, target: str | None = None, as_frame: bool = False) -> Any:
        """Calibrated probabilities [N, C] of a target's classes or labels (default: the first target's).

        NaN in the rows of records that could not be read.
        The columns are in the order of `classes`; `as_frame` gives them as a pandas DataFrame. Raises `BadArgument`
        for a target that has no probabilities, `UnknownName` for one that is not there.
        """
        asked = self._target(target)
        if "probabilities" not in asked.gives:
            raise BadArgument(
                f"The target {asked.name!r} is {asked.summary}, which has no probabilities: use `predict`."
            )
        table = self.read(data)
        probabilities = self.predictor.decoded(table, asked)["probability"]
        names, probabilities = whole(table, probabilities)
        if not as_frame:
            return probabilities
        return require("pandas", "pandas").DataFrame(probabilities, columns=list(asked.labels), index=names)

    def score(self, data: Any, *, metric: Any = None, target: str | None = None) -> float:
        """A target's metric on its labelled rows of `data` (default: the first target's): the one judged by in the fit,
        or `metric`.

        One number at the price of a prediction; `evaluate` gives its interval and what it is made of. Warns of rows
        that are not judged, as those of a class that training did not have. Raises as `evaluate`.
        """
        asked = self._target(target)
        table, truth, rows, counts = self._labelled(data, asked)
        if counts.judged < counts.read:
            said = f"{counts.judged:,} of {counts.read:,} rows are judged."
            warnings.warn(" ".join([said, *counts.sentences()]), stacklevel=2)
        judge = self._judges(metric, truth, rows, asked)[0]
        decoded = self.predictor.decoded(table.select(rows), asked)
        wanted, groups = asked.wanted(table.column(asked.name), truth[asked.name], rows), self._groups(table)
        codes = units([groups[i] for i in rows], len(rows)) if groups else None
        return float(judge(wanted, asked.prediction(decoded), codes))

    def _target(self, name: str | None) -> Target:
        return self.predictor.about(name).targets[0]

    def share(self, out: str | Path, *, report: bool = False, licence: str | None = None) -> Path:
        """Copy what the model needs elsewhere, with a model card, into the new folder `out`; `load` reads it.

        `report` takes the report along, which shows rows of the data. Raises as `inference.hub.share`.
        """
        from polymodal.inference.hub import share

        return share(self.folder, Path(out), report=report, licence=licence)

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool = True,
        token: str | None = None,
        report: bool = False,
        licence: str | None = None,
    ) -> str:
        """Share the model as the repository `name` (`user/name`) of the Hugging Face hub, with a model card.

        Returns the address that `load` takes. Otherwise as `share`. Raises as `inference.hub.push`.
        """
        from polymodal.inference.hub import push

        return push(self.folder, name, token=token, private=private, report=report, licence=licence)

    def feedback(self, ids: Sequence[str], truth: Sequence[Any] | Mapping[str, Sequence[Any]]) -> None:
        """Tell a model that learns on (the answer `bandit`) the truth of rows that it predicted before.

        `truth` are values of the first target, or a mapping from target to values, in the order of `ids`. What was
        learned is in the run's folder when this returns: one file, replaced at once. One process a run may predict
        and learn at a time. Raises as `Predictor.feedback`.
        """
        named_truth = truth if isinstance(truth, Mapping) else {self.predictor.targets[0].name: truth}
        self.predictor.feedback([str(one) for one in ids], named_truth)
        self.predictor.ledger.save(self.folder / LEARNED)

    def lacking(self, data: Any) -> list[str]:
        """Columns that the deployed model reads and `data` has not: they count as missing in every row.

        Raises `BadData` when `data` has nothing that the model reads.
        """
        table = self.read(data)
        if none := self._nothing(table):
            raise BadData(" ".join([none, *self.misnamed(table)]))
        return [*self._absent(table), *self.predictor.lacking_edges(table)]

    def read(self, data: Any, *, last: bool = False) -> Table:
        """The rows of `data`, named as those of the fit were; of conversations a row for each answer, or the `last`
        turn of each alone. Raises `BadData` when there is none.

        Warns where `data` has nothing that the model reads, or something under a similar name only; of a `Table`
        already read, `lacking` and `misnamed` say so.
        """
        table = asked_rows(data, self.predictor.schema, last=last)
        if not isinstance(data, Table):
            for line in filter(None, [self._nothing(table), *self.misnamed(table)]):
                warnings.warn(line, stacklevel=3)
        return table

    def _nothing(self, table: Table) -> str:
        """What to say of a table that has nothing that the model reads."""
        fields = [self.predictor.schema.fields[name] for name in self.predictor.encoders]
        missing = self._absent(table)
        if any(not one.columns or set(one.columns) - set(missing) for one in fields if not one.about.reads_neighbours):
            return ""
        return f"{table.name} has none of the columns that this model reads: {', '.join(missing)}."

    def misnamed(self, table: Table) -> list[str]:
        """What to say of columns that the model reads and `table` seems to have under another name."""
        schema = self.predictor.schema
        read = {column for one in schema.fields.values() for column in one.columns} | set(schema.targets)
        others = [column for column in table.columns if column not in read]
        return [
            f"{table.name} has no column {column!r}, which the model reads. Did you mean {near!r}? Rename it."
            for column in self._absent(table)
            if (near := nearest(column, others)) is not None
        ]

    def _absent(self, table: Table) -> list[str]:
        """Columns that the deployed model reads and `table` has not."""
        fields = [self.predictor.schema.fields[name] for name in self.predictor.encoders]
        read = dict.fromkeys(column for one in fields for column in one.columns)  # a film's, by two streams
        return [column for column in read if column not in table.data]

    def evaluate(
        self,
        data: Any,
        *,
        out: str | Path | None = None,
        quiet: bool = False,
        metric: Any = None,
        source: str | Path | None = None,
        target: str | None = None,
    ) -> dict[str, Any]:
        """Metrics with intervals, every subset of streams, worth, noise curves and calibration on labelled rows.

        All is about one `target`, by default the first; of others whose truth is there it says the score, in `others`.
        `metric` is given as to `fit`; by default the answer is judged as the fit judged it. Rows without a truth that
        the model knows are not judged: `data.judged` counts them, and `strict` has the scores with unseen labels
        counted as wrong. `source` is the file that a table given as `data` was read from. Writes `evaluation.json`
        and `report.html` into `out` when given. Raises `BadData` when no row has a target, or when the fit judged by
        code that is not trusted and `metric` names nothing else.
        """
        from polymodal.inference.evaluation import evaluate, others_of, standalone, strictly
        from polymodal.report.report import write_report

        predictor = self.predictor.about(target)
        asked = predictor.targets[0]
        table, truth, rows, counts = self._labelled(data, asked)
        metrics = self._judges(metric, truth, rows, asked)
        groups = self._groups(table)
        with Progress(quiet=quiet) as progress:
            dataset = process_table(
                predictor.raw(table),
                predictor.processors,
                self._store(),
                fit_rows=None,
                ids=table.ids,
                targets=truth,
            )
            assessment = evaluate(
                predictor, dataset, table, truth, rows, progress,
                groups=groups, metrics=metrics, noise=None if asked.drawn else True,
            )  # fmt: skip
            strict = strictly(predictor, dataset, table, metrics, groups=groups)
            judges = {
                one.name: (known, self._judges(metric if isinstance(metric, Mapping) else None, truth, known, one)[0])
                for one in predictor.targets[1:]
                if one.name in truth and len(known := np.flatnonzero(one.known(truth[one.name])))
            }
            others = others_of(predictor, dataset, table, truth, judges, groups=groups)
        evaluation = standalone(
            predictor, assessment, dataset, self.metrics["chosen"], metrics[0],
            counts=counts, strict=strict, others=others,
        )  # fmt: skip
        if self._trained_on(data if source is None else source):
            evaluation["data"]["warnings"].append("This model was trained on these rows, so the figures flatter it.")
        if out is not None:
            Path(out).mkdir(parents=True, exist_ok=True)
            write_json(Path(out) / "evaluation.json", evaluation)
            write_report(evaluation, Path(out) / "report.html")
        return evaluation

    def explain(
        self, data: Any, *, row: str | None = None, limit: int = 100, target: str | None = None
    ) -> list[dict[str, Any]]:
        """What each stream was worth to each answer (Shapley values of the log-probability, or of the number), to
        `target`, by default the first.

        `row` is an id, or what a key names one row by; without it the first `limit` rows are explained. Each is called
        as it was asked for. Raises `UnknownName` where neither names one row.
        """
        from polymodal.inference.explaining import explain_rows

        table = self.read(data)
        predictor = self.predictor.beside(table).about(target)
        if row is not None:
            table, names = table.select([place_of(row, table, self.predictor.schema)]), [label_of(row)]
        else:
            table = table.select(range(min(limit, len(table))))
            names = names_of(table, self.predictor.schema)
        return [{**one, "id": name} for one, name in zip(explain_rows(predictor, table), names)]

    def _labelled(self, data: Any, asked: Target) -> tuple[Table, dict[str, np.ndarray], np.ndarray, Judged]:
        """The table, what is known of every target, the rows where that of the one asked for is, and their counts."""
        table = self.read(data)
        if asked.name not in table.data:
            near = nearest(asked.name, table.columns)
            raise BadData(
                f"Evaluation needs the truth: the column {asked.name!r} is not in {table.name}. "
                + (f"Did you mean {near!r}? " if near else "")
                + "`predict` needs none."
            )
        there = [target for target in self.predictor.targets if target.name in table.data]
        cells = {target.name: target_cells(table, target) for target in there}  # pictures are opened once
        truth = {target.name: target.encode(cells[target.name]) for target in there}
        counts = Judged.of(table, asked, cells[asked.name])
        known = asked.known(truth[asked.name])
        if not known.any():
            raise BadData(" ".join([f"No row of {table.name} can be judged.", *counts.sentences()]))
        return table, truth, np.flatnonzero(known), counts

    def _judges(
        self, asked: Any, truth: Mapping[str, np.ndarray], rows: np.ndarray, target: Target
    ) -> tuple[Metric, ...]:
        """What a target is judged by: as asked, or as the fit did."""
        if asked is not None:
            specs = by_target(asked, [one.name for one in self.predictor.targets])[target.name]
            specs = directed(specs, target, truth[target.name][rows])
        elif self._metrics is not None:
            specs = list(self._metrics.get(target.name, ()))
        else:
            specs = (self._settings().get("metrics") or {}).get(target.name, [])
            with reading(self.folder, self._trust):
                if specs or not written([target]):
                    return target_metrics(specs, target)
        if not specs and written([target]):
            wanted = target.truth(truth[target.name][rows])
            usual = np.broadcast_to(target.chance(), len(wanted))
            bad = undefined(target, [(wanted, usual)])
            specs = [spec for spec in target.metrics if spec not in bad][: target.shown] if bad else []
        return target_metrics(specs, target)

    def _groups(self, table: Table) -> list[Any] | None:
        schema = self.predictor.schema
        if schema.rank:
            return schema.rank.values(table)
        group = schema.group
        return table.column(group) if group and group in table.data else None

    def _trained_on(self, data: Any) -> bool:
        """Whether `data` is the very file that the fit took its training rows from, wherever it lies."""
        known = self._settings().get("digests", {}).get("train")
        return (
            isinstance(data, str | Path)
            and Path(data).expanduser().is_file()
            and digest_file(Path(data).expanduser()).hex() == known
        )

    def _settings(self) -> dict[str, Any]:
        return read_written(self.folder / "config.yaml")

    def _store(self) -> Store:
        config = self._settings()["config"]
        return Store(Path(config["store"]) if config.get("store") else default_store())


def load(
    folder: str | Path, *, trust: str | Sequence[str] = (), device: str = "auto", precision: str = "float32"
) -> Run:
    """Read a finished run, its model on a device by name (see `device_of`).

    `folder` is a run's folder, a copy that `Run.share` made, or `hf://user/name` (or `hf://user/name@revision`) of the
    Hugging Face hub.

    `trust` names modules of own parts that its files may use, as `my_parts`. Raises `BadData` when the folder holds no
    run, or one with parts that are neither catalogued nor trusted (opening a run imports nothing else), `BadArgument`
    where there is no such device.

    `precision` bfloat16 (auto: where the processor multiplies it in hardware) encodes 64 rows or more at a time faster;
    probabilities then differ in the second decimal at most, and a row's with how many others came along.
    """
    from polymodal.inference.hub import fetched

    place = fetched(folder)
    predictor = Predictor.load(place, trust=trust).to(device_of(device)).in_precision(precision)
    return Run(place, predictor, trust=trust)


def _value(cell: str | None) -> Any:
    """What a cell of the leaderboard says."""
    if not cell:
        return None
    if cell in ("True", "False"):
        return cell == "True"
    try:
        return int(cell) if cell.lstrip("-").isdecimal() else float(cell)
    except ValueError:
        return cell
