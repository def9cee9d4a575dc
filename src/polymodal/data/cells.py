"""From a field to the raw cells that its processor reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np

from polymodal.core.addresses import Address, is_link
from polymodal.core.errors import BadCell, BadData, UnknownName, suggest
from polymodal.core.numbers import as_number
from polymodal.data.kinds import KINDS
from polymodal.data.links import link_cells
from polymodal.data.media.array import map_array, read_array
from polymodal.data.media.calibration import CALIBRATION, Calibrated, projection_of
from polymodal.data.media.files import opened
from polymodal.data.media.stretch import OPTIONS, Stretch, edges
from polymodal.data.paths import Base, fault_of, is_foreign, placed
from polymodal.data.remote.remote import ReadAhead, Remote
from polymodal.data.schema import Field
from polymodal.data.tables.table import Lazy, Table
from polymodal.data.values import as_array
from polymodal.targets.labels import listed


class Cells(Sequence[Any]):
    """The raw cells of one field, found one by one; nothing is opened before a cell is asked for.

    `cells[i]` raises `BadCell` where a cell cannot even be handed over (an archive cut short, a row beyond its array);
    callers meet it in the same place as `Processor.read`'s.
    """

    def __init__(self, count: int, cell: Callable[[int], Any], ahead: ReadAhead | None = None):
        self._count = count
        self._cell = cell if ahead is None else self._reading(cell, ahead)

    @staticmethod
    def _reading(cell: Callable[[int], Any], ahead: ReadAhead) -> Callable[[int], Any]:
        def read(row: int) -> Any:
            ahead(row)
            return cell(row)

        return read

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._cell(row) for row in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(f"row {index} of {self._count}")
        return self._cell(index % self._count)


def cells(table: Table, field: Field) -> Cells:
    """What `Processor.read` gets for each row of `field`; None where the cell is missing.

    It is what the field's kind says of a `cell`. A file: an absolute path (which need not exist), bytes or uint8 array.
    Files: one, or a list of them, or the array of a list of numbers. Either is a `Stretch` of it where the field says
    `from` or `to`, and `Calibrated` where it says `projection`.
    Text: a string. A record: a dict from column to raw cell. Numbers: an absolute path or a float32 array [n] or
    [n, channels]. Links: `ids` and `weights` of the row's neighbours.

    Raises `UnknownName` for a column that the table lacks, `BadData` for an array that does not exist or fit the rows.
    """
    for column in field.columns:
        table.column(column)
    if field.options.get("many"):
        raise BadData(
            f"The stream {field.name!r} has several items a row (`many`), which only `align` and `search` take. Name "
            "one of its columns, or join them in one text."
        )
    if field.about.reads_neighbours:
        return Cells(len(table), link_cells(table, field.name, field.options).__getitem__)
    if "array" in field.options:
        return _from_array(table, field)
    if field.about.is_record:
        columns = {column: table.column(column) for column in field.columns}
        return Cells(len(table), lambda row: _record({name: values[row] for name, values in columns.items()}))
    if len(field.columns) > 1:
        many, decimal = [table.column(column) for column in field.columns], field.options.get("decimal", ".")
        return Cells(len(table), lambda row: _stacked([values[row] for values in many], decimal))
    values = table.column(field.columns[0])
    text = _text_file if field.options.get("files") else _text
    read = {"text": text, "numbers": _numbers, "file": media, "files": _several}
    one = partial(read[field.about.cell], remote=table.remote)
    named = partial(_addresses, values, table.bases)
    ahead = None if table.remote is None or one.func is _text else ReadAhead(table.remote, named, len(table))
    if any(option in field.options for option in OPTIONS):
        ends = edge_columns(table, field)
        return Cells(len(table), lambda row: None if values[row] is None else Stretch(
            one(values[row], table.bases[row]), *edges(*(end[row] for end in ends))
        ), ahead)  # fmt: skip
    if any(option in field.options for option in CALIBRATION):
        matrices, cameras = _columns(table, field, CALIBRATION)
        return Cells(len(table), lambda row: None if values[row] is None else Calibrated(
            one(values[row], table.bases[row]), projection_of(matrices[row]),
            None if cameras[row] is None else media(cameras[row], table.bases[row], table.remote),
        ), ahead)  # fmt: skip
    return Cells(len(table), lambda row: None if values[row] is None else one(values[row], table.bases[row]), ahead)


def edge_columns(table: Table, field: Field) -> list[list[Any]]:
    """The cells that say where each row's stretch begins, and where it ends; None where the field names no column."""
    return _columns(table, field, OPTIONS)


def _columns(table: Table, field: Field, options: Sequence[str]) -> list[list[Any]]:
    """The cells of the columns that the field's `options` name; None where it names no column."""
    return [table.column(field.options[o]) if o in field.options else [None] * len(table) for o in options]


def _record(record: dict[str, Any]) -> dict[str, Any] | None:
    return record if any(value is not None for value in record.values()) else None


def _addresses(values: Sequence[Any], bases: Sequence[Base], row: int) -> list[str]:
    """The addresses that a cell of files names."""
    value, base = values[row], bases[row]
    items = (listed(value) if isinstance(value, str | list | tuple) else None) or [value]
    if isinstance(base, Address):
        items = [base.joined(one) if isinstance(one, str) and KINDS.of_file(one) else one for one in items]
    return [one for one in items if isinstance(one, str) and is_link(one)]


def media(value: Any, base: Base, remote: Remote | None = None) -> Any:
    """What a cell that names or holds a file hands over: an absolute path, bytes or an array. Raises `BadCell`."""
    if isinstance(value, Lazy):
        return value.load()
    if isinstance(value, bytes | np.ndarray):
        return value
    if not isinstance(value, str | Path):
        raise BadCell(f"is {value!r}, where a file name was expected")
    text = str(value)
    path = placed(base, text, remote)
    if fault := fault_of(path):
        raise BadCell(fault)
    if text.startswith("[") and listed(text) is not None and not path.exists():
        raise BadCell(f"is a list ({text[:40]}…), where one file was expected")
    if is_foreign(text) and not path.exists():
        raise BadCell(f"names a Windows drive ({text[:2]}), which this machine does not have; make the path relative")
    return path


def _several(value: Any, base: Base, remote: Remote | None) -> Any:
    """One file, or a list of them, what it lacks passed over; a list of numbers is an array."""
    items = listed(value) if isinstance(value, str | list | tuple) else None
    if items is None:
        return media(value, base, remote)
    if items and not isinstance(items[0], str | bytes | Path) and (array := as_array(items)) is not None:
        return array
    return [media(item, base, remote) for item in items if item is not None]


def _text(value: Any, base: Base, remote: Remote | None) -> str:
    if isinstance(value, Lazy):
        value = value.load()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _text_file(value: Any, base: Base, remote: Remote | None) -> str:
    if isinstance(value, str) and KINDS.of_file(value) != "text":
        return value
    try:
        with opened(media(value, base, remote), "text") as file:
            return file.read().decode("utf-8-sig")
    except BadCell:
        raise
    except (OSError, ValueError) as error:
        raise BadCell(f"cannot be read as text: {error}") from error


def _numbers(value: Any, base: Base, remote: Remote | None) -> Any:
    if isinstance(value, Lazy | bytes):
        return read_array(value.load() if isinstance(value, Lazy) else value)
    if isinstance(value, str) and KINDS.of_file(value):
        return media(value, base, remote)
    array = as_array(value)
    if array is None:
        number = as_number(value)
        if number is None:
            raise BadCell(f"is {str(value)[:40]!r}, where a list of numbers was expected")
        array = np.array([number], dtype=np.float32)
    return array


def _stacked(values: Sequence[Any], decimal: str) -> np.ndarray | None:
    """One number a column, NaN where one is missing; None where all are."""
    if all(value is None for value in values):
        return None
    numbers = [np.nan if value is None else as_number(value, decimal) for value in values]
    wrong = [value for value, number in zip(values, numbers) if number is None]
    if wrong:
        raise BadCell(f"holds {str(wrong[0])[:40]!r}, where a number was expected")
    return np.array(numbers, dtype=np.float32)


def _from_array(table: Table, field: Field) -> Cells:
    """Rows of a .npy or .npz array beside the table, each found by the column `row`, else by the record's number."""
    row = field.options.get("row")
    if row is None and table.joined:
        raise BadData(
            f"Field {field.name!r}: several tables are joined, so the order of rows does not tell which row of the "
            "array is meant. Name the column that does: `row: COLUMN`."
        )
    numbers = table.column(row) if row is not None else table.rows.tolist()
    arrays = {base: _opened(base, field, table.remote) for base in dict.fromkeys(table.bases)}

    def cell(position: int) -> np.ndarray | None:
        if numbers[position] is None:
            return None
        array, number = arrays[table.bases[position]], as_number(numbers[position])
        if number is None or not number.is_integer():
            raise BadCell(f"is {numbers[position]!r}, where the number of a row was expected")
        if not 0 <= number < len(array):
            raise BadCell(f"is row {number:g}, but the array has {len(array)} rows")
        return np.array(array[int(number)], dtype=np.float32, ndmin=1)

    return Cells(len(table), cell)


def _opened(base: Base, field: Field, remote: Remote | None) -> Any:
    try:
        path = placed(base, str(field.options["array"]), remote)
    except BadCell as error:
        raise BadData(f"Field {field.name!r}: the array {field.options['array']}: {error.reason}.") from error
    if not path.is_file():
        raise BadData(f"Field {field.name!r}: the array {path} does not exist; it is sought from the table's folder.")
    key = field.options.get("key")
    try:
        return map_array(path, key)
    except BadCell as error:
        raise BadData(f"Field {field.name!r}: {error.reason}.") from error
    except KeyError as error:
        near = suggest(str(key), error.args)
        raise UnknownName(f"Field {field.name!r}: {path.name} holds no array {key!r}.{near}") from error
