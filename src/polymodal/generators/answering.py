"""Rows answered by a pretrained generator as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polymodal.data.inputs import read_rows
from polymodal.data.tables.table import Problem, Table
from polymodal.generators import GENERATORS
from polymodal.generators.base import Generator
from polymodal.generators.columns import Column, asked, read_columns
from polymodal.generators.opening import about, generator_of
from polymodal.inference.answers import Answers
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
    `MissingExtra` without the library that opens the model.
    """
    table = data if isinstance(data, Table) else read_rows(data)
    kept_columns(table, keep)
    generator = opened(str(model), device=device, **options)
    read = read_columns(
        table, [columns] if isinstance(columns, str) else list(columns), type(generator), generator.about.name
    )
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
    several answers would be the same, or an option asks for a column that is not read."""
    generator.check_reads({column.kind for column in read})
    with Progress(quiet=quiet) as progress:
        stage = progress.stage("generate", len(table))
        answers, found = answer_rows(generator, table, read, n=n, seed=seed, stage=stage)
        stage.end()
    if problems is not None:
        problems.extend(found)
    return Answers(keyed(table, None, answers, keep=keep, problems=found, read=[column.name for column in read]))


def answer_rows(
    generator: Generator, table: Table, read: Sequence[Column], *, n: int, seed: int, stage: Stage
) -> tuple[dict[str, list[Any]], list[Problem]]:
    """`n` columns of answers to the rows of `table`, None where there is none, and why, row by row. Raises
    `BadArgument` where several answers would be the same."""
    generator.check_times(n)
    names = [generator.column, *(f"{generator.column}_{number}" for number in range(2, n + 1))]
    answers: dict[str, list[Any]] = {name: [None] * len(table) for name in names}
    found: list[Problem] = []
    blamed = read[0].name if len(read) == 1 else ""
    for start in range(0, len(table), CHUNK):
        places, rows = [], []
        part = range(start, min(start + CHUNK, len(table)))
        for place, row, noted in asked(table, read, part):
            found += noted
            if isinstance(row, Problem):
                found.append(row)
            else:
                places.append(place)
                rows.append(row)
        for number, column in enumerate(answers.values()):
            for place, said in generator.answers(rows, seed + number):
                column[places[place]] = said.answer
                if said.remark:
                    reason = said.remark if said.answer is not None else f"{said.remark}; no answer"
                    found.append(Problem(table.ids[places[place]], blamed, reason))
        stage.advance(steps=len(part))
    place_of = {name: place for place, name in enumerate(table.ids)}
    return answers, sorted(dict.fromkeys(found), key=lambda problem: place_of[problem.row])
