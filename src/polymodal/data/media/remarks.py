"""What is to be said of a cell that is used all the same: readers `remark`, and whoever asked them listens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from polymodal.core.errors import ABSENT
from polymodal.core.shown import many, some
from polymodal.data.tables.table import USED, Problem

_SAID: ContextVar[list[str] | None] = ContextVar("said", default=None)


def remark(what: str) -> None:
    """Say of the cell that is being read what its user should know: words that follow "it" and are the same for each
    such cell, so that they can be counted. Nothing happens where nobody listens."""
    said = _SAID.get()
    if said is not None and what not in said:
        said.append(what)


@contextmanager
def remarks() -> Iterator[list[str]]:
    """What readers say within, each thing once."""
    said: list[str] = []
    token = _SAID.set(said)
    try:
        yield said
    finally:
        _SAID.reset(token)


def all_the_same(noted: Mapping[int, str]) -> list[tuple[int, str]]:
    """Remarks by place, in words that tell them from reasons for which a cell was not used."""
    return [(place, said if said.startswith(ABSENT) else USED + said) for place, said in sorted(noted.items())]


def summed(noted: Iterable[Problem]) -> list[str]:
    """One line for each thing that was said of a column's cells: how many they are, and of which rows the first."""
    rows: dict[tuple[str, str], list[str]] = {}
    for one in noted:
        rows.setdefault((one.column, one.reason), []).append(one.row)
    lines = []
    for (column, reason), ids in sorted(rows.items(), key=lambda one: -len(one[1])):
        missing = reason.startswith(ABSENT)
        told = f"missing: {reason.removeprefix(ABSENT)}" if missing else f"used all the same: {reason}"
        lines.append(f"{column}: {many(len(ids), 'cell')} {told} ({'rows' if len(ids) > 1 else 'row'} {some(ids)}).")
    return lines
