"""Which columns of a table a generator reads, and what each row of them asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from polymodal.core.errors import BadArgument, UnknownName, suggest
from polymodal.core.words import label_of
from polymodal.data.cells import cells, media
from polymodal.data.infer import Guess, tell
from polymodal.data.kinds import KINDS
from polymodal.data.media.picture import flat, open_picture
from polymodal.data.media.remarks import remarks
from polymodal.data.schema import Field
from polymodal.data.storage.decode import Broken, guarded
from polymodal.data.tables.table import Problem, Table
from polymodal.generators.base import Asked, Generator
from polymodal.report.cards import cell_card
from polymodal.targets.labels import listed

WORDS = ("text", "category")  # kinds of columns whose cells are words, the likelier first


@dataclass(frozen=True)
class Column:
    """A column that is read as `kind`, text or image; `options` are those of its field."""

    name: str
    kind: str
    options: Mapping[str, Any]

    @property
    def words(self) -> bool:
        """Whether its cells are texts; else they are pictures."""
        return KINDS[self.kind].words


def read_columns(table: Table, wanted: Sequence[str], kind: type[Generator], model: str) -> list[Column]:
    """The columns that a `model`, a generator of a `kind`, reads: those `wanted`, and of a kind of columns that it
    needs and that none of these has, the only one there is.

    Raises `UnknownName` for a column that is not there, `BadArgument` for one of a kind that the generator does not
    read, and where one that it needs cannot be told.
    """
    for name in wanted:
        if name not in table.data:
            raise UnknownName(f"{table.name} has no column {name!r}.{suggest(name, table.columns)}")
    told = {name: _tell(table, name) for name in table.columns}
    called = f"The model {model!r}"
    found = [_named(name, told[name], kind.reads(), called) for name in dict.fromkeys(wanted)]
    for one in kind.needs:
        if not any(column.kind == one for column in found):
            found.append(_only(one, told, table, called))
    return found


def _tell(table: Table, name: str) -> Guess:
    """The kind of a column; of one that holds lists, the kind of their items."""
    cells = [(value, listed(value)) for value in table.data[name] if value is not None]
    if all(items is None for _, items in cells):
        return tell(table, name)
    each = [item for value, items in cells for item in ([value] if items is None else items)]
    return tell(Table.build({name: each}, base=table.bases[0], name=table.name), name)


def _named(name: str, guess: Guess, reads: Sequence[str], called: str) -> Column:
    kind = guess.kind if KINDS[guess.kind].media else "text"
    if kind not in reads:
        said = f"{name!r} is a column of the kind {guess.kind} ({guess.why})"
        raise BadArgument(f"{said}; t{called[1:]} reads {_said(reads)}.")
    return Column(name, kind, guess.options if guess.kind == kind else {})


def _only(kind: str, told: Mapping[str, Guess], table: Table, called: str) -> Column:
    able = [[n for n, guess in told.items() if guess.kind == one] for one in (WORDS if KINDS[kind].words else (kind,))]
    names = next((some for some in able if some), [])
    if len(names) == 1:
        return Column(names[0], kind, told[names[0]].options)
    if names:
        raise BadArgument(
            f"{called} reads one {kind} a row, and {table.name} has {len(names)} such columns: name those to read by "
            f"columns (--columns), of {', '.join(names)}."
        )
    kinds = ", ".join(f"{name} ({guess.kind})" for name, guess in told.items())
    raise BadArgument(
        f"{called} reads {_said([kind])}, and no column of {table.name} was taken for such: {kinds}. Name the column "
        "by columns (--columns)."
    )


def _said(kinds: Sequence[str]) -> str:
    return " and ".join({"image": "pictures", "text": "texts"}.get(kind, kind) for kind in kinds)


def row_cards(table: Table, columns: Sequence[Column], row: int) -> list[dict[str, Any]]:
    """What a row held, as cards of a page: each text of it and each picture."""
    cards = []
    for one in columns:
        with remarks():
            found = guarded(_reader(table, one), row)
        if isinstance(found, Broken) or not found:
            reason = found.reason if isinstance(found, Broken) else "not given"
            cards.append(cell_card(one.name, {"kind": "missing", "reason": reason}))
            continue
        for item in found:
            shown = {"text": item} if one.words else {"array": np.asarray(item)}
            cards.append(cell_card(one.name, {"kind": one.kind, **shown}))
    return cards


def asked(
    table: Table, columns: Sequence[Column], places: Sequence[int]
) -> Iterator[tuple[int, Asked | Problem, list[Problem]]]:
    """What the rows at `places` ask, or why they ask nothing: a cell is missing or cannot be used; and what is to be
    said of cells that are used all the same."""
    readers = [(one, _reader(table, one)) for one in columns]
    for row in places:
        texts: list[str] = []
        pictures: list[Image.Image] = []
        problem, noted = None, []
        for one, read in readers:
            with remarks() as said:
                found = guarded(read, row)
            noted += [Problem(table.ids[row], one.name, remark) for remark in said]
            if isinstance(found, Broken) or not found:
                why = f"{found.reason}; no answer" if isinstance(found, Broken) else "is missing; no answer"
                problem = Problem(table.ids[row], one.name, why)
                break
            (texts if one.words else pictures).extend(found)
        yield row, problem or Asked(int(table.rows[row]), tuple(texts), tuple(pictures)), noted


def _reader(table: Table, column: Column) -> Callable[[int], list[Any]]:
    """What reads a row's cell: its texts, or its pictures."""
    if column.words:
        return partial(_texts, cells(table, Field(column.name, column.kind, (column.name,), column.options)))
    return partial(_pictures, table, column.name)


def _texts(found: Sequence[Any], row: int) -> list[str]:
    """The turns of a cell: the items of a list, else the text; none where it is missing or blank."""
    cell = found[row]
    items = [] if cell is None else listed(cell)
    return [text for item in ([cell] if items is None else items) if (text := label_of(item).strip())]


def _pictures(table: Table, name: str, row: int) -> list[Image.Image]:
    """The pictures of a cell, a file or a list of files."""
    cell = table.data[name][row]
    items = [] if cell is None else listed(cell)
    opened = (media(item, table.bases[row], table.remote) for item in ([cell] if items is None else items))
    return [flat(open_picture(Path(one) if isinstance(one, str) else one)).convert("RGB") for one in opened]
