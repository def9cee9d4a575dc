"""Rows that are copies of one another, or share seconds of a recording, told before any cell is opened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.data.cells import edge_columns
from polymodal.data.media.clusters import joined
from polymodal.data.media.stretch import OPTIONS, edges
from polymodal.data.paths import Base
from polymodal.data.schema import Field, Schema
from polymodal.data.tables.table import Table


def held_together(table: Table, schema: Schema) -> list[Hashable] | None:
    """What rows must share to stay in one part of a split or of folds, [N]; None where each may go by itself.

    It is their `group`; without one, rows stay together that are copies, or whose stretches of one recording overlap:
    what was written twice would otherwise be learned from in one part and judged in another.
    """
    if schema.group:
        return list(table.column(schema.group))
    pairs = np.array([*_copies(table, schema), *_overlaps(table, schema)], np.int64)
    return joined(pairs[:, 0], pairs[:, 1], len(table)).tolist() if len(pairs) else None


def stretched(schema: Schema) -> list[Field]:
    """The fields that read a stretch of a recording, which other rows may share."""
    return [field for field in schema.fields.values() if any(option in field.options for option in OPTIONS)]


def _copies(table: Table, schema: Schema) -> Iterator[tuple[int, int]]:
    """Pairs of rows that have all their cells in common, where one is a file or an array.

    Equal categories, numbers and words alone make no copy: independent rows may agree in them, in test as in training.
    Cells are compared as the table names them: files of the same content under two names are found by `inspect`.
    """
    named = {field.name: _columns(field) for field in schema.fields.values()}
    media = [named[field.name] for field in schema.fields.values() if field.about.media]
    if not media or not all(media):
        return  # no file, or the record's own number names a row of an array
    cells = {column: table.column(column) for columns in named.values() for column in columns}
    telling = {column for columns in media for column in columns}
    first: dict[Hashable, int] = {}
    for row, base in enumerate(table.bases):
        if any(cells[column][row] is not None for column in telling):
            before = first.setdefault(tuple(_name(values[row], base) for values in cells.values()), row)
            if before < row:
                yield before, row


def _overlaps(table: Table, schema: Schema) -> Iterator[tuple[int, int]]:
    """Pairs of rows whose stretches of one recording have seconds in common, each row with one that begins earlier."""
    for field in stretched(schema):
        taken: dict[Hashable, list[tuple[float, float, int]]] = defaultdict(list)
        for row, (cell, *ends) in enumerate(zip(table.column(field.columns[0]), *edge_columns(table, field))):
            with suppress(BadCell):  # the reader names it
                if cell is not None:
                    start, end = edges(*ends)
                    taken[_name(cell, table.bases[row])].append((start, np.inf if end is None else end, row))
        for stretches in taken.values():
            until, last = -np.inf, 0  # the latest end so far, and whose it is
            for start, end, row in sorted(stretches):
                if start < until:
                    yield last, row
                if end > until:
                    until, last = end, row


def _columns(field: Field) -> tuple[str, ...]:
    """The columns that say which cell a row has."""
    if "array" in field.options:
        return (field.options["row"],) if "row" in field.options else ()
    return field.needed


def _name(cell: Any, base: Base) -> Hashable:
    """What tells a cell from others."""
    if isinstance(cell, dict):
        return tuple(sorted((key, _name(value, base)) for key, value in cell.items()))
    if isinstance(cell, list | tuple):
        return tuple(_name(value, base) for value in cell)
    if isinstance(cell, np.ndarray):
        return cell.shape, cell.tobytes()
    return (base, cell) if isinstance(cell, str) else cell
