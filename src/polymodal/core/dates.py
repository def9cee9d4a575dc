"""The moment that a cell is: dates and clock times as people and programs write them."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

DAY_FIRST, MONTH_FIRST = "%d/%m/%Y", "%m/%d/%Y"  # of numbers alone; whatever stands between them
_MONTHS = {  # as English, German, French, Spanish, Italian and Portuguese begin them
    name: month
    for month, names in enumerate(
        ("jan ene gen", "feb fév fev", "mar mär mrz", "apr abr avr", "may mai mag", "jun juin giu", "jul juil lug",
         "aug ago aoû", "sep set", "oct okt ott out", "nov", "dec dez déc dic"), start=1,
    )
    for name in names.split()
}  # fmt: skip
_MONTH = rf"(?P<{{}}>{'|'.join(_MONTHS)})[^\W\d_]*\.?"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_DAY = (
    r"(?P<year>\d{4})(?P<between>[-/.])(?P<month>\d{1,2})(?P=between)(?P<day>\d{1,2})",
    r"(?P<year_>\d{4})\s?[年년]\s?(?P<month_>\d{1,2})\s?[月월]\s?(?P<day_>\d{1,2})\s?[日일]",
    r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<last>\d{4}|\d{2})",
    rf"(?P<a_day>\d{{1,2}})(?:st|nd|rd|th)?\.?[\s-]{_MONTH.format('a_month')},?[\s-](?P<a_year>\d{{4}}|\d{{2}})",
    rf"{_MONTH.format('b_month')}\s+(?P<b_day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<b_year>\d{{4}})",
)
_ZONE = r"\s*(?:z|utc|gmt|[+-]\d{2}:?(?:\d{2})?)?"
_CLOCK = (
    r"(?P<hour>\d{1,2})(?=[:h]\d|\s*[ap]\.?\s?m|\s+uhr)"
    r"(?:[:h](?P<minute>\d{2})(?::(?P<sec>\d{2})(?P<part>[.,]\d+)?)?)?"
    r"\s*(?P<half>[ap])?(?(half)\.?\s?m\.?|(?:\s*(?:uhr|hrs?|h))?)"
)
_MOMENT = re.compile(rf"{_WEEKDAY}(?:{'|'.join(_DAY)})(?:(?:\s*t\s*|,?\s+)(?:at\s+)?{_CLOCK}{_ZONE})?", re.IGNORECASE)
_TIME = re.compile(rf"(?!\d+h){_CLOCK}{_ZONE}", re.IGNORECASE)  # 1h30 alone is a duration
_ANY_DAY = dt.date(1970, 1, 1)  # of a clock time, which has none


def as_date(cell: Any, formats: Sequence[str] = ()) -> dt.datetime | None:
    """A cell as a naive datetime, or None where it is none; a clock time is one of 1 January 1970.

    Read are ISO 8601, 5/31/24, 31.5.2024, 31 May 2024, May 31, 2024 and 2024年5月31日, each with a clock time (14:30,
    2:30 PM, 14:30 Uhr, 14h30) or without. Of `formats` (as `strptime` takes them) one with %d before %m says that the
    day comes first where numbers alone leave it open, and one of another form is tried first.
    """
    if isinstance(cell, dt.datetime):
        return None if cell != cell else cell.replace(tzinfo=None)
    if isinstance(cell, dt.date):
        return dt.datetime(cell.year, cell.month, cell.day)
    if isinstance(cell, dt.time):
        return dt.datetime.combine(_ANY_DAY, cell.replace(tzinfo=None))
    if not isinstance(cell, str) or len(cell) > 64:
        return None
    text = cell.strip()
    for pattern in formats:
        if pattern not in (DAY_FIRST, MONTH_FIRST):
            try:
                return dt.datetime.strptime(text, pattern).replace(tzinfo=None)
            except ValueError:
                continue
    if text[:1].isalnum() and (parts := _MOMENT.fullmatch(text) or _TIME.fullmatch(text)):
        return _moment(parts.groupdict(), formats)
    if text[:4].isdigit() and ("-" in text or "T" in text):  # the rest of ISO 8601: weeks, 20240531T1200
        try:
            return dt.datetime.fromisoformat(text).replace(tzinfo=None)
        except ValueError:
            return None
    return None


def is_clock(cell: Any) -> bool:
    """Whether a cell is a clock time without a day."""
    return isinstance(cell, dt.time) or (isinstance(cell, str) and bool(_TIME.fullmatch(cell.strip())))


def date_formats(cells: Iterable[Any]) -> tuple[list[str], str]:
    """Whether day or month comes first where numbers alone leave it open: a list of one format, [] where none do.

    The column's other cells tell; where none does, the month is first between slashes, the day between points and
    dashes, and the second value is a cell that may be read either way, else "".
    """
    day_first = month_first = 0
    marks, open_ = Counter[str](), ""
    for cell in cells:
        parts = _MOMENT.fullmatch(cell.strip()) if isinstance(cell, str) and len(cell) <= 64 else None
        if parts is None or parts["first"] is None:
            continue
        first, second = int(parts["first"]), int(parts["second"])
        marks[parts["mark"]] += 1
        day_first += first > 12 >= second
        month_first += second > 12 >= first
        open_ = open_ or (cell if first != second and max(first, second) <= 12 else "")
    if not marks:
        return [], ""
    if day_first != month_first:
        return [DAY_FIRST if day_first > month_first else MONTH_FIRST], ""
    return [MONTH_FIRST if marks["/"] * 2 >= marks.total() else DAY_FIRST], "" if day_first else open_


def _moment(parts: dict[str, str | None], formats: Sequence[str]) -> dt.datetime | None:
    def given(*names: str) -> tuple[str, ...] | None:
        found = tuple(parts.get(name) or "" for name in names)
        return found if found[0] else None

    date: tuple[str, ...] | None
    if date := given("first", "second", "last", "mark"):
        first, second, year, mark = date
        if len(year) == 2 and mark != "/" and len(first + second) < 4:
            return None  # 1.2.30 is a version
        orders = [form.index("%d") < form.index("%m") for form in formats if form in (DAY_FIRST, MONTH_FIRST)]
        open_ = max(int(first), int(second)) <= 12
        day_first = orders[0] if orders else mark != "/" if open_ else int(second) <= 12
        day, month = (first, second) if day_first else (second, first)
    elif date := given("year", "month", "day") or given("year_", "month_", "day_"):
        year, month, day = date
    elif date := given("a_year", "a_month", "a_day") or given("b_year", "b_month", "b_day"):
        year, month, day = date[0], str(_MONTHS[date[1].lower()]), date[2]
    else:
        year, month, day = "1970", "1", "1"
    hour, half = int(parts["hour"] or 0), (parts["half"] or "").lower()
    if half and not 1 <= hour <= 12:
        return None
    hour = hour % 12 + 12 * (half == "p") if half else hour
    whole = int(year) + (2000 if int(year) < 69 else 1900) * (len(year) == 2)
    second_, part = int(parts["sec"] or 0), float("0." + (parts["part"] or ".0")[1:])
    try:
        return dt.datetime(
            whole, int(month), int(day), hour, int(parts["minute"] or 0), second_, min(999999, round(part * 1e6))
        )
    except ValueError:
        return None
