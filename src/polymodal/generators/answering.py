"""Rows answered by a pretrained generator as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.values import named_columns
from polymodal.data.inputs import read_rows
from polymodal.data.tables.table import Problem, Table
from polymodal.generators import GENERATORS
from polymodal.generators.base import Generator
from polymodal.generators.columns import Column, asked, read_columns
from polymodal.generators.opening import about, generator_of
from polymodal.inference.answers import Answers, Stopped
from polymodal.inference.keyed import kept_columns, keyed
from polymodal.ops.networks import DEVICE
from polymodal.runs.progress import Progress, Stage

CHUNK = 64  # rows whose pictures are open at a time


def generate(
    model: str | Path,
    data: Any,
    *,
    columns: str | Sequence[str] = (),
    n: int = 1,
    seed: int = 0,
    keep: str | Sequence[str] = (),
    problems: list[Problem] | None = None,
    device: str = "auto",
    quiet: bool = True,
    **options: Any,
) -> Answers:
    """Answers of a pretrained `model` as it is, of a folder or a hub (`user/name`, `user/name@revision`), to every
    record of `data` (whatever `read_table` reads): words about pictures, pictures of texts, or their speech.

    `columns` are those to read; of a kind that the model needs and none of these has, the only one of the table. The
    answers stand in the column `answer`, `picture` or `sound`, the `n`-th in one that ends in `_n`, beside what names
    the rows and what is to `keep` (see `Run.predict`); pictures and sounds are the bytes of PNG and WAV files. A row
    with a cell that is missing or cannot be used has no answer (None), and the reason in `problems` and in the column
    `problem`. `options` are those of the generator (`polymodal show assistant`, `painter`, `voice`).

    What is drawn goes by `seed` and the number of the record, the next answer by `seed` + 1. Raises `BadArgument` for a
    model that cannot be had or that generates nothing, for a wrong option, and where several answers would be the same;
    `MissingExtra` without the library that opens the model; and, where it is interrupted, `Stopped`, which is a
    `KeyboardInterrupt` that holds the answers so far.
    """
    table = data if isinstance(data, Table) else read_rows(data)
    kept_columns(table, keep)
    generator = opened(str(model), device=device, **options)
    read = read_columns(table, named_columns(columns, table.data), type(generator), generator.about.name)
    return answered(generator, table, read, n=n, seed=seed, keep=keep, problems=problems, quiet=quiet)


def opened(model: str, *, device: str = "auto", **options: Any) -> Generator:
    """The generator that a model is opened by. Raises as `generate`."""
    told = about(model)
    token = DEVICE.set(device)
    try:
        return GENERATORS.build({"name": generator_of(told), **options}, told)
    finally:
        DEVICE.reset(token)


def answered(
    generator: Generator,
    table: Table,
    read: Sequence[Column],
    *,
    n: int = 1,
    seed: int = 0,
    keep: str | Sequence[str] = (),
    problems: list[Problem] | None = None,
    quiet: bool = True,
) -> Answers:
    """What `generate` gives, of a generator that is open and of columns that were chosen. Raises `BadArgument` where
    several answers would be the same, or an option asks for a column that is not read, and `Stopped`."""
    generator.check_reads({column.kind for column in read})
    said, stopped = Replies.none(generator, table, n), False
    with Progress(quiet=quiet) as progress:
        stage = progress.stage("generate", len(table))
        try:
            answer_rows(generator, table, read, said, seed=seed, stage=stage)
        except KeyboardInterrupt:
            stopped = True
        stage.end("stopped" if stopped else "")
    done = np.flatnonzero(said.times == n)
    if problems is not None:
        problems.extend(said.problems_of(table))

    def told(some: Table, answers: Mapping[str, list[Any]]) -> Answers:
        names = [column.name for column in read]
        return Answers(keyed(some, None, answers, keep=keep, problems=said.problems_of(some), read=names))

    if stopped:
        some = {name: [column[place] for place in done] for name, column in said.answers.items()}
        raise Stopped(told(table.select(done), some), table.select(done), len(table) - len(done))
    return told(table, said.answers)


@dataclass
class Replies:
    """What was said so far: `answers` [n][N], None where there is none, how many `times` a row has been asked, and what
    is to be said of rows."""

    answers: dict[str, list[Any]]
    times: np.ndarray
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def none(cls, generator: Generator, table: Table, n: int) -> Replies:
        """Nothing yet. Raises `BadArgument` where `n` answers would be the same."""
        generator.check_times(n)
        names = [generator.column, *(f"{generator.column}_{number}" for number in range(2, n + 1))]
        return cls({name: [None] * len(table) for name in names}, np.zeros(len(table), np.int64))

    def problems_of(self, table: Table) -> list[Problem]:
        """Those of its rows, each once, in their order."""
        place = {name: k for k, name in enumerate(table.ids)}
        there = [problem for problem in dict.fromkeys(self.problems) if problem.row in place]
        return sorted(there, key=lambda problem: place[problem.row])


def answer_rows(
    generator: Generator, table: Table, read: Sequence[Column], said: Replies, *, seed: int, stage: Stage
) -> None:
    """Fill in what a generator says of the rows of `table`, as it says it."""
    blamed = read[0].name if len(read) == 1 else ""
    for start in range(0, len(table), CHUNK):
        places, rows = [], []
        part = range(start, min(start + CHUNK, len(table)))
        for place, row, noted in asked(table, read, part):
            said.problems += noted
            if isinstance(row, Problem):
                said.problems.append(row)
                said.times[place] = len(said.answers)
            else:
                places.append(place)
                rows.append(row)
        for number, column in enumerate(said.answers.values()):
            for k, found in generator.answers(rows, seed + number):
                column[places[k]] = found.answer
                if found.remark:
                    reason = found.remark if found.answer is not None else f"{found.remark}; no answer"
                    said.problems.append(Problem(table.ids[places[k]], blamed, reason))
                said.times[places[k]] += 1
        stage.advance(steps=len(part))
