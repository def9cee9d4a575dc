"""The table of answers: answers beside what names their rows, with an entry for every record that was read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, UnknownName, suggest
from polymodal.core.words import label_of
from polymodal.data.infer import tell
from polymodal.data.schema import Schema
from polymodal.data.tables.table import Lazy, Problem, Table
from polymodal.targets.columns import free

ALL = "all"  # of `keep`: every column
# Columns that are nobody's, by their usual name and that where the data have one of this name: the number of the record
# in its source, from 0, and why it has no answer or which of its cells could not be used.
# Where a source names its rows without a column, as shards do, their names stand under `key`.
KEY, ROW, PROBLEM = ("key", "key_of_row"), ("row", "row_of_source"), ("problem", "problem_of_row")


def keyed(
    table: Table,
    schema: Schema | None,
    answers: Mapping[str, Sequence[Any]],
    *,
    keep: str | Sequence[str] = (),
    problems: Iterable[Problem] = (),
    read: Collection[str] = (),
) -> dict[str, list[Any]]:
    """Answers [N] to the rows of `table` as one table, a row a record of the source, in its order.

    First the user's keys under their own names and with their own values (see `keys_of`), and `row`, the record's
    number, where none of them names every record once; then the answers, None for records that were left out; then the
    columns to `keep` (names, or `all`), called `…_truth` or `…_given` where an answer bears the name; at last
    `problem`, where there is any: why a record was left out, and which cells of a row could not be used. `read` are
    columns that answers come from, where no schema says so. Raises as `kept_columns`.
    """
    keys = keys_of(table, schema, read)
    kept = kept_columns(table, keep, keys)
    numbers, order = _order(table)

    def spread(values: Sequence[Any]) -> list[Any]:
        return [values[i] if i < len(table) else None for i in order]

    columns = {_given(column, answers, schema): spread(table.data[column]) for column in keys}
    if not keys and not table.joined and table.ids != list(map(str, table.rows.tolist())):
        columns[free({*answers, *table.data}, *KEY)] = spread(table.ids)  # the source names its rows, in no column
    if not any(_names_each(values) for values in columns.values()):
        columns[free({*columns, *answers, *table.data}, *ROW)] = numbers[order].tolist()
    columns |= {name: spread(values) for name, values in answers.items()}
    for column in kept:
        columns[free(columns, column, _given(column, columns, schema))] = spread(table.data[column])
    reasons = _reasons(table, problems)
    if reasons:
        columns[free({*columns, *table.data}, *PROBLEM)] = [reasons.get(i) for i in order]
    return columns


def whole(table: Table, values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names and values [R, …] of all R records of the source, from values [N, …] of its rows; NaN where it has none."""
    _, order = _order(table)
    gaps = np.full((len(table.left_out), *values.shape[1:]), np.nan, values.dtype)
    names = [*table.ids, *(problem.row for problem in table.left_out)]
    return [names[i] for i in order], np.concatenate([values, gaps])[order]


def of_rows(table: Table, values: Sequence[Any]) -> list[Any]:
    """Of values as `keyed` has them, one of each record of the source, those of the table's rows, in its order."""
    held = dict(zip(_order(table)[1], values, strict=True))
    return [held[row] for row in range(len(table))]


def _order(table: Table) -> tuple[np.ndarray, list[int]]:
    """Record numbers of the rows, then of the records that were left out; and the positions there in their order."""
    left_out = table.left_out
    numbers = np.array([*table.rows.tolist(), *(problem.record for problem in left_out)], dtype=np.int64)
    return numbers, (np.argsort(numbers, kind="stable") if left_out else np.arange(len(table))).tolist()


def keys_of(table: Table, schema: Schema | None, read: Collection[str] = ()) -> list[str]:
    """The columns that name rows: the id, and others that evidently are keys, here or in the fit, and no stream."""
    named = next((c for c in table.columns if c.lower() == "id"), None)
    known: set[str] = set()
    if schema is not None:
        named = schema.id if schema.id in table.data else named
        read = {column for one in schema.fields.values() for column in one.columns}
        read |= {*schema.targets, *(c for c in (schema.group, schema.split) if c)}
        known = set(schema.keys)
    if named is None:  # as the files of a folder are, which a column names too
        named = next(
            (c for c, values in table.data.items() if all(str(v) == i for v, i in zip(values, table.ids))), None
        )
    others = [c for c in table.columns if c != named and c not in read]
    return [*([named] if named else []), *(c for c in others if c in known or tell(table, c).kind == "id")]


def names_of(table: Table, schema: Schema | None) -> list[str]:
    """What rows are called: their ids, or where these are but numbers what the first key says that names every row."""
    if table.ids == list(map(str, table.rows.tolist())):
        for column in keys_of(table, schema):
            if _names_each(table.data[column]):
                return [label_of(value) for value in table.data[column]]
    return table.ids


def place_of(row: Any, table: Table, schema: Schema | None) -> int:
    """The position of the row of this id, else of the one row that a key names so. Raises `UnknownName`."""
    row = label_of(row)
    if row in table.ids:
        return table.ids.index(row)
    keys = keys_of(table, schema)
    words = {c: [None if value is None else label_of(value) for value in table.data[c]] for c in keys}
    for column, said in words.items():
        named = [position for position, word in enumerate(said) if word == row]
        if len(named) == 1:
            return named[0]
        if named:
            raise UnknownName(
                f"{len(named):,} rows have the {column} {row!r}; name one by its id, as {table.ids[named[0]]!r}."
            )
    known = [*table.ids[:1000], *(word for said in words.values() for word in said[:1000] if word is not None)]
    raise UnknownName(
        f"No row has the {' or '.join(dict.fromkeys(['id', *keys]))} {row!r}.{suggest(row, known, most=10)}"
    )


def kept_columns(table: Table, keep: str | Sequence[str], keys: Sequence[str] = ()) -> list[str]:
    """The columns to keep besides the keys. `all` passes over those that hold media, which stay where they are.

    Raises `UnknownName` for a column that is not there, `BadArgument` for one that holds media in its cells.
    """
    if keep == ALL:
        return [c for c in table.columns if c not in keys and not any(map(_is_media, table.data[c]))]
    wanted = [keep] if isinstance(keep, str) else list(keep or ())
    for column in wanted:
        if column not in table.data:
            raise UnknownName(f"keep: {table.name} has no column {column!r}.{suggest(column, table.data)}")
        if any(map(_is_media, table.data[column])):
            raise BadArgument(f"keep: the cells of {column!r} hold media or arrays, which no table of answers takes.")
    return [c for c in dict.fromkeys(wanted) if c not in keys]


def _given(column: str, taken: Collection[str], schema: Schema | None) -> str:
    """What a column of the user's is called beside answers; its own name as a rule."""
    if column not in taken:
        return column
    return free(taken, f"{column}_truth" if schema and column in schema.targets else f"{column}_given")


def _names_each(values: Sequence[Any]) -> bool:
    """Whether each is there, once."""
    return None not in values and len({str(value) for value in values}) == len(values)


def _reasons(table: Table, problems: Iterable[Problem]) -> dict[int, str]:
    """What was wrong, by the position of a row, or, from `len(table)` on, of a record that was left out."""
    reasons = {len(table) + i: [str(problem)] for i, problem in enumerate(table.left_out)}
    place = {name: position for position, name in enumerate(table.ids)}
    for problem in (*table.problems, *problems):
        if problem.record is None and problem.row in place:
            said = f"{problem.column}: {problem.reason}" if problem.column else problem.reason
            reasons.setdefault(place[problem.row], []).append(said)
    return {position: "; ".join(dict.fromkeys(said)) for position, said in reasons.items()}


def _is_media(value: Any) -> bool:
    return isinstance(value, bytes | bytearray | Lazy | np.ndarray)
