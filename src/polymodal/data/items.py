"""The items of a stream: one a row, or several, each in a column of its own, as a photo's five captions are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from polymodal.data.cells import Cells, cells
from polymodal.data.schema import Field
from polymodal.data.tables.table import Table


@dataclass(frozen=True, eq=False)
class Items:
    """Raw cells [C] of one stream, all of a row together; `row` [C] says of which row, `column` [C] of which column."""

    cells: Sequence[Any]
    row: np.ndarray
    column: Sequence[str]

    def __len__(self) -> int:
        return len(self.row)


def items(table: Table, field: Field) -> Items:
    """Every item of `field` in `table`; None where a cell is missing. Raises as `cells` does."""
    if not field.options.get("many"):
        name = field.columns[0] if len(field.columns) == 1 else field.name
        return Items(cells(table, field), np.arange(len(table)), [name] * len(table))
    options = {name: value for name, value in field.options.items() if name != "many"}
    each = [cells(table, replace(field, columns=(column,), options=options)) for column in field.columns]
    count = len(each)
    return Items(
        Cells(count * len(table), lambda place: each[place % count][place // count]),
        np.arange(len(table)).repeat(count),
        [field.columns[place % count] for place in range(count * len(table))],
    )
