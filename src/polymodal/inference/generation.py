"""Answers on demand: a finished model's words, pictures or sounds as the caller says, of a table or of one example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.data.kinds import KINDS
from polymodal.data.tables.table import Problem, Table
from polymodal.heads.writing import WritingHead
from polymodal.inference.answers import Answers, Stopped
from polymodal.inference.drawing import drawings
from polymodal.inference.predictor import CHUNK, Predictor
from polymodal.nn.check import check_count
from polymodal.nn.decoding import Decoding
from polymodal.targets.base import Target
from polymodal.targets.columns import free
from polymodal.targets.drawn import DrawnTarget
from polymodal.targets.text import TextTarget


def generated(
    predictor: Predictor, table: Table, *, n: int = 1, seed: int = 0, problems: list[Problem] | None = None,
    **options: Any,
) -> Answers:  # fmt: skip
    """`n` answers to every row: columns as `Predictor.predict` gives them, those in words or drawn `n` times, as
    `generated_columns` names them. A model that copies its words gives these.

    `options` are those of `nn.decoding.Decoding`, or of a model without words those of `drawings`; what is sampled goes
    by `seed` and the row's number, the next words by `seed` + 1. Cells that cannot be used count as missing and are
    appended to `problems`. Raises `BadArgument` for a wrong option or any that a copy cannot follow, where several
    answers would be the same one, and where no target is in words or drawn.
    """
    check_count("n", n)
    check_generates(predictor)
    found = Answers()
    for start in range(0, max(1, len(table)), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(table)))
        try:
            some = _generated(predictor, table.select(rows), n, seed, problems, options)
        except KeyboardInterrupt:
            raise Stopped(found, table.select(np.arange(start)), len(table) - start) from None
        for name, column in some.items():
            found.setdefault(name, []).extend(column)
    return found


def _generated(
    predictor: Predictor, table: Table, n: int, seed: int, problems: list[Problem] | None, options: Mapping[str, Any]
) -> Answers:
    texts = any(isinstance(target, TextTarget) for target in predictor.targets)
    rest: Sequence[Mapping[str, list[Any]]] = ()
    if texts:
        rest = _written(predictor, table, n=n, seed=seed, problems=problems, **options)
    elif not all(target.drawn for target in predictor.targets):
        rest = (predictor.predict(table, problems=problems),)
    how = {} if texts else options
    drawn = _drawn(predictor, table, n=n, seed=seed, problems=None if rest else problems, **how)
    return Answers({
        new: drawn[name][k] if name in drawn else rest[k][name]
        for k, own in enumerate(generated_columns(predictor, n)) for name, new in own.items()
    })  # fmt: skip


def _written(
    predictor: Predictor, table: Table, *, n: int, seed: int, problems: list[Problem] | None, **options: Any
) -> list[Answers]:
    """`n` times what `predict` says, each time in other words."""
    heads = [part for part in predictor.answer.modules() if isinstance(part, WritingHead)]
    if not heads and (asked := [*options, *(["n"] if n > 1 else []), *(["seed"] if seed else [])]):
        names = ", ".join(member.strategy.name for member in predictor.members)
        raise BadArgument(
            f"This run deploys {names}, which copies its answers and writes none of its own: leave out "
            f"{', '.join(asked)}, or fit with deploy=NAME of a row of the leaderboard that writes."
        )
    hows = [head.chosen({**(head.decoding or {}), **options, "seed": seed}) for head in heads]
    if n > 1 and not all(how.temperature for how in hows):
        raise BadArgument(f"n={n} answers would be {n} times the same: give a temperature above 0, such as 0.7.")
    if any(how.drafts > 1 and not len(head.memory) for head, how in zip(heads, hows)):
        raise BadArgument(
            "This model remembers no training rows by which one of several drafts could be chosen: leave drafts out, "
            "or fit with heads={TARGET: {name: writer, decoding: {drafts: 8}}}."
        )
    ways = [partial(_writing, heads, [replace(how, seed=seed + number) for how in hows]) for number in range(n)]
    return predictor.predicted(table, ways, problems)


def check_generates(predictor: Predictor) -> None:
    """Raise `BadArgument` for a model without a target in words or one that is drawn."""
    if not any(map(_several, predictor.targets)):
        raise BadArgument(
            "No target of this model is answered in words (kind text) or drawn (picture, sound): `predict` gives its "
            "answers."
        )


def _several(target: Target) -> bool:
    """Whether there may be several answers to it."""
    return target.drawn or isinstance(target, TextTarget)


def _drawn(
    predictor: Predictor, table: Table, *, n: int, seed: int, problems: list[Problem] | None, **options: Any
) -> dict[str, list[list[bytes]]]:
    """By columns of drawn targets, `n` lists of a file a row."""
    found: dict[str, list[list[bytes]]] = {}
    for target in (one for one in predictor.targets if isinstance(one, DrawnTarget)):
        (column,) = predictor.names[target.name].values()
        chunks = drawings(
            predictor, table, target=target.name, n=n, seed=seed, problems=None if found else problems, **options
        )
        rows = [[target.file(field) for field in fields] for _, many in chunks for fields in many]
        found[column] = [[row[k] for row in rows] for k in range(n)]
    return found


@contextmanager
def _writing(heads: Sequence[WritingHead], hows: Sequence[Decoding]) -> Iterator[None]:
    """While the block runs, each of the heads writes in the way given."""
    before = [head.how for head in heads]
    try:
        for head, how in zip(heads, hows):
            head.how = how
        yield
    finally:
        for head, how in zip(heads, before):
            head.how = how


def generated_columns(predictor: Predictor, n: int = 1) -> list[dict[str, str]]:
    """Of each of `n` answers, the columns of `Predictor.predict` that it has and what they are called: the first all
    columns under their own names, the others those of targets in words or drawn, ending in `_2`, `_3`, …."""
    first = {name: name for own in predictor.names.values() for name in own.values()}
    several = [target.name for target in predictor.targets if _several(target)]
    words = [name for target in several for name in predictor.names[target].values()]
    found, used = [first], set(first)
    for number in range(2, n + 1):
        found.append({name: free(used, f"{name}_{number}", f"{name}_answer_{number}") for name in words})
        used.update(found[-1].values())
    return found


def example(predictor: Predictor, given: Mapping[str, Sequence[str]]) -> Table:
    """A table of one row, from what is `given` of each kind of stream: `VALUE` where the model reads one stream of that
    kind, else `COLUMN=VALUE`. Words go to a table's columns where no stream reads texts: few different ones were taken
    for categories. Raises `BadArgument` for what no stream takes, or for what could be several."""
    cells: dict[str, Any] = {}
    fields = [predictor.schema.fields[name] for name in predictor.streams]
    for kind, values in given.items():
        fitting = [one for one in fields if one.kind == kind]
        fitting = fitting or [one for one in fields if KINDS[kind].words and one.about.is_record]
        columns = [column for one in fitting for column in one.columns]
        for value in values:
            column, equals, cell = value.partition("=")
            odd = ""
            if not (equals and column in columns):
                odd = f" ({column} is no column that it reads)" if equals else ""
                if len(columns) != 1:
                    reads = f"several: say COLUMN=VALUE, of {', '.join(columns)}" if columns else "none"
                    raise BadArgument(f"--{kind} {value}: of streams of this kind the model reads {reads}.")
                column, cell = columns[0], value
            if column in cells:
                raise BadArgument(f"--{kind} {value} gives {column} once more{odd}; one example has one.")
            cells[column] = [cell]
    if not cells:
        reads = ", ".join(f"{one.name} ({one.kind})" for one in fields)
        raise BadArgument(f"Give a table, or an example of what the model reads: {reads}.")
    return Table.build(cells, name="the example")
