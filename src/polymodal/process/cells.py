"""Raw table cells read as numbers, dates and words."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

_GROUPS = " '_\u00a0\u202f"  # what may stand between groups of three digits, besides comma and point
_CURRENCY = r"(?:[A-Za-z]{0,2}[^\w\s.,+−-]{1,2}|[A-Za-z]{3}\s)?"  # "$", "US$", "EUR 5"; not the letters of a code
_NUMBER = re.compile(
    rf"(?P<before>{_CURRENCY})\s*(?P<sign>[+−-]?)\s*(?P<between>{_CURRENCY})\s*"
    rf"(?P<digits>\d[\d.,{_GROUPS}]*|[.,]\d+)(?P<exponent>[eE][+-]?\d+)?\s*(?P<after>[^\d]{{0,16}})"
)
DATE_FORMATS = (
    "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m/%d/%y", "%d/%m/%y",
    "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y",
)  # fmt: skip


def as_number(cell: Any) -> tuple[float, str] | None:
    """A cell as its value and its unit (currency or suffix, "" for none), or None where it is no finite number.

    `"1,234"` and `"1 234"` are 1234; `"1.234,5"` and `"1234,5"` have a decimal comma; `"$5"` has the unit `$`, `"3 kg"`
    the unit `kg`.
    """
    if isinstance(cell, bool | dt.date):
        return None
    if isinstance(cell, int | float):
        return (float(cell), "") if math.isfinite(cell) else None
    found = _NUMBER.fullmatch(str(cell).strip())
    if found is None:
        return None
    digits = _plain(found["digits"].rstrip(_GROUPS))
    if digits is None:
        return None
    value = float(digits + (found["exponent"] or ""))
    unit = (found["before"] + found["between"] + found["after"]).strip().lower()
    return (-value if found["sign"] in ("-", "−") else value, unit) if math.isfinite(value) else None


def _plain(digits: str) -> str | None:
    """Digits with at most a decimal point, or None where the separators make no sense (a date, a version)."""
    marks = [mark for mark in digits if not mark.isdigit()]
    whole, fraction = digits, ""
    if marks:
        last = marks[-1]
        head, tail = digits.rsplit(last, 1)
        single = marks.count(last) == 1 and last in ".,"
        if single and (len(set(marks)) > 1 or last == "." or not re.fullmatch(r"\d{1,3},\d{3}", digits)):
            whole, fraction = head, tail
    if not re.fullmatch(rf"\d*|\d{{1,3}}([.,{_GROUPS}]\d{{3}})+", whole):
        return None
    return re.sub(r"\D", "", whole or "0") + "." + (fraction or "0")


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
    number = as_number(cell)
    if number is not None and number[1] == "":
        return f"{number[0]:.12g}"
    word = " ".join(str(cell).split())
    return word.lower() if word.lower() in ("true", "false", "yes", "no", "t", "f", "y", "n") else word


def main_unit(cells: Sequence[Any]) -> str:
    """The commonest unit among the cells that have one, "" where none has."""
    units = Counter(number[1] for cell in cells if cell is not None and (number := as_number(cell)) and number[1])
    return min(units, key=lambda unit: (-units[unit], unit)) if units else ""


def tell_type(cells: Sequence[Any]) -> str:
    """ "number", "date" or "category", from a column's training cells (None = missing): what reads four in five."""
    given = [cell for cell in cells if cell is not None]
    given = given[:: max(1, len(given) // 5000)]
    if not given:
        return "category"
    units = ("", main_unit(given))
    numbers = sum(number is not None and number[1] in units for number in map(as_number, given))
    if numbers >= 0.8 * len(given):
        return "number"
    formats = date_formats(given)
    dates = sum(as_date(cell, formats) is not None for cell in given)
    return "date" if dates >= 0.8 * len(given) else "category"
