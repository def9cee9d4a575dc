"""Several columns that hold one answer each, all right: as a photo's five captions do. They are one column of lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from polymodal.core.registry import Spec
from polymodal.data.tables.table import Table
from polymodal.targets.labels import listed

KEY = "references"  # the option of a target that names such columns


def references_of(spec: Spec | None) -> tuple[str, ...]:
    """The columns that a target gathers; none where its own column holds all."""
    return tuple(spec.get(KEY, ())) if isinstance(spec, Mapping) else ()


def columns_of_target(name: str, spec: Spec | None) -> tuple[str, ...]:
    """The columns of the table that a target is read from."""
    return references_of(spec) or (name,)


def gathered(table: Table, targets: Mapping[str, Spec | None]) -> Table:
    """The table with a column of lists for each target that gathers several, as far as it has those.

    A cell may itself be a list of several. A row where none holds anything is missing.
    """
    more: dict[str, list[Any]] = {}
    for name, spec in targets.items():
        if columns := [column for column in references_of(spec) if column in table.data]:
            rows = zip(*(table.data[column] for column in columns))
            more[name] = [[one for cell in row for one in _each(cell)] or None for row in rows]
    return replace(table, data={**table.data, **more}) if more else table


def _each(cell: Any) -> Sequence[Any]:
    """What a cell holds, as one of the target's own would be read."""
    items = listed(cell)
    return items if items is not None else [] if cell is None else [cell]
