"""Small pieces of HTML that notebooks show of a result; everything is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = "border-collapse:collapse;font-variant-numeric:tabular-nums"
CELL = "padding:2px 10px;text-align:{};white-space:nowrap;overflow:hidden;text-overflow:ellipsis;max-width:28em"


def table_html(heads: Sequence[str], rows: Iterable[Sequence[Any]], *, more: int = 0) -> str:
    """A table, numbers to the right, nothing for None; `more` says how many rows are not shown."""
    lines = ["".join(f"<th style='{CELL.format('left')}'>{escape(str(head))}</th>" for head in heads)]
    lines += ["".join(map(_cell, row)) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    left = f"<p>and {more:,} more rows</p>" if more else ""
    return f"<table style='{STYLE}'>{body}</table>{left}"


def text_html(title: str, *paragraphs: str) -> str:
    """A heading and paragraphs."""
    return f"<p><b>{escape(title)}</b></p>" + "".join(f"<p>{escape(one)}</p>" for one in paragraphs if one)


def pre_html(text: str) -> str:
    """Text as a terminal shows it."""
    return f"<pre style='white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere'>{escape(text)}</pre>"


def _cell(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    shown = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"<td style='{CELL.format('right' if number else 'left')}'>{escape(shown)}</td>"
