"""Op: one step of a recipe. It changes rows, adds columns or rows, or sets rows aside with a reason."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np

from polymodal.core.errors import BadArgument, BadCell
from polymodal.ops.rows import Refused, Row, Rows, SetAside, Tally, columns_of

Sketch = dict[str, np.ndarray]


class Op(ABC):
    """One step of a recipe; the constructor's keyword-only arguments are its options, stored untouched.

    An op that must see the whole table first (to find duplicates, say) writes `partial_fit`, which sums up a batch in a
    few arrays, and `finalize`, which turns all batches' sketches, in order, into `self.state`. Both are pure: the same
    rows give the same arrays whoever computes them, so that one process, many, and a cluster agree. Draws come from
    `self.random(row)`, which depends on the seed and the row alone.
    """

    kinds: ClassVar[tuple[str, ...]] = ()  # kinds of columns it can work on
    reads_batch: ClassVar[bool] = False  # True: rows of a batch are partners, so that the recipe's `batch` matters
    name: str = ""  # as the recipe calls it
    seed: int = 0
    place: int = 0  # its position in the recipe: two ops alike draw differently
    keep_row: bool = False  # the recipe's word: set aside the cell alone, and keep the row without it

    def __init__(self, *, columns: Sequence[str] | str | None = None) -> None:
        self.columns = columns
        self.state: Sketch = {}
        self.chosen: list[str] = []

    @staticmethod
    def open_space(folder: str) -> Any:
        """The finished space of an `align` run. Whoever carries a recipe out says how: ops know no finished model."""
        raise BadArgument(f"The space {folder} is opened by a recipe that is carried out; an op alone cannot.")

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        """Choose the columns to work on; returns the kinds of the columns that the next op will see.

        Raises `BadArgument` for a column that does not exist, or that the op cannot take.
        """
        self.chosen = columns_of(kinds, self.kinds, self.columns)
        return {**kinds, **self.adds()}

    def adds(self) -> dict[str, str]:
        """Columns that the op adds, with their kinds. Called once `chosen` is known."""
        return {}

    def partial_fit(self, rows: Rows) -> Sketch:
        """What `finalize` needs to know of a batch, as arrays without pickled objects."""
        raise NotImplementedError

    def finalize(self, sketches: Iterable[Sketch]) -> None:
        """Set `self.state` from the sketches of all batches, in the order of the rows."""
        raise NotImplementedError

    @property
    def surveys(self) -> bool:
        """Whether the whole table has to be seen before `apply`."""
        return type(self).partial_fit is not Op.partial_fit

    def random(self, row: Row) -> np.random.Generator:
        """A generator for this op on this row: the same whatever the batch, the worker or the order."""
        return np.random.default_rng((self.seed, self.place, row.number, row.copy))

    @final
    def apply(self, rows: Rows, tally: Tally | None = None) -> Tally:
        """Work on a batch in place and tell what was done, on top of what `tally` tells already."""
        tally = tally or Tally()
        kept, refused, started = len(rows.kept), len(rows.refused), time.perf_counter()
        self._run(rows, tally)
        tally.seconds += time.perf_counter() - started
        tally.seen += kept
        tally.set_aside += len(rows.refused) - refused
        tally.added += len(rows.kept) - kept + len(rows.refused) - refused
        return tally

    @abstractmethod
    def _run(self, rows: Rows, tally: Tally) -> None:
        """The level below `apply`: row by row, or the batch as a whole."""


class RowOp(Op):
    """An op that looks at one row at a time. An author writes `edit`."""

    @final
    def _run(self, rows: Rows, tally: Tally) -> None:
        kept: list[Row] = []
        for row in rows.kept:
            try:
                more = self.edit(row) or ()
            except (SetAside, BadCell) as error:
                row.undo()
                rows.refused.append(Refused(row, self.name, error.reason))
                continue
            tally.note(row)
            kept.append(row)
            for made in more:
                tally.note(made, made=True)
                kept.append(made)
        rows.kept = kept

    @abstractmethod
    def edit(self, row: Row) -> Sequence[Row] | None:
        """Change the row through `row.put`, return rows to add after it, or raise `SetAside` with a reason."""


class CellOp(Op):
    """An op on the cells of some columns, each by itself. An author writes `mend`."""

    @final
    def _run(self, rows: Rows, tally: Tally) -> None:
        kept: list[Row] = []
        for row in rows.kept:
            refused = self._mend_row(row, rows, tally)
            if refused is None:
                tally.note(row)
                kept.append(row)
            else:
                row.undo()
                rows.refused.append(refused)
        rows.kept = kept

    def _mend_row(self, row: Row, rows: Rows, tally: Tally) -> Refused | None:
        words = "text" in self.kinds and set(self.kinds) <= {"text", "category", "id"}
        for column in self.chosen:
            try:
                value = row.get(column)
                # a category may be true, 3 or a date: what mends words passes over what is none
                skip = value is None or (words and not isinstance(value, str))
                mended = value if skip else self.mend(value, row, column)
            except (SetAside, BadCell) as error:
                if not self.keep_row:
                    return Refused(row, self.name, f"{column}: {error.reason}")
                rows.blanked.append(Refused(row, self.name, error.reason, column, row.cells[column]))
                tally.blanked += 1
                row.cells[column] = None
                continue
            if mended is not value:
                row.put(column, mended)
        return None

    @abstractmethod
    def mend(self, value: Any, row: Row, column: str) -> Any:
        """The cell changed; the very same object where nothing is to change. Raises `SetAside` with a reason."""


class BatchOp(Op):
    """An op that works on many rows at once, as a model does. An author writes `work`."""

    @final
    def _run(self, rows: Rows, tally: Tally) -> None:
        self.work(rows)
        for row in rows.kept:
            tally.note(row)

    @abstractmethod
    def work(self, rows: Rows) -> None:
        """Change `rows` in place; rows set aside go from `kept` to `refused`."""

    def values(self, rows: Rows, column: str, read: Callable[[Row, str], Any] = Row.get) -> list[Any]:
        """The decoded cells of a column, None where missing; rows whose cell is broken are set aside first."""
        values: list[Any] = []
        broken: dict[int, str] = {}
        for i, row in enumerate(rows.kept):
            try:
                values.append(read(row, column))
            except BadCell as error:
                broken[i] = f"{column}: {error.reason}"
        self.refuse(rows, broken)
        return values

    def refuse(self, rows: Rows, reasons: Mapping[int, str]) -> None:
        """Set the rows at these positions aside."""
        rows.refused += [Refused(rows.kept[i], self.name, reason) for i, reason in sorted(reasons.items())]
        rows.kept = [row for i, row in enumerate(rows.kept) if i not in reasons]
