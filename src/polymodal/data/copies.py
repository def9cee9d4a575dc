"""Rows that are copies of one another, told by their cells before any is opened."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.schema import Field, Schema
from polymodal.data.tables.table import Table


def held_together(table: Table, schema: Schema) -> list[Hashable] | None:
    """What rows must share to stay in one part of a split or of folds, [N]; None where each may go by itself.

    It is their `group`; without one, all their cells, where one is a file or an array: a record that was written twice
    would otherwise be learned from in one part and judged in another. Equal categories, numbers and words alone make no
    copy: independent rows may agree in them, in test as in training. Cells are compared as the table names them: files
    of the same content under two names are found by `inspect`.
    """
    if schema.group:
        return list(table.column(schema.group))
    named = {field.name: _columns(field) for field in schema.fields.values()}
    media = [named[field.name] for field in schema.fields.values() if field.about.media]
    if not media or not all(media):
        return None  # no file, or the record's own number names a row of an array
    cells = {column: table.column(column) for columns in named.values() for column in columns}
    telling = {column for columns in media for column in columns}
    keys: list[Hashable] = []
    for row, base in enumerate(table.bases):
        there = any(cells[column][row] is not None for column in telling)
        keys.append(tuple(_name(values[row], base) for values in cells.values()) if there else None)
    copied = len(set(keys) - {None}) < sum(key is not None for key in keys)
    return keys if copied else None


def _columns(field: Field) -> tuple[str, ...]:
    """The columns that say which cell a row has."""
    if "array" in field.options:
        return (field.options["row"],) if "row" in field.options else ()
    return field.needed


def _name(cell: Any, base: Path) -> Hashable:
    """What tells a cell from others."""
    if isinstance(cell, dict):
        return tuple(sorted((key, _name(value, base)) for key, value in cell.items()))
    if isinstance(cell, list | tuple):
        return tuple(_name(value, base) for value in cell)
    if isinstance(cell, np.ndarray):
        return cell.shape, cell.tobytes()
    return (base, cell) if isinstance(cell, str) else cell
