"""The cells of a target as the target reads them: those that hold files are opened here, above which targets lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.data.cells import cells
from polymodal.data.media.picture import read_picture
from polymodal.data.media.sound import Sound, read_mono
from polymodal.data.schema import Field
from polymodal.data.storage.decode import Broken, guarded
from polymodal.data.tables.table import Problem, Table
from polymodal.targets.base import Target


def target_cells(table: Table, target: Target) -> list[Any]:
    """The cells [N] of a target's column, None where missing, as `Target.fit` and `Target.encode` take them.

    Where it reads files (`Target.opened`) each is what `OPENERS` makes of it, no larger than the target needs, or the
    `BadCell` that says why it cannot be opened. Raises `UnknownName` for a column that the table lacks.
    """
    if not target.opened:
        return table.column(target.name)
    found = cells(table, Field(target.name, target.opened, (target.name,)))
    read = OPENERS[target.opened](target)

    def of_row(row: int) -> Any:
        return None if (cell := found[row]) is None else read(cell)

    opened = (guarded(of_row, row) for row in range(len(table)))
    return [BadCell(one.reason) if isinstance(one, Broken) else one for one in opened]


def faults(table: Table, target: Target, values: Sequence[Any]) -> list[Problem]:
    """The cells of `target_cells` that cannot be written or drawn, and why; those of scored kinds are counted as not
    known from training."""
    odd = {} if target.scores else target.survey(values)[1]
    return [Problem(table.ids[row], target.name, reason) for row, reason in odd.items()]


def _pictures(target: Any) -> Callable[[Any], np.ndarray]:
    def read(cell: Any) -> np.ndarray:
        return np.asarray(read_picture(cell if isinstance(cell, bytes | np.ndarray) else Path(cell), target.size))

    return read


def _sounds(target: Any) -> Callable[[Any], Sound]:
    def read(cell: Any) -> Sound:
        sound = read_mono(cell if isinstance(cell, bytes) else Path(cell), target.longest)
        rate = min(sound.rate, target.fastest)
        return Sound(sound.at(rate), rate)

    return read


# By the kind of the files: from a target to what opens a cell of it. Pictures are uint8 [H, W] or [H, W, 3].
OPENERS: dict[str, Callable[[Any], Callable[[Any], Any]]] = {"image": _pictures, "audio": _sounds}
