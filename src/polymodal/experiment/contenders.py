"""Pretrained generators beside what a fit trains: each as it is, a row of the leaderboard that no run deploys."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.digest import fingerprint, safe_name
from polymodal.core.errors import BadArgument, PolymodalError, UnknownName, suggest
from polymodal.core.files import read_json, write_json
from polymodal.core.shown import many
from polymodal.core.values import named_columns
from polymodal.data.answers import OPENERS
from polymodal.data.schema import Schema
from polymodal.data.storage.decode import Broken, guarded
from polymodal.data.tables.table import Table
from polymodal.experiment.outcome import Outcome, Question
from polymodal.generators import GENERATORS
from polymodal.generators.answering import Replies, answer_rows, opened
from polymodal.generators.columns import Column, read_columns
from polymodal.generators.opening import about, generator_of
from polymodal.models.base import CONTENDER
from polymodal.models.strategy import Strategy
from polymodal.runs.progress import Progress
from polymodal.targets.base import Target
from polymodal.targets.drawn import DrawnTarget
from polymodal.targets.text import TextTarget

ANSWERS = {"text": "answer", "picture": "picture", "sound": "sound"}  # of generators, by the form of a target
EACH = 2  # drawings of a row, as those of a head: how they differ is judged too


@dataclass(frozen=True)
class Contender:
    """A model, what the leaderboard calls it, the columns that it reads and the options of its generator; `told` is
    what it is, in words."""

    model: str
    name: str
    told: str
    read: tuple[Column, ...]
    options: Mapping[str, Any]

    @property
    def line(self) -> str:
        """What the plan says of it."""
        return f"{self.name}, {self.told}, which reads {' and '.join(column.name for column in self.read)}"


def contenders_of(
    given: str | Mapping[str, Any] | Sequence[Any], table: Table, schema: Schema, targets: Sequence[Target]
) -> tuple[Contender, ...]:
    """The contenders that the option says, each a model or a mapping of `model`, `columns`, `called` and options of its
    generator. Their settings are read, and nothing is opened.

    Raises `BadArgument` for a model that cannot be had, that answers no such target or has no such option, and for
    columns that it cannot read; `UnknownName` for those that are not there.
    """
    specs = [given] if isinstance(given, str | Mapping) else list(given)
    if specs and (len(targets) > 1 or not _answered(targets[0])):
        kinds = ", ".join(f"{target.name} ({target.kind})" for target in targets)
        raise BadArgument(
            f"Contenders answer one target, of the kind {', '.join(ANSWERS)}; this fit has {kinds}. Fit such a target "
            "by itself, or leave contenders out."
        )
    found = [_contender(spec, table, schema, targets[0]) for spec in specs]
    if twice := {one.name for one in found if sum(one.name == other.name for other in found) > 1}:
        raise BadArgument(f"Two contenders are called {min(twice)!r}: give one of them another name (called).")
    return tuple(found)


def _answered(target: Target) -> bool:
    """Whether generators give answers to such a target."""
    return isinstance(target, TextTarget) or (isinstance(target, DrawnTarget) and target.form in ANSWERS)


def _contender(spec: Any, table: Table, schema: Schema, target: Target) -> Contender:
    options = {"model": spec} if isinstance(spec, str) else dict(spec) if isinstance(spec, Mapping) else {}
    model, columns, called = options.pop("model", None), options.pop("columns", ()), options.pop("called", None)
    listed = columns if isinstance(columns, list | tuple) else [columns]
    if not isinstance(model, str) or not all(isinstance(one, str) for one in (called or "", *listed)):
        raise BadArgument(
            "A contender is a model's folder or hub name, or a mapping with `model`, and names in `columns` and "
            f"`called`; got {spec!r}."
        )
    wanted = named_columns(listed, table.data)
    told = about(model)
    name = generator_of(told)
    kind: Any = GENERATORS.resolve({"name": name, **options})[0]
    if kind.column != ANSWERS[target.form]:
        raise BadArgument(
            f"The contender {model!r} is {told.told()}, whose answers are {kind.column}s; {target.name!r} is "
            f"{target.kind}."
        )
    truth = {target.name, *getattr(target, "references", ())}
    if peeked := [column for column in wanted if column in truth]:
        raise BadArgument(f"The contender {model!r} would read {peeked[0]!r}, which is what is asked for.")
    streams = [column for field in schema.fields.values() for column in field.columns]
    shown = {column: table.data[column] for column in dict.fromkeys([*streams, *wanted]) if column in table.data}
    read = read_columns(replace(table, data=shown), wanted, kind, model)
    return Contender(model, called or Path(model.partition("@")[0]).name, told.told(), tuple(read), options)


def check_deploy(asked: str | None, names: Sequence[str], contenders: Sequence[Contender]) -> None:
    """Raise `UnknownName` or `BadArgument` where the row of the leaderboard to keep is none of the strategies `names`,
    or where a contender is called as one of these."""
    known = (*names, "ensemble", "best")
    for one in contenders:
        if one.name in known:
            raise BadArgument(f"A strategy is called {one.name!r} too: give that contender another name (called).")
        if one.name == asked:
            raise BadArgument(
                f"deploy names {asked!r}, a pretrained model as it is, which no run deploys: "
                f"`polymodal generate {one.model}` answers by it."
            )
    if asked is not None and asked not in known:
        raise UnknownName(f"deploy names {asked!r}, which is not compared here.{suggest(asked, known)}")


def contending(
    contenders: Sequence[Contender], table: Table, q: Question, rows: tuple[np.ndarray, np.ndarray], *,
    seed: int, seeds: int, device: str, folder: Path, progress: Progress,
) -> tuple[list[Outcome], list[str]]:  # fmt: skip
    """What contenders answer to the `rows` of choice and of the test, and what is to be said of them.

    Answers are kept in `folder`, so that a run that is resumed asks none again. A row without an answer has an empty
    one. A model that cannot be opened or asked is left out, and said to be.
    """
    outcomes, notes = [], []
    for one in contenders:
        try:
            found = _asked(one, table.select(np.concatenate(rows)), q.target, seed, device, folder, progress)
        except PolymodalError as error:
            notes.append(f"The contender {one.name} is left out: {error}")
            continue
        answers = _predictions(q.target, found["answers"])
        if empty := sum(answer is None for answer in found["answers"][0]):
            why = f"; {found['problems'][0]}" if found["problems"] else ""
            notes.append(f"The contender {one.name} has no answer to {empty:,} of {many(len(answers), 'row')}{why}.")
        valid, test = answers[: len(rows[0])], answers[len(rows[0]) :]
        outcomes.append(
            Outcome(
                Strategy(CONTENDER, one.name, tuple(column.name for column in one.read), one.name),
                {q.target.name: np.stack([valid] * seeds)}, {q.target.name: np.stack([test] * seeds)},
                predict_ms=found["ms"], parameters=found["parameters"], trained=1,
                note=f"{one.told}, as it is",
            )
        )  # fmt: skip
    return outcomes, notes


def _asked(
    one: Contender, table: Table, target: Target, seed: int, device: str, folder: Path, progress: Progress
) -> dict[str, Any]:
    """`answers` [n][N] (None where there is none), `problems` in words, `ms` a row and `parameters`."""
    mark = fingerprint([one.model, one.options, [column.name for column in one.read], table.ids, seed])
    path = folder / f"{safe_name(one.name)}.json"
    if path.exists() and (kept := read_json(path))["mark"] == mark:
        return {**kept, "answers": [[_bytes(answer) for answer in each] for each in kept["answers"]]}
    generator = opened(one.model, device=device, **one.options)
    generator.check_reads({column.kind for column in one.read})
    stage, began = progress.stage(f"asking {one.name}", len(table)), time.perf_counter()
    n = EACH if target.drawn and generator.samples else 1
    said = Replies.none(generator, table, n)
    answer_rows(generator, table, one.read, said, seed=seed, stage=stage)
    stage.end()
    told: dict[str, Any] = {
        "mark": mark, "parameters": generator.parameters,
        "ms": 1000 * (time.perf_counter() - began) / (n * max(1, len(table))),
        "problems": [f"row {p.row}: {p.column} {p.reason}" for p in said.problems_of(table)],
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, {**told, "answers": [[_text(answer) for answer in each] for each in said.answers.values()]})
    return {**told, "answers": list(said.answers.values())}


def _predictions(target: Target, answers: Sequence[Sequence[Any]]) -> np.ndarray:
    """[N, …] as a head's answers to the target are given to metrics, of answers [n][N]."""
    if isinstance(target, TextTarget):
        coder = target.coder
        return np.array([coder.text(coder.codes(answer or "")) for answer in answers[0]], dtype=str)
    read: Any = OPENERS[target.opened](target)
    drawn = []
    for each in answers:
        cells = [None if answer is None else guarded(read, answer) for answer in each]
        encoded = target.encode([None if isinstance(cell, Broken) else cell for cell in cells])
        drawn.append(target.fields(encoded).transpose(0, 2, 3, 1))  # type: ignore[attr-defined]
    return np.stack(drawn, 1)


def _text(answer: Any) -> Any:
    return {"file": base64.b64encode(answer).decode()} if isinstance(answer, bytes) else answer


def _bytes(answer: Any) -> Any:
    return base64.b64decode(answer["file"]) if isinstance(answer, Mapping) else answer
