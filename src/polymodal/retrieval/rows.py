"""Rows of an index as a table again, so that their cells can be read: to be shown, or to be judged by their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from polymodal.core.addresses import Address, is_link
from polymodal.data.paths import Base
from polymodal.data.tables.source import Table, read_table
from polymodal.inference.space import Space
from polymodal.retrieval.changes import BASE, NUMBER, place_from
from polymodal.retrieval.index import Index


def rows_again(index: Index, space: Space, ids: Sequence[str]) -> Table:
    """The rows as a table: from the index, or, where cells lie in archives or bytes, from where they were read."""
    rows = [index.row(identifier) for identifier in ids]
    fields = [space.field(name) for name in index.streams]
    kept = {column for row in rows for column in row}
    elsewhere = any(column not in kept for field in fields for column in field.columns)
    source = index.about.get("source")
    if elsewhere and source is not None and place_from(index.folder, source).exists():
        table = read_table(place_from(index.folder, source))
        place = {identifier: i for i, identifier in enumerate(table.ids)}
        if all(identifier in place for identifier in ids):
            return table.select([place[identifier] for identifier in ids])
    columns = [name for name in index.corpus.columns if not name.startswith(":")]
    table = Table.build({name: [row.get(name) for row in rows] for name in columns}, ids=ids)
    bases = [_base(index, row[BASE]) if BASE in row else Path.cwd() for row in rows]
    return replace(table, ids=list(ids), bases=bases, rows=np.array([row.get(NUMBER, -1) for row in rows], np.int64))


def _base(index: Index, told: str) -> Base:
    return Address(told) if is_link(told) else place_from(index.folder, told)
