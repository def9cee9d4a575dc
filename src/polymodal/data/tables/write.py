"""Columns to a file, by its suffix."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.core.digest import safe_name
from polymodal.core.errors import BadArgument
from polymodal.core.files import finite, json_text, writing
from polymodal.core.shown import legible
from polymodal.core.words import label_of
from polymodal.data.kinds import KINDS
from polymodal.data.tables.database import Database

if TYPE_CHECKING:
    import pyarrow

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
FORMS = (*_SEPARATORS, ".jsonl", ".parquet")


def check_writable(path: str | Path) -> None:
    """Raise `BadArgument` unless `path` can become a table: of a known form, and nothing but a file there.

    Worth asking beforehand.
    """
    if (database := Database.of(str(path))) is not None:
        return database.check_writable()
    path = Path(path)
    if path.suffix.lower() not in FORMS:
        raise BadArgument(f"Cannot write {path.name}: the suffix {path.suffix!r} is unknown. Use {', '.join(FORMS)}.")
    if path.exists() and not path.is_file():
        raise BadArgument(f"Cannot write {path}: it is {'a folder' if path.is_dir() else 'no regular file'}.")


def write_columns(columns: Mapping[str, Sequence[Any]], path: str | Path, *, files: bool = False) -> None:
    """Write columns of equal length as CSV, TSV, JSONL or Parquet, or as a new table of a database: all or nothing.

    In CSV and TSV the labels of a list stand between `|`, as `read_table` takes them. A Parquet column whose cells are
    of several types is written as text, numbers as labels are; text that UTF-8 cannot hold (half a surrogate pair) is
    escaped. With `files`, cells that are bytes, as drawn pictures are, become files in a folder beside it, and the
    column their paths. Raises as `check_writable`.
    """
    check_writable(path)
    if (database := Database.of(str(path))) is not None:
        return database.write(_columns(columns))
    path = Path(path)
    if files:
        columns = {name: _filed(name, values, path) for name, values in columns.items()}
    suffix = path.suffix.lower()
    rows = zip(*columns.values())
    with writing(path) as temporary:
        if suffix == ".parquet":
            import pyarrow.parquet as pq

            pq.write_table(_columns(columns), temporary)
            return
        with open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            if suffix == ".jsonl":
                lines = (json_text(dict(zip(columns, row))) for row in rows)
                file.writelines(f"{line}\n" for line in lines)
                return
            writer = csv.writer(file, delimiter=_SEPARATORS[suffix], lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([_cell(value) for value in row] for row in rows)


def _filed(name: str, values: Sequence[Any], path: Path) -> Sequence[Any]:
    """The column, its bytes written to files of the kind that they begin as, in a folder that holds no others: paths
    relative to the table's."""
    if not any(isinstance(value, bytes) for value in values):
        return values
    own = path.parent / f"{path.stem}_{safe_name(name)}"
    each = itertools.chain([own], (own.with_name(f"{own.name}_{number}") for number in itertools.count(2)))
    folder = next(one for one in each if not one.exists() or (one.is_dir() and not any(one.iterdir())))
    folder.mkdir(parents=True, exist_ok=True)
    digits, paths = len(str(len(values))), []
    for row, value in enumerate(values):
        if not isinstance(value, bytes):
            paths.append(value)
            continue
        file = folder / f"{row:0{digits}}{KINDS.suffix_of(value) or '.bin'}"
        with writing(file) as temporary:
            temporary.write_bytes(value)
        paths.append(f"{folder.name}/{file.name}")
    return paths


def _columns(columns: Mapping[str, Sequence[Any]]) -> pyarrow.Table:
    import pyarrow as pa

    return pa.table({_text(name): _arrow(values) for name, values in columns.items()})


def _arrow(values: Sequence[Any]) -> Any:
    """The column as Arrow holds it: of the one type that its cells have, else as text."""
    import pyarrow as pa

    try:
        return pa.array(list(values))
    except (pa.ArrowException, OverflowError, UnicodeError):
        return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    text = json.dumps(finite(value), default=str) if isinstance(value, list | tuple | dict) else label_of(value)
    return legible(text)


def _cell(value: Any) -> Any:
    return "|".join(map(str, value)) if isinstance(value, list | tuple) else value
