"""Look at every cell of one field: can it be read, what is in it, is it of its column's kind."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from polymodal.core.digest import digest_cells
from polymodal.core.errors import BadCell
from polymodal.data.cells import cells
from polymodal.data.infer import tell
from polymodal.data.kinds import KINDS, Kind
from polymodal.data.media.prints import SIDE, grey
from polymodal.data.schema import Field
from polymodal.data.tables.table import Problem, Table
from polymodal.data.values import looks_like_date, looks_numeric

Reader = Callable[[Any], Any]
MOST_PIXELS = 50_000_000  # larger pictures are not decoded here when no reader judges them
_HEAD = 512  # bytes that tell a file's kind


@dataclass
class Examined:
    """What a field's cells hold, a row each.

    `keys` are content digests, None where a cell is missing or broken; `pictures` are small grey pictures by content.
    """

    keys: list[bytes | None]
    missing: list[int] = field(default_factory=list)
    broken: list[Problem] = field(default_factory=list)
    pictures: dict[bytes, np.ndarray] = field(default_factory=dict)


def examine(table: Table, one: Field, reader: Reader | None = None) -> Examined:
    """Read every cell of a field; a file that several rows name is read once.

    `reader` decodes a cell and raises `BadCell`; without one, files are checked for being there, being of the kind that
    their name says and, for pictures, being decodable.
    """
    result = Examined([None] * len(table))
    seen: dict[Path, bytes | str] = {}
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
        outcome = seen.get(cell) if isinstance(cell, Path) else None
        if outcome is None:
            try:
                outcome = _examine_cell(cell, one.about, reader, result.pictures)
            except BadCell as error:
                outcome = error.reason
        if isinstance(cell, Path):
            seen[cell] = outcome
        if isinstance(outcome, bytes):
            result.keys[row] = outcome
        else:
            result.broken.append(Problem(table.ids[row], one.name, outcome))
    return result


def misfits(table: Table, columns: Iterable[str]) -> list[Problem]:
    """Cells that are no number in a column of numbers, or no date in a column of dates."""
    found = []
    for column in columns:
        kind = tell(table, column).kind
        fits = {"number": looks_numeric, "date": looks_like_date}.get(kind)
        if fits is None:
            continue
        for row, value in enumerate(table.column(column)):
            if value is not None and not fits(value):
                found.append(Problem(table.ids[row], column, f"is {str(value)[:40]!r} in a column of {kind}s"))
    return found


def _examine_cell(cell: Any, kind: Kind, reader: Reader | None, pictures: dict[bytes, np.ndarray]) -> bytes:
    """The content's digest. Raises `BadCell`."""
    _check_file(cell, kind)
    key = digest_cells([cell])[0].tobytes()
    decoded = reader(cell) if reader else None
    if kind.copies == "picture" and key not in pictures:
        small = _small(decoded if isinstance(decoded, np.ndarray) else cell)
        if small is not None:
            pictures[key] = small
    return key


def _check_file(cell: Any, kind: Kind) -> None:
    """Raise `BadCell` for a file that is absent, empty, or begins as another kind of file does."""
    if isinstance(cell, Path):
        if not cell.exists():
            raise BadCell(f"the file {cell.name!r} does not exist")
        if not cell.is_file():
            raise BadCell(f"{cell.name!r} is a folder, not a file")
        try:
            with cell.open("rb") as file:
                head = file.read(_HEAD)
        except OSError as error:
            raise BadCell(f"the file cannot be opened: {error.strerror}") from error
    elif isinstance(cell, bytes):
        head = cell[:_HEAD]
    else:
        return
    if not head:
        raise BadCell("the file is empty (0 bytes)")
    told = KINDS.of_bytes(head)
    if told not in (None, kind.files or kind.name):
        raise BadCell(f"the file is {told}, not {kind.name}")
    if told is None and kind.magic and _is_text(head):
        raise BadCell(f"the file is plain text, not {kind.name}")


def _is_text(head: bytes) -> bool:
    if b"\0" in head or head[:2] in (b"P2", b"P3", b"P5", b"P6"):
        return False
    text = head.decode("utf-8", "ignore")
    readable = sum(letter.isprintable() or letter.isspace() for letter in text)
    return len(text.encode("utf-8")) >= len(head) - 3 and readable >= len(text) - 1


def _small(cell: Any) -> np.ndarray | None:
    """The picture, small and grey; None above `MOST_PIXELS`. Raises `BadCell` when it is broken."""
    if isinstance(cell, np.ndarray):
        return grey(cell)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(cell) if isinstance(cell, bytes) else cell)
        with picture:
            if picture.width * picture.height > MOST_PIXELS:
                return None
            picture.draft("L", (SIDE, SIDE))
            return grey(picture)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise BadCell(f"cannot be decoded: {str(error).splitlines()[0][:120]}") from error
