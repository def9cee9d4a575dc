"""Running one op on a few rows, as a recipe would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polymodal.data.media.cell import MEDIA_KINDS, Media
from polymodal.ops.base import Op
from polymodal.ops.rows import Row, Rows
from polymodal.preparation.recipe import Recipe


def run(
    spec: Any, cells: Sequence[Any], kind: str = "text", *, keep_row: bool = False
) -> tuple[list[Any], dict[int, str]]:
    """The cells after an op on one column `x`, None where the row went; and the reasons by row."""
    rows, _ = applied(spec, {"x": cells}, {"x": kind}, keep_row=keep_row)
    after: list[Any] = [None] * len(cells)
    for row in rows.kept:
        after[row.number] = row.get("x")
    return after, {one.row.number: one.reason for one in rows.refused}


def applied(
    spec: Any, columns: dict[str, Sequence[Any]], kinds: dict[str, str], *, keep_row: bool = False
) -> tuple[Rows, Op]:
    """The rows after an op. Cells of media columns are decoded values."""
    (op,) = Recipe.read([spec]).ops(kinds)
    op.keep_row = keep_row
    count = len(next(iter(columns.values())))
    rows = Rows([Row(str(i), i, {c: _cell(v[i], kinds[c]) for c, v in columns.items()}, kinds) for i in range(count)])
    if op.surveys:
        op.finalize([op.partial_fit(rows)])
    op.apply(rows)
    return rows, op


def _cell(value: Any, kind: str) -> Any:
    return (
        Media(kind, b"", value) if kind in MEDIA_KINDS and value is not None and not isinstance(value, Media) else value
    )
