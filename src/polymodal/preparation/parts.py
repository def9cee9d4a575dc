"""Parts: a few hundred rows as one file of JSON lines, media beside it; what one stage leaves for the next."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.files import writing
from polymodal.core.numbers import Notation
from polymodal.core.shown import legible
from polymodal.data.media.cell import Media
from polymodal.ops.rows import Refused, Row


@dataclass(frozen=True)
class MediaFolder:
    """Where changed media are written: a file a cell, or a folder of a film's frames, named after the row's number."""

    folder: Path
    columns: tuple[str, ...]

    def keep(self, row: Row) -> None:
        """Write the row's changed media, so that its cells are files again and take no memory."""
        for column in self.columns:
            cell = row.cells.get(column)
            if isinstance(cell, Media):
                cell.forget()
            if not isinstance(cell, Media) or (cell.decoded is None and (cell.fault or isinstance(cell.source, Path))):
                continue
            path = self.folder / f"{self.columns.index(column)}" / f"{stem(row)}{cell.suffix}"
            if cell.decoded is None and isinstance(cell.source, bytes):  # as it came, were it empty
                with writing(path) as temporary:
                    temporary.write_bytes(cell.source)
            else:
                cell.write(path)
            row.cells[column] = Media(cell.kind, path)


def stem(row: Row) -> str:
    """A file name that no other row has."""
    return f"{row.number:09d}" + (f"~{row.copy}" if row.copy else "")


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """The whole file or none. Media must be files already (`MediaFolder.keep`)."""
    with writing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(_line(_row(row)))


def read_rows(path: Path, kinds: Mapping[str, str], notations: Mapping[str, Notation] | None = None) -> list[Row]:
    """What `write_rows` wrote."""
    with open(path, encoding="utf-8") as file:
        return [row_of(json.loads(line), kinds, notations) for line in file]


def write_refused(refused: Iterable[Refused], path: Path) -> None:
    """Rows and cells set aside, with op, reason and column."""
    with writing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for one in refused:
            told = {"op": one.op, "reason": one.reason, "column": one.column, "cell": _plain(one.cell)}
            file.write(_line({**told, "row": _row(one.row)}))


def read_refused(path: Path, kinds: Mapping[str, str]) -> list[Refused]:
    """What `write_refused` wrote."""
    with open(path, encoding="utf-8") as file:
        told = [json.loads(line) for line in file]
    return [
        Refused(row_of(one["row"], kinds), one["op"], one["reason"], one["column"], _value(one["cell"])) for one in told
    ]


def _line(told: Mapping[str, Any]) -> str:
    """A line of JSON for ourselves, in which infinities and NaN stay what they are."""
    return legible(json.dumps(told, ensure_ascii=False)) + "\n"


def _row(row: Row) -> dict[str, Any]:
    cells = {column: _plain(value) for column, value in row.cells.items()}
    return {"id": row.id, "number": row.number, "copy": row.copy, "part": row.part, "cells": cells}


def row_of(told: Mapping[str, Any], kinds: Mapping[str, str], notations: Mapping[str, Notation] | None = None) -> Row:
    cells = {column: _value(value) for column, value in told["cells"].items()}
    return Row(told["id"], told["number"], cells, kinds, told["part"], told["copy"], notations or {})


def _plain(value: Any) -> Any:
    """A cell as JSON; what JSON has not is an object with one key that begins with a dollar."""
    if isinstance(value, Media):
        assert value.decoded is None, "MediaFolder.keep comes first"
        return {"$media": value.kind, "path": "" if value.fault else str(value.source), "fault": value.fault}
    if isinstance(value, np.ndarray):
        return {"$array": value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, datetime.timedelta):
        return {"$timedelta": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, decimal.Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return {"$date": value.isoformat(), "type": type(value).__name__}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return value


def _value(told: Any) -> Any:
    if isinstance(told, list):
        return [_value(v) for v in told]
    if not isinstance(told, dict):
        return told
    if "$media" in told:
        return Media(told["$media"], Path(told["path"]) if told["path"] else b"", fault=told["fault"])
    if "$array" in told:
        return np.array(told["$array"], dtype=told["dtype"])
    if "$bytes" in told:
        return base64.b64decode(told["$bytes"])
    if "$timedelta" in told:
        return datetime.timedelta(*told["$timedelta"])
    if "$decimal" in told:
        return decimal.Decimal(told["$decimal"])
    if "$date" in told:
        return getattr(datetime, told["type"]).fromisoformat(told["$date"])
    return {k: _value(v) for k, v in told.items()}
