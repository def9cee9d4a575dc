"""Workbooks of Excel and LibreOffice: one sheet is a table. Needs the extra `office` (python-calamine, MIT)."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadData, MissingExtra, UnknownName, suggest
from polymodal.core.limits import check_table_file
from polymodal.data.bounded import Failed, bounded
from polymodal.data.tables.delimited import header
from polymodal.data.tables.table import Problem, Table

SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_NAMED = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, SUFFIXES))}))#(.+)", re.IGNORECASE | re.DOTALL)
_READ: dict[str, Callable[[Any], Any]] = {
    "datetime": dt.datetime.fromisoformat, "date": dt.date.fromisoformat, "time": dt.time.fromisoformat,
    "seconds": lambda seconds: dt.timedelta(seconds=seconds),
}  # fmt: skip


def split_sheet(source: str) -> tuple[str, str]:
    """`table.xlsx#name` as file and sheet; the sheet is empty where none is named, or where there is such a file."""
    named = _NAMED.fullmatch(source)
    return (named[1], named[2]) if named and not Path(source).expanduser().exists() else (source, "")


def read_workbook(path: Path, sheet: str = "", *, limit: int | None = None) -> Table:
    """The table in a sheet: its first row that is not empty names the columns.

    Numbers, booleans, dates and times are as the cells hold them, numbers whole where all of a column are; of a
    formula, what it gave when the file was saved; a cell that holds an error is missing, and a problem counts them by
    column (not of .xls and .xlsb). Without `sheet` the one with most cells is read, and a problem names the others.

    Raises `MissingExtra`; `UnknownName` for a sheet that is not there, with those that are; `BadData` for a file that
    is no workbook, or a sheet without a header.
    """
    if importlib.util.find_spec("python_calamine") is None:
        raise MissingExtra(
            f"{path.name} is a workbook, whose reader is not installed: pip install 'polymodal[office]', or save the "
            "sheet as CSV."
        )
    check_table_file(path)
    try:
        packed, _ = bounded("sheet", path, sheet, 0 if limit is None else limit + 50, what="workbook")
    except Failed as error:
        raise BadData(
            f"{path} cannot be read as a workbook ({error}). Save the sheet as CSV; a stray cell far below or beside "
            "the others makes a sheet as large as all the cells up to it."
        ) from error
    told = json.loads(packed.decode("utf-8", "surrogatepass"))
    if told["name"] is None:
        raise UnknownName(f"{path.name} has no sheet {sheet!r}.{suggest(sheet, told['sheets'])}")
    problems = []
    if not sheet and len(told["sheets"]) > 1:
        others = ", ".join(repr(name) for name in told["sheets"] if name != told["name"])
        reason = (
            f"holds several sheets; {told['name']!r} was read, not {others}: name one as {path.name}#{told['name']}"
        )
        problems.append(Problem(path.name, "", reason))
    name = f"{path.stem}#{sheet}" if sheet else path.stem
    columns = _columns(told["rows"], told["errors"], f"{path.name}#{told['name']}", problems, limit)
    return Table.build(columns, base=path.parent, name=name, problems=problems)


def _columns(
    rows: list[list[Any]], errors: list[Any], where: str, problems: list[Problem], limit: int | None
) -> dict[str, list[Any]]:
    first = next((number for number, row in enumerate(rows) if any(cell is not None for cell in row)), None)
    if first is None:
        raise BadData(f"{where} is empty: its first row must name the columns.")
    full = [(n, row) for n, row in enumerate(rows[first + 1 :], first + 2) if any(cell is not None for cell in row)]
    body = [row for _, row in full[:limit]]
    if full and (blank := full[-1][0] - first - 1 - len(full)) and limit is None:
        problems.append(Problem(where, "", f"blank rows are no rows ({blank:,} of them)"))
    top = rows[first]
    used = [place for place, cell in enumerate(top) if cell is not None or any(row[place] is not None for row in body)]
    heads = ["" if top[place] is None else str(_value(top[place])) for place in used]
    names = header(heads, where, f"{where}:{first + 1}", problems)
    for place, name in zip(used, names):
        if held := [f"{error} {count:,}" for column, error, count in errors if column == place]:
            reason = f"some cells hold an error and no value ({', '.join(held)}), and are missing: mend their formulas"
            problems.append(Problem(where, name, reason))
    return {name: _typed([row[place] for row in body]) for name, place in zip(names, used)}


def _typed(cells: list[Any]) -> list[Any]:
    """Cells of one column; a workbook holds every number as a float, and midnight as a day."""
    values = [_value(cell) for cell in cells]
    numbers = [value for value in values if isinstance(value, float)]
    if numbers and all(number.is_integer() for number in numbers):
        values = [int(value) if isinstance(value, float) else value for value in values]
    if any(isinstance(value, dt.datetime) for value in values):
        values = [dt.datetime.combine(v, dt.time()) if type(v) is dt.date else v for v in values]
    return values


def _value(cell: Any) -> Any:
    if not isinstance(cell, dict):
        return cell
    ((kind, written),) = cell.items()
    return _READ[kind](written)
