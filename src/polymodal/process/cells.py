"""Raw table cells read as dates and words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from polymodal.core.numbers import Notation, read_number, without_mark

DATE_FORMATS = (
    "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m/%d/%y", "%d/%m/%y",
    "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y",
)  # fmt: skip


def as_date(cell: Any, formats: Sequence[str]) -> dt.datetime | None:
    """A cell as a naive datetime: ISO 8601 first, then the first of `formats` that fits; None where nothing fits."""
    if isinstance(cell, dt.datetime):
        return cell.replace(tzinfo=None)
    if isinstance(cell, dt.date):
        return dt.datetime(cell.year, cell.month, cell.day)
    if not isinstance(cell, str) or not 6 <= len(cell.strip()) <= 40:
        return None
    text = cell.strip()
    try:
        return dt.datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        pass
    for pattern in formats:
        try:
            return dt.datetime.strptime(text, pattern)
        except ValueError:
            continue
    return None


def date_formats(cells: Sequence[Any]) -> list[str]:
    """The format that reads most of the cells, as a list of one, or [] where ISO 8601 reads as many.

    Day and month in `03/04/2020` are told apart by the column's other cells; where none tells, the month comes first.
    """
    read = {pattern: sum(as_date(cell, [pattern]) is not None for cell in cells) for pattern in DATE_FORMATS}
    best = max(DATE_FORMATS, key=lambda pattern: read[pattern])
    return [best] if read[best] > sum(as_date(cell, []) is not None for cell in cells) else []


def as_word(cell: Any) -> str:
    """A cell as the name of a category: `3`, `3.0` and `"3"` are one, `True` and `"Yes "` are `"true"` and `"yes"`."""
    if isinstance(cell, bool):
        return str(cell).lower()
    number = read_number(cell)
    if number is not None and number[1] == "":
        return f"{number[0]:.12g}"
    word = " ".join(str(cell).split())
    return word.lower() if word.lower() in ("true", "false", "yes", "no", "t", "f", "y", "n") else word


def tell_type(cells: Sequence[Any]) -> str:
    """ "number", "date" or "category", from a column's training cells (None = missing): what reads four in five."""
    given = [cell for cell in cells if cell is not None]
    given = without_mark(given[:: max(1, len(given) // 5000)])
    if not given:
        return "category"
    number = Notation.of(given).number
    if sum(number(cell) is not None for cell in given) >= 0.8 * len(given):
        return "number"
    formats = date_formats(given)
    dates = sum(as_date(cell, formats) is not None for cell in given)
    return "date" if dates >= 0.8 * len(given) else "category"
