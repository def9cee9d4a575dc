"""Rows under work: what an op sees of a batch, and the record of what it did to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.numbers import Notation, as_number
from polymodal.data.media.cell import MEDIA_KINDS, Media

SAMPLES = 4  # changes of each op that a batch remembers for the report


class SetAside(Exception):
    """Raised by an op on a row that must not be kept; the reason is what the user reads."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(eq=False)
class Row:
    """One row: raw cells by column, media as `Media`, None where missing. Ops change it in place through `put`.

    `number` is the row's position in the input; `copy` is 0, or for a row that an augmentation made a number that no
    other row made from the same source has.
    """

    id: str
    number: int
    cells: dict[str, Any]
    kinds: Mapping[str, str]
    part: str = ""  # train, valid, test, or nothing where the data say none
    copy: int = 0
    notations: Mapping[str, Notation] = field(default_factory=dict)  # how columns of numbers are written
    changed: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # column -> before and after, of the present op
    said: dict[str, list[str]] = field(default_factory=dict)  # column -> what readers remarked on a cell that is used

    def get(self, column: str) -> Any:
        """The cell of a column; media are decoded. None where it is missing. Raises `BadCell` for a broken file."""
        value = self.cells.get(column)
        if not isinstance(value, Media):
            return value
        decoded = value.value()
        if value.said:
            self.said[column] = list(value.said)
        return decoded

    def amount(self, column: str) -> float | None:
        """The finite number that a cell is, as its column writes numbers; None where it is none."""
        notation = self.notations.get(column)
        return as_number(self.cells.get(column)) if notation is None else notation.number(self.cells.get(column))

    def put(self, column: str, value: Any) -> None:
        """Set a cell, which may be of a new column. For a media column `value` is the decoded picture or sound."""
        before = self.cells.get(column)
        after = value
        if value is not None and self.kinds.get(column) in MEDIA_KINDS:
            held = before if isinstance(before, Media) else Media(self.kinds[column], b"")
            after = value if isinstance(value, Media) else held.with_value(value)
        self.cells[column] = after
        self.changed[column] = (self.changed.get(column, (before,))[0], after)

    def undo(self) -> None:
        """Take back what the present op put."""
        for column, (before, _) in self.changed.items():
            self.cells[column] = before
        self.changed.clear()

    def copied(self, place: int, k: int) -> Row:
        """A further row made from this one: the `k`-th that the op at `place` in the recipe makes."""
        copy = self.copy * 4096 + place * 64 + k + 1
        return Row(f"{self.id}~{place}.{k}", self.number, dict(self.cells), self.kinds, self.part, copy, self.notations)


@dataclass(frozen=True)
class Refused:
    """A row, or with `column` one cell of a row that was kept, that was set aside: as it was when the op saw it."""

    row: Row
    op: str
    reason: str
    column: str = ""
    cell: Any = None


@dataclass
class Tally:
    """What one op did to a batch: counts, seconds, and a few changes to show."""

    seen: int = 0
    changed: int = 0
    set_aside: int = 0
    added: int = 0
    blanked: int = 0
    seconds: float = 0.0
    samples: list[tuple[str, str, Any, Any]] = field(default_factory=list)  # row id, column, before, after

    def note(self, row: Row, *, made: bool = False) -> None:
        """Count what the op just changed in `row`, and keep a sample of it; a row that it `made` is no changed one."""
        changes = {c: (b, a) for c, (b, a) in row.changed.items() if a is not b and not _equal(a, b)}
        row.changed.clear()
        self.changed += bool(changes) and not made
        for column, (before, after) in changes.items():
            if len(self.samples) < SAMPLES:
                self.samples.append((row.id, column, before, after))


@dataclass
class Rows:
    """A batch: rows still kept, rows that ops have set aside so far, and single cells that they have."""

    kept: list[Row]
    refused: list[Refused] = field(default_factory=list)
    blanked: list[Refused] = field(default_factory=list)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)


def columns_of(kinds: Mapping[str, str], allowed: Sequence[str], asked: Sequence[str] | str | None) -> list[str]:
    """The columns that an op works on: those asked for by name, else all of the kinds that it can take.

    Raises `BadArgument` for a column that does not exist or is of another kind.
    """
    if asked is None:
        return [column for column, kind in kinds.items() if kind in allowed]
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        if name not in kinds:
            raise BadArgument(f"There is no column {name!r}.{suggest(name, kinds)}")
        if kinds[name] not in allowed:
            raise BadArgument(f"The column {name!r} is of kind {kinds[name]}; this op takes {', '.join(allowed)}.")
    return names


def _equal(a: Any, b: Any) -> bool:
    same = a == b
    return bool(same) if isinstance(same, bool) else False
