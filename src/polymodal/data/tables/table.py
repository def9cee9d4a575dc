"""Table: rows of raw cells in memory, with media left where they are."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from polymodal.core.addresses import Address
from polymodal.core.errors import ABSENT, BadData, UnknownName, suggest
from polymodal.core.limits import excess
from polymodal.core.shown import some
from polymodal.data.paths import Base
from polymodal.data.remote.remote import Remote, granted

MISSING = frozenset(
    ["", "NA", "na", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "-nan", "null", "Null", "NULL", "None", "NaT"]
)

USED = "is used all the same: "  # begins what is said of a cell among the reasons for which others were not
_SAFE = frozenset([str, float, bool, bytes, type(None)])


@dataclass(frozen=True)
class Problem:
    """Something wrong with one row or one cell, in words.

    `row` is the row's name, or `file:line` for a row that was set aside before it had one, or the file alone; `column`
    is the column or the stream concerned, empty for the whole row. `record` is set where a whole record was left out:
    its number in the source. `emptied` says that reading emptied a cell.
    """

    row: str
    column: str
    reason: str
    record: int | None = None
    emptied: bool = False

    @classmethod
    def of_record(cls, where: str, reason: str, record: int) -> Problem:
        """Of a record that was left out."""
        return cls(where, "", f"{reason}; row set aside", record)

    @classmethod
    def of_cell(cls, row: str, column: str, reason: str) -> Problem:
        """Of a cell that was emptied."""
        return cls(row, column, f"{reason}; cell set aside", emptied=True)

    def __str__(self) -> str:
        return f"{self.row}{f' [{self.column}]' if self.column else ''}: {self.reason}"


def problem_lines(
    problems: Sequence[Problem], what: str = "set aside", *, most: int = 20, complete: str = ""
) -> list[str]:
    """A line for each of the first `most` problems, and one that counts the others: how every command tells them.

    Rows of which the same is to be said of the same column share a line. What is no fault, used all the same or
    missing, comes last, not called `what`. `complete` is where all reasons stand.
    """
    alike: dict[tuple[str, str], list[Problem]] = {}
    for one in sorted(problems, key=lambda problem: problem.reason.startswith((USED, ABSENT))):
        alike.setdefault((one.column, one.reason), []).append(one)
    lines: list[str] = []
    rest = list(alike.values())
    while rest and len(lines) < most:
        first, *others = rest.pop(0)
        told = replace(first, row=some([first.row, *(one.row for one in others)]))
        lines.append(str(told) if first.reason.startswith((USED, ABSENT)) else f"{what}: {told}")
    if rest:
        lines.append(f"… and {sum(map(len, rest)):,} more ({what})" + (f"; all are in {complete}" if complete else ""))
    elif complete and len(lines) < len(problems):
        lines.append(f"all are in {complete}")
    return lines


def noted(table: Table) -> list[str]:
    """`problem_lines` of reading a table."""
    return problem_lines(table.problems, "noted while reading")


def check_columns(names: Iterable[str], source: object) -> None:
    """Raise `BadData` where two columns of `source` have one name."""
    if twice := [name for name, count in Counter(map(str, names)).items() if count > 1]:
        raise BadData(f"{source} has more than one column called {twice[0]!r}. Rename one of them.")


class Lazy(ABC):
    """A cell whose bytes lie in an archive; they are read when asked for, one cell at a time.

    `name` is the file name inside the archive ("0007.png"), from which the kind is told.
    """

    name: str

    @abstractmethod
    def load(self) -> bytes:
        """The cell's bytes. Raises `BadCell` when they cannot be read."""


def clean(value: Any) -> Any:
    """A raw value with every mark of absence turned into None, NumPy scalars into Python's own, fractions into
    numbers, paths into text, sets and arrays of anything but numbers into lists; pictures of Pillow, and files as
    Hugging Face writes them before they are decoded (`bytes`, `path`), into the bytes or the path of a file."""
    if value is None:
        return None
    if isinstance(value, str):
        return None if value.strip() in MISSING else value
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, np.datetime64 | np.timedelta64):  # in nanoseconds, item() gives a bare number
        value = value.astype(f"{value.dtype.kind}8[us]").item()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Fraction):
        try:
            value = float(value)
        except OverflowError:
            value = int(value)  # too long a number, which is said
    if isinstance(value, float | Decimal) and value != value:
        return None
    if isinstance(value, np.ndarray) and (value.dtype.kind not in "fiub" or not value.ndim):
        return clean(value.tolist())
    if isinstance(value, list) and not _SAFE.issuperset(map(type, value)):
        return [item.tolist() if isinstance(item, np.ndarray) and item.ndim < 2 else _as_file(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, UUID):
        return str(value)
    if type(value).__name__ in ("NaTType", "NAType"):  # pandas' own marks, told without importing pandas
        return None
    return _as_file(value)


def _as_file(value: Any) -> Any:
    """The bytes or the path of what stands for a file; anything else as it is."""
    if isinstance(value, dict) and "bytes" in value:
        content, path = clean(value["bytes"]), clean(value.get("path"))
        if isinstance(content, bytes):
            return content
        return path if content is None and value.keys() == {"bytes", "path"} else value
    if type(value).__module__.startswith("PIL.") and hasattr(value, "save"):
        return _picture_bytes(value)
    return value


def _picture_bytes(picture: Any) -> bytes:
    """A picture of Pillow as a file that keeps every pixel; b"" where it cannot be read, which is a broken cell."""
    content = io.BytesIO()
    try:
        picture.save(content, "PNG" if picture.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else "TIFF")
    except (OSError, ValueError, SyntaxError):
        return b""
    return content.getvalue()


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of raw cells; None is a missing cell.

    A cell is a string, a number, a bool, a date, a list, an array, a path relative to the row's base, bytes, or a
    `Lazy` reference into an archive. Media are never loaded here.

    `spelt` keeps the words of a column that were taken for a missing value ("NA", "None"), by row, so that a column in
    which they are values gets them back (`read_as`).

    `bases` and `rows` have one entry a row: the folder (or its address) that relative paths start from, and the
    record's number in its source (records set aside are counted, so that arrays stored beside the table stay aligned).
    `joined` says that the rows come from several sources. `remote` fetches what cells name by address; None where the
    user did not allow it when the table was made.
    """

    data: Mapping[str, list[Any]]
    ids: list[str]
    bases: list[Base]
    rows: np.ndarray
    problems: list[Problem]
    name: str = "table"
    joined: bool = False
    spelt: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    remote: Remote | None = field(default_factory=granted, repr=False)

    @classmethod
    def build(
        cls,
        data: Mapping[str, Sequence[Any]],
        *,
        base: Base | None = None,
        name: str = "table",
        rows: Sequence[int] | None = None,
        ids: Sequence[str] | None = None,
        problems: Iterable[Problem] = (),
        faults: Iterable[tuple[int, str, str]] = (),
    ) -> Table:
        """A table from columns of equal length.

        Ids are those given, else those of the column `id`, else record numbers. Where `id` repeats or lacks values, the
        rows concerned are named by it and their number, so that no name can be taken for another row's id. Raises
        `BadData` when the columns differ in length, or two have one name once it is text (1 and "1").

        `faults` are the place, the column and the reason of cells that reading emptied.
        """
        check_columns(data, name)
        faults = list(faults)
        columns = {str(column): _cleaned(str(column), values, faults) for column, values in data.items()}
        lengths = {column: len(values) for column, values in columns.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{column} has {count}" for column, count in lengths.items())
            raise BadData(f"All columns of {name} need the same number of rows; {listed}.")
        count = next(iter(lengths.values()), 0)
        numbers = np.arange(count) if rows is None else np.asarray(rows, dtype=np.int64)
        problems = list(problems)
        if ids is None:
            ids = _ids(columns, numbers, name, problems)
        problems.extend(Problem.of_cell(ids[row], column, why) for row, column, why in faults)
        folder = base if isinstance(base, Address) else (base or Path.cwd()).absolute()
        words = ((column, _words(values, columns[str(column)])) for column, values in data.items())
        spelt = {str(column): said for column, said in words if said}
        return cls(columns, list(ids), [folder] * count, numbers, problems, name, spelt=spelt)

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the source's order."""
        return list(self.data)

    @property
    def base(self) -> Base:
        """The folder that relative paths of the first row start from."""
        return self.bases[0] if self.bases else Path.cwd()

    @property
    def left_out(self) -> list[Problem]:
        """The records of the source that gave no row, with the reasons."""
        return [problem for problem in self.problems if problem.record is not None]

    @property
    def emptied(self) -> list[Problem]:
        """The cells that reading emptied, with the reasons."""
        return [problem for problem in self.problems if problem.emptied]

    @property
    def records(self) -> int:
        """How many records were read, those that gave no row included."""
        return len(self) + len(self.left_out)

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str) -> list[Any]:
        """The raw cells of one column. Raises `UnknownName` with the nearest column."""
        if name not in self.data:
            raise UnknownName(f"{self.name} has no column {name!r}.{suggest(name, self.data)}")
        return self.data[name]

    def select(self, rows: Iterable[int] | np.ndarray) -> Table:
        """The rows at these positions, in this order; a bool mask is understood too. What was left out is not asked."""
        chosen = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows))
        positions = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        order = positions.tolist()
        data = {column: [values[i] for i in order] for column, values in self.data.items()}
        ids, bases = [self.ids[i] for i in order], [self.bases[i] for i in order]
        spelt = {
            column: {row: words[i] for row, i in enumerate(order) if i in words} for column, words in self.spelt.items()
        }
        problems = _unnumbered(self.problems)
        chosen_rows = self.rows[positions]
        return replace(self, data=data, ids=ids, bases=bases, rows=chosen_rows, problems=problems, spelt=spelt)

    def read_as(self, absent: Mapping[str, Collection[str]]) -> Table:
        """The same rows, in which exactly these marks stand for a missing value, by column; others read as before."""
        data, spelt = dict(self.data), dict(self.spelt)
        for column, marks in absent.items():
            if column not in data:
                continue
            words = dict(spelt.get(column, {}))
            cells = [words.get(row, cell) for row, cell in enumerate(data[column])]
            for row, cell in enumerate(cells):
                if cell is not None and not isinstance(cell, list | dict | bytes | np.ndarray) and _said(cell) in marks:
                    words[row], cells[row] = str(cell), None
            data[column], spelt[column] = cells, {row: word for row, word in words.items() if cells[row] is None}
        return replace(self, data=data, spelt=spelt)

    def named_by(self, column: str, *, strict: bool = True) -> Table:
        """The same rows with the values of `column` as ids.

        Where they are not unique, raises `BadData`, or, unless `strict`, names the rows by them and their number.
        """
        problems = list(self.problems)
        ids = _named_by(column, self.column(column), self.rows, self.name, problems)
        if strict and len(problems) > len(self.problems):
            _, fault = _unique(self.column(column))
            raise BadData(f"Column {column!r} cannot name the rows: {fault}. Choose another `id`, or none.")
        new = dict(zip(self.ids, ids))
        problems = [replace(problem, row=new.get(problem.row, problem.row)) for problem in problems]
        return replace(self, ids=ids, problems=problems)

    @staticmethod
    def concat(tables: Sequence[Table]) -> Table:
        """All rows of `tables`, one after the other; a column that a table lacks is missing there.

        Ids that clash between tables get the table's name before them. Raises `BadData` for no table at all.
        """
        if not tables:
            raise BadData("No table to join: give at least one.")
        if len(tables) == 1:
            return tables[0]
        columns = list(dict.fromkeys(column for table in tables for column in table.data))
        data = {c: [v for t in tables for v in t.data.get(c, [None] * len(t))] for c in columns}
        named, problems = _joined_names(tables)
        bases = [base for table in tables for base in table.bases]
        rows = np.concatenate([table.rows for table in tables])
        spelt: dict[str, dict[int, str]] = {}
        for start, table in zip(np.cumsum([0, *map(len, tables)]).tolist(), tables):
            for column, words in table.spelt.items():
                spelt.setdefault(column, {}).update({start + row: word for row, word in words.items()})
        remote = next((table.remote for table in tables if table.remote), None)
        return Table(data, named, bases, rows, problems, "+".join(table.name for table in tables), True, spelt, remote)


def _said(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _cleaned(column: str, values: Iterable[Any], faults: list[tuple[int, str, str]]) -> list[Any]:
    """The cells; None, and a fault (row, column, reason), for what nests too deep and for a number that is too long."""
    cells = [clean(value) for value in values]
    kinds = set(map(type, cells)) - _SAFE
    for row, cell in enumerate(cells if kinds else ()):
        if type(cell) in kinds and (fault := excess(cell)):
            faults.append((row, column, fault))
            cells[row] = None
    return cells


def _words(values: Sequence[Any], cells: Sequence[Any]) -> dict[int, str]:
    """The words that were taken for a missing value, by row."""
    gone = (row for row, cell in enumerate(cells) if cell is None)
    return {row: word for row in gone if isinstance(word := values[row], str) and word.strip()}


def _unique(values: Sequence[Any]) -> tuple[list[str], str]:
    """The values as ids, or why they are none."""
    given = [str(value) for value in values if value is not None]
    repeated = [value for value, count in Counter(given).most_common(1) if count > 1]
    if repeated:
        return given, f"{repeated[0]!r} appears more than once"
    return given, "some are missing" if len(given) < len(values) else ""


def _ids(columns: Mapping[str, list[Any]], numbers: np.ndarray, name: str, problems: list[Problem]) -> list[str]:
    column = next((c for c in columns if c.lower() == "id"), None)
    if column is not None:
        return _named_by(column, columns[column], numbers, name, problems)
    return [str(number) for number in numbers.tolist()]


def _named_by(column: str, values: Sequence[Any], numbers: np.ndarray, name: str, problems: list[Problem]) -> list[str]:
    """The ids in `column`; those that repeat or are missing with the row's number, which is a problem said once."""
    ids, fault = _unique(values)
    if not fault:
        return ids
    problems.append(
        Problem(name, column, f"ids are not unique ({fault}); rows are told apart by their number (the first is 0)")
    )
    counts = Counter(ids)
    each = [(None if value is None else str(value), number) for value, number in zip(values, numbers.tolist())]
    ids = [v if v is not None and counts[v] == 1 else f"{v or ''} (row {n})".lstrip() for v, n in each]
    return ids if len(set(ids)) == len(ids) else [f"(row {number})" for _, number in each]


def _unnumbered(problems: Sequence[Problem]) -> list[Problem]:
    return [problem if problem.record is None else replace(problem, record=None) for problem in problems]


def _joined_names(tables: Sequence[Table]) -> tuple[list[str], list[Problem]]:
    ids = [identifier for table in tables for identifier in table.ids]
    if len(set(ids)) == len(ids):
        return ids, _unnumbered([problem for table in tables for problem in table.problems])
    stems = [table.name for table in tables]
    if len(set(stems)) < len(stems):
        stems = [f"{stem}_{position}" for position, stem in enumerate(stems)]
    problems = [
        replace(problem, row=f"{stem}/{problem.row}") if problem.row in known else problem
        for stem, table in zip(stems, tables)
        for known in [set(table.ids)]
        for problem in _unnumbered(table.problems)
    ]
    return [f"{stem}/{identifier}" for stem, table in zip(stems, tables) for identifier in table.ids], problems
