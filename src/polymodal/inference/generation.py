"""Words on demand: a finished model's answers written as the caller says, of a table or of one example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from polymodal.core.errors import BadArgument
from polymodal.data.tables.table import Problem, Table
from polymodal.heads.writing import WritingHead
from polymodal.inference.answers import Answers
from polymodal.inference.predictor import Predictor


@contextmanager
def writing_as(predictor: Predictor, options: Mapping[str, Any]) -> Iterator[None]:
    """While the block runs, heads write as these options of `nn.decoding.Decoding` say, beside their own.

    Raises `BadArgument` for a model that writes nothing of its own and for a wrong option.
    """
    heads = [part for part in predictor.answer.modules() if isinstance(part, WritingHead)]
    if not heads:
        names = ", ".join(member.strategy.name for member in predictor.members)
        raise BadArgument(
            f"This run deploys {names}, which writes no words of its own: `predict` gives its answers. A fit of a "
            "target of the kind text writes them (deploy names the row of its leaderboard to keep)."
        )
    before = [head.how for head in heads]
    hows = [head.chosen({**(head.decoding or {}), **options}) for head in heads]
    try:
        for head, how in zip(heads, hows):
            head.how = how
        yield
    finally:
        for head, how in zip(heads, before):
            head.how = how


def generated(
    predictor: Predictor, table: Table, *, n: int = 1, seed: int = 0, problems: list[Problem] | None = None,
    **options: Any,
) -> Answers:  # fmt: skip
    """`n` answers to every row: columns as `Predictor.predict` gives them, those of the second on ending in `_2`, ….

    `options` are those of `nn.decoding.Decoding`; what is sampled goes by `seed` and the row's number, the next answer
    by `seed` + 1. Cells that cannot be used count as missing and are appended to `problems`. Raises `BadArgument` as
    `writing_as`, and where several answers would be the same one.
    """
    if n < 1:
        raise BadArgument(f"n is how many answers are written, at least 1; got {n}.")
    if n > 1 and not options.get("temperature"):
        raise BadArgument(f"n={n} answers would be {n} times the same: give a temperature above 0, such as 0.7.")
    columns = Answers()
    for number in range(n):
        with writing_as(predictor, {**options, "seed": seed + number}):
            said = predictor.predict(table, problems=None if number else problems)
        columns |= said if not number else {f"{name}_{number + 1}": values for name, values in said.items()}
    return columns


def example(predictor: Predictor, given: Mapping[str, Sequence[str]]) -> Table:
    """A table of one row, from what is `given` of each kind of stream: `VALUE` where the model reads one stream of that
    kind, else `COLUMN=VALUE`. Raises `BadArgument` for what no stream takes, or for what could be several."""
    cells: dict[str, Any] = {}
    fields = [predictor.schema.fields[name] for name in predictor.streams]
    for kind, values in given.items():
        columns = [column for one in fields if one.kind == kind for column in one.columns]
        for value in values:
            column, equals, cell = value.partition("=")
            if not (equals and column in columns):
                if len(columns) != 1:
                    reads = f"several: say COLUMN=VALUE, of {', '.join(columns)}" if columns else "none"
                    raise BadArgument(f"--{kind} {value}: of streams of this kind the model reads {reads}.")
                column, cell = columns[0], value
            if column in cells:
                raise BadArgument(f"--{kind} gives {column} twice; one example has one.")
            cells[column] = [cell]
    if not cells:
        reads = ", ".join(f"{one.name} ({one.kind})" for one in fields)
        raise BadArgument(f"Give a table, or an example of what the model reads: {reads}.")
    return Table.build(cells, name="the example")
