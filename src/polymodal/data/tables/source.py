"""read_table: rows from wherever they are kept."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.addresses import Address, is_link, told_address
from polymodal.core.errors import BadCell, BadData, suggest
from polymodal.core.files import without_password
from polymodal.core.limits import open_table, read_json_text
from polymodal.data.cells import cells
from polymodal.data.paths import LOCAL, resolve
from polymodal.data.remote.remote import ALLOW, granted
from polymodal.data.tables import arrow, hugging_face, workbook
from polymodal.data.tables.database import Database
from polymodal.data.tables.delimited import read_delimited
from polymodal.data.tables.folder import read_classes
from polymodal.data.tables.parquet import read_parquet
from polymodal.data.tables.table import Problem, Table, check_columns
from polymodal.data.tables.webdataset import read_shards

__all__ = ["Problem", "Table", "cells", "read_table"]

_HUGGING_FACE = ("dataset_info.json", "state.json", "dataset_dict.json")


def read_table(source: Any, *, limit: int | None = None) -> Table:
    """Rows and raw cells of `source`; media are left where they are.

    `source` is one of: a CSV, TSV, Parquet, JSONL, Feather, Arrow or ORC file; a workbook of Excel or LibreOffice, or
    one sheet of it as `table.xlsx#name` (extra `office`); a table or a query of a database, as
    `postgresql://user@host/name#orders` or `shop.db#SELECT …` (extra `sql`; see `data.tables.database`); a folder with
    one folder per class (optionally under train/valid/test); a folder saved by Hugging Face datasets, or `hf:name` or
    `hf:name:configuration` of a hub dataset (extra `hf`); WebDataset shards (`data.tar`, `shards-{000..009}.tar`, or a
    folder of them); in memory a pandas DataFrame, of which a named index is a column too (and names the rows), a
    Hugging Face dataset, whatever hands over an Arrow table (Polars, PyArrow, DuckDB …), a NumPy array of records, a
    dict of lists, a list of dicts, or one dict, which is one row where any of its values is a single cell; or a
    `Table`, which is returned as it is.
    Paths in cells are relative to the file, or to the working folder for rows in memory. `limit` reads that many
    records at most. Where `allow_remote` lets objects be fetched, a file may be an address (`s3://bucket/table.csv`;
    extra `remote`), to which paths in its cells are relative, and cells of media may be addresses.

    Raises `BadData` for a source that does not exist or is of no known kind. Rows that cannot be used are set aside and
    named in the table's `problems`.
    """
    if isinstance(source, Table):
        rows = source if limit is None else source.select(range(min(limit, len(source))))
        return rows if rows.remote or not granted() else replace(rows, remote=granted())
    if isinstance(source, str | Path):
        return _read_path(str(source), limit)
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(source, pandas.DataFrame):
        return _from_pandas(source, limit)
    if "datasets" in sys.modules and any(kind.__module__.startswith("datasets.") for kind in type(source).__mro__):
        return hugging_face.from_dataset(source, limit=limit)
    if hasattr(source, "collect") and type(source).__name__ == "LazyFrame":  # Polars' plan of a table
        source = source.collect()
    if hasattr(source, "__arrow_c_stream__") or hasattr(source, "__dataframe__"):
        return arrow.from_arrow(source, limit=limit)
    if isinstance(source, np.ndarray):
        return _from_array(source[:limit])
    if isinstance(source, Mapping):
        if not all(map(_is_column, source.values())):
            return _from_records([source], "table", Path.cwd())
        return Table.build({column: _listed(values)[:limit] for column, values in source.items()})
    if isinstance(source, Sequence):
        return _from_records(source[:limit], "table", Path.cwd())
    raise BadData(
        f"Cannot read a table from {type(source).__name__}. Give a file, a folder, a pandas or Polars DataFrame, an "
        "Arrow table, a Hugging Face dataset, a dict of lists, a list of dicts, or one dict, which is one row."
    )


def _is_column(values: Any) -> bool:
    """Whether a value of a dict holds a cell a row, and is no cell itself."""
    listed = hasattr(values, "__iter__") and not isinstance(values, str | bytes | bytearray | Mapping)
    return listed and getattr(values, "ndim", 1) > 0


def _listed(values: Any) -> list[Any]:
    return values.to_pylist() if hasattr(values, "to_pylist") else list(values)


def _from_pandas(frame: Any, limit: int | None) -> Table:
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    rows = frame.iloc[:limit].reset_index(level=named) if named else frame.iloc[:limit]
    check_columns(rows.columns, "The DataFrame")
    names = [str(name) for name in frame.index[:limit]] if len(named) == 1 and frame.index.is_unique else None
    return Table.build(rows.to_dict(orient="list"), ids=names)


def _from_array(records: np.ndarray) -> Table:
    """The rows of an array of records, whose fields are the columns; bytes are text, as in files of old."""
    if records.dtype.names is None:
        raise BadData(
            f"An array of {records.dtype.name} values names no columns: give a dict of arrays, as {{'x': array}}, or a "
            "structured array."
        )
    columns: dict[str, list[Any]] = {}
    for name in records.dtype.names:
        values = records.reshape(-1)[name]
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8", "replace")
        elif values.dtype.kind in "mM":
            values = values.astype(f"{values.dtype.kind}8[us]")
        columns[name] = list(values) if values.ndim > 1 else values.tolist()
    return Table.build(columns)


def _read_path(source: str, limit: int | None) -> Table:
    if is_link(source):
        return _read_address(source, limit)
    if source.startswith(LOCAL):
        source = str(resolve(Path.cwd(), source))
    if source.startswith("hf:"):
        return hugging_face.read_hub(source.removeprefix("hf:"), limit=limit)
    if (database := Database.of(source)) is not None:
        return database.read(limit=limit)
    source, sheet = workbook.split_sheet(source)
    path = Path(source).expanduser()
    if source.endswith(".tar") and not path.exists() and any(sign in source for sign in "{*?"):
        return read_shards(source, limit=limit)
    if path.is_dir():
        return _read_folder(path, limit)
    if not path.exists():
        if "://" in source:
            told = "PostgreSQL (postgresql://), SQLite and DuckDB"
            raise BadData(f"{without_password(source)} names nothing that is read; databases are read of {told}.")
        near = suggest(path.name, [p.name for p in path.parent.iterdir()], most=8) if path.parent.is_dir() else ""
        raise BadData(f"{source} does not exist.{near}")
    return _read_file(path, limit, sheet)


def _read_address(source: str, limit: int | None) -> Table:
    told, remote = told_address(source), granted()
    if remote is None:
        raise BadData(
            f"{told} is a web address; only local files are read. Download it first, or let it be fetched: {ALLOW}."
        )
    address, sheet = workbook.split_sheet(source)
    try:
        path = remote.local(address, "table")
    except BadCell as error:
        raise BadData(f"{error.reason[:1].upper()}{error.reason[1:]}.") from error
    table = _read_file(path, limit, sheet)
    return replace(table, bases=[Address.of_folder(address)] * len(table))


def _read_file(path: Path, limit: int | None, sheet: str) -> Table:
    suffix = path.suffix.lower()
    if suffix in workbook.SUFFIXES:
        return workbook.read_workbook(path, sheet, limit=limit)
    if suffix in _READERS:
        return _READERS[suffix](path, limit=limit)
    raise BadData(f"{path.name} is of no kind that is read here. Allowed: {', '.join(_SUFFIXES)}, or a folder.")


def _read_folder(path: Path, limit: int | None) -> Table:
    names = {entry.name for entry in path.iterdir()}
    if names & set(_HUGGING_FACE):
        return hugging_face.read_saved(path, limit=limit)
    if any(name.endswith(".tar") for name in names):
        return read_shards(path / "*.tar", limit=limit)
    tables = sorted(name for name in names if name.endswith(_SUFFIXES) and not name.endswith(".txt"))
    if tables:
        raise BadData(f"{path} is a folder that holds {', '.join(tables[:5])}: name the file to read.")
    return read_classes(path, limit=limit)


def _read_jsonl(path: Path, limit: int | None) -> Table:
    with open_table(path) as file:
        return _from_texts(((n, line) for n, line in enumerate(file, start=1) if line.strip()), path, limit)


def _from_texts(texts: Iterable[tuple[int, bytes]], path: Path, limit: int | None) -> Table:
    """The rows whose JSON stands in these lines of the file; one that is no object is set aside."""
    records, numbers = [], []
    problems: list[Problem] = []
    for number, (line, text) in enumerate(islice(texts, limit)):
        try:
            record = read_json_text(text.removeprefix(b"\xef\xbb\xbf").decode("utf-8"))
            reason = "" if isinstance(record, dict) else f"is a JSON {type(record).__name__}, not an object"
        except ValueError as error:
            broken = isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
            reason = f"is not JSON ({error})" if broken else str(error)
        if reason:
            problems.append(Problem.of_record(f"{path.name}:{line}", reason, number))
            continue
        records.append(record)
        numbers.append(number)
    return _from_records(records, path.stem, path.parent, problems, numbers)


def _read_json(path: Path, limit: int | None) -> Table:
    with open_table(path) as file:
        raw, text = file.read(), ""
    try:
        text = raw.decode("utf-8-sig")
        content = read_json_text(text)
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) or not (records := _records_apart(text)):
            raise BadData(f"{path} is not valid JSON: {error}.") from error
        return _from_texts(records, path, limit)
    if isinstance(content, list):
        return _from_records(content[:limit], path.stem, path.parent)
    if isinstance(content, dict) and content and all(isinstance(values, list) for values in content.values()):
        columns = {name: values[:limit] for name, values in content.items()}
        return Table.build(columns, base=path.parent, name=path.stem)
    raise BadData(f"{path} holds neither a list of objects nor an object of lists, so it is no table.")


_MARKS = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def _records_apart(text: str) -> list[tuple[int, bytes]]:
    """(line, text) of each object in a JSON list; nothing where the text is none."""
    if not text.lstrip().startswith("["):
        return []
    records, depth, start = [], 0, 0
    for mark in _MARKS.finditer(text):
        if mark[0] in "[{":
            depth += 1
            start = mark.start() if depth == 2 else start
        elif mark[0] in "]}":
            if depth == 2:
                records.append((start, text[start : mark.end()]))
            depth -= 1
    lines, place, found = 1, 0, []
    for start, record in records:
        lines, place = lines + text.count("\n", place, start), start
        found.append((lines, record.encode()))
    return found


def _from_records(
    records: Sequence[Any], name: str, base: Path, problems: Sequence[Problem] = (), numbers: list[int] | None = None
) -> Table:
    for position, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise BadData(f"Row {position} of {name} is {type(record).__name__}; every row must be a dict of columns.")
    columns = dict.fromkeys(column for record in records for column in record)
    data = {column: [record.get(column) for record in records] for column in columns}
    return Table.build(data, base=base, name=name, rows=numbers, problems=problems)


_READERS: dict[str, Callable[..., Table]] = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt"), read_delimited), ".parquet": read_parquet,
    **dict.fromkeys((".jsonl", ".ndjson"), _read_jsonl), ".json": _read_json, ".tar": read_shards,
    **dict.fromkeys(arrow.SUFFIXES, arrow.read_arrow),
}  # fmt: skip
_SUFFIXES = (*_READERS, *workbook.SUFFIXES)
