"""Look at every cell of one field: can it be read, what is in it, is it of its column's kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.digest import digest_cells
from polymodal.core.errors import ABSENT, BadCell
from polymodal.core.reading import Reading
from polymodal.data.cells import cells
from polymodal.data.inspection.columns import kind_of
from polymodal.data.kinds import KINDS, Kind
from polymodal.data.media.files import opened
from polymodal.data.media.prints import small_grey
from polymodal.data.media.remarks import remarks
from polymodal.data.schema import Field, Schema
from polymodal.data.tables.table import Problem, Table

Reader = Callable[[Any], Any]
_HEAD = 4096  # bytes that tell a file's kind


@dataclass
class Examined:
    """What a field's cells hold, a row each.

    `keys` are content digests, None where a cell is missing or broken; `pictures` are small grey pictures by content;
    `noted` is what readers said of cells that can be used all the same.
    """

    keys: list[bytes | None]
    missing: list[int] = field(default_factory=list)
    broken: list[Problem] = field(default_factory=list)
    pictures: dict[bytes, np.ndarray] = field(default_factory=dict)
    noted: list[Problem] = field(default_factory=list)


def examine(table: Table, one: Field, reader: Reader | None = None) -> Examined:
    """Read every cell of a field; a file that several rows name is read once.

    `reader` decodes a cell and raises `BadCell`, in the words of a fit; without one, files are checked for being there,
    being of the kind that their name says and, for pictures, being decodable.
    """
    result = Examined([None] * len(table))
    seen: dict[Path, tuple[bytes | str, list[str]]] = {}
    source = cells(table, one)
    for row in range(len(table)):
        try:
            cell = source[row]
        except BadCell as error:
            result.broken.append(Problem(table.ids[row], one.name, error.reason))
            continue
        if cell is None:
            result.missing.append(row)
            continue
        outcome, said = seen.get(cell, ("", [])) if isinstance(cell, Path) else ("", [])
        if not outcome:
            try:
                with remarks() as said:
                    outcome = _examine_cell(cell, one.about, reader, result.pictures)
            except BadCell as error:
                outcome = error.reason
        if isinstance(cell, Path):
            seen[cell] = outcome, said
        if isinstance(outcome, bytes):
            result.keys[row] = outcome
            result.noted += [Problem(table.ids[row], one.name, what) for what in said]
            continue
        absent = outcome.startswith(ABSENT)
        (result.noted if absent else result.broken).append(Problem(table.ids[row], one.name, outcome))
        result.missing += [row] if absent else []
    return result


def misfits(table: Table, schema: Schema, one: Field) -> list[Problem]:
    """Cells of a record that are no number in a column of numbers, or no date in a column of dates."""
    problems = []
    for column in one.columns if one.about.is_record else ():
        kind, _ = kind_of(table, schema, column, [one.name])
        if kind not in ("number", "date"):
            continue
        values = table.column(column)
        reading = Reading.of(values, (one.options.get("written") or {}).get(column, ""))
        for row, value in enumerate(values):
            if value is not None and not reading.reads(value):
                problems.append(Problem(table.ids[row], column, f"is {str(value)[:40]!r} in a column of {kind}s"))
    return problems


def _examine_cell(cell: Any, kind: Kind, reader: Reader | None, pictures: dict[bytes, np.ndarray]) -> bytes:
    """The content's digest. Raises `BadCell`."""
    if reader is None:
        _check_file(cell, kind)
    key = digest_cells([cell])[0].tobytes()
    decoded = reader(cell) if reader else None
    if kind.copies == "picture" and key not in pictures:
        pictures[key] = small_grey(decoded if isinstance(decoded, np.ndarray) else cell)
    return key


def _check_file(cell: Any, kind: Kind) -> None:
    """Raise `BadCell` for a file that is absent, empty, or begins as another kind of file does. Of a kind that several
    files make together a folder is left to its reader."""
    if not isinstance(cell, Path | bytes) or (kind.cell == "files" and isinstance(cell, Path) and cell.is_dir()):
        return
    with opened(cell) as stream:
        head = stream.read(_HEAD)
        told = KINDS.of_bytes(head)
        if told not in (None, kind.files or kind.name, *kind.also):
            raise BadCell(f"is {told}, not {kind.name}")
        if told is None and kind.magic and _is_text(head):
            raise BadCell(f"is plain text, not {kind.name}")


def _is_text(head: bytes) -> bool:
    if b"\0" in head or head[:2] in (b"P2", b"P3", b"P5", b"P6"):
        return False
    text = head.decode("utf-8", "ignore")
    readable = sum(letter.isprintable() or letter.isspace() for letter in text)
    return len(text.encode("utf-8")) >= len(head) - 3 and readable >= len(text) - 1
