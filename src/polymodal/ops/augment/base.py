"""Augmentation: further rows made from the training rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from polymodal.core.values import check_range
from polymodal.ops.base import RowOp
from polymodal.ops.rows import Row

MOST_COPIES = 63


class Augment(RowOp):
    """Makes `copies` of each training row, each varied by a draw of its own; the row itself stays as it is.

    Rows of validation and test are never touched: where the table has a column `split`, only those marked train are
    varied; a table without one is taken for training rows. An author writes `vary`.
    """

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1):
        super().__init__(columns=columns)
        self.copies = copies
        check_range(f"[1, {MOST_COPIES}]", copies=copies)

    @final
    def edit(self, row: Row) -> list[Row]:
        if row.part not in ("", "train"):
            return []
        made = []
        for k in range(self.copies):
            copy = row.copied(self.place, k)
            self.vary(copy, self.random(copy))
            if copy.changed:  # a copy like its source teaches nothing
                made.append(copy)
        return made

    @abstractmethod
    def vary(self, row: Row, rng: np.random.Generator) -> None:
        """Change cells of the copy through `row.put`. Raises `BadCell` or `SetAside` only for what is broken."""


class CellAugment(Augment):
    """Varies the cells of some columns, each by itself. An author writes `varied`."""

    @final
    def vary(self, row: Row, rng: np.random.Generator) -> None:
        for column in self.chosen:
            value = row.get(column)
            if value is not None:
                other = self.varied(value, rng)
                if other is not value:
                    row.put(column, other)

    @abstractmethod
    def varied(self, value: Any, rng: np.random.Generator) -> Any:
        """Another cell like `value`, or `value` itself where it cannot be varied."""


def share(name: str, value: float) -> float:
    """`value` if it lies between 0 and 1. Raises `BadArgument`."""
    check_range("[0, 1]", **{name: value})
    return value
