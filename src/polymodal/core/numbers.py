"""The number that a cell is, as its column writes numbers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

_GROUPS = " '’_\u00a0\u2009\u202f"  # what may stand between groups of three digits, besides comma and point
MONEY = "$€£¥₹₽₩₺₪"
_CURRENCY = r"(?:[A-Za-z]{0,2}[^\w\s.,+−-]{1,2}|[A-Z]{3}\s)?"  # "$", "US$", "EUR 5"; not the letters of a code
_NUMBER = re.compile(
    rf"(?P<before>{_CURRENCY})\s*(?P<sign>[+−-]?)\s*(?P<between>{_CURRENCY})\s*"
    rf"(?P<digits>\d[\d.,{_GROUPS}]*|[.,]\d+)(?P<exponent>[eE][+-]?\d+)?\s*(?P<after>[^\d]{{0,16}})"
)
_WHOLE = re.compile(rf"\d*|\d{{1,3}}([.,{_GROUPS}]\d{{3}})+")
_PLAIN_UNIT = re.compile(rf"[%‰{MONEY}]?")  # beside which a number is a number without its column
_OPEN = re.compile(r"[1-9]\d{0,2}")  # before one comma or point and three digits: thousands, or decimals
_FLOAT = re.compile(  # with one point at most, which shows no more than that
    r"\s*[+-]?\d*\.?\d*(?:[eE][+-]?\d+)?\s*"
)
_SPAN = re.compile(  # 14:30, 2:05:07 PM, 36:15:00, and as Python and pandas write a timedelta
    r"(?:(?P<sign>[+−-]?)(?P<days>\d+) days?,?\s*\+?)?"
    r"(?P<first>\d+):(?P<second>[0-5]\d)(?::(?P<third>[0-5]\d(?:\.\d+)?))?"
    r"(?:\s*(?P<half>[ap])\.?\s?m\.?)?",
    re.IGNORECASE,
)
_ISO_SPAN = re.compile(
    r"(?P<sign>[+−-]?)P(?=.)(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?=.)(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_SECONDS = {"weeks": 604800, "days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
HOURS, MINUTES, SPAN = "h:mm", "mm:ss", "h:mm:ss"  # units of what is written with colons; values are in seconds
ISO_SPAN = "ISO 8601 duration"
_SPANS = (HOURS, MINUTES, SPAN)
DAY = 86400


@dataclass(frozen=True)
class Notation:
    """How a column writes its numbers.

    `decimal` is the sign before the decimals where a cell leaves that open: "1,234" is 1234 or 1.234, "1.234" is 1.234
    or 1234. `unit` is the commonest one, which a cell may leave out; in another unit a cell is no number of the column.
    `why` says in words what was decided of cells that leave it open, empty where there are none; `unsure` is one of
    them where no other cell tells.
    """

    decimal: str = "."
    unit: str = ""
    why: str = field(default="", compare=False)
    unsure: str = field(default="", compare=False)

    @classmethod
    def of(cls, cells: Iterable[Any], decimal: str = "") -> Notation:
        """Told from all cells of a column (None = missing): those that leave it open are as the others are written.

        `decimal` is the sign where the user says it.
        """
        texts = [cell for cell in cells if isinstance(cell, str)]
        if not decimal and all(map(_FLOAT.fullmatch, texts)):
            return cls()
        units, shown, unsure, account = Counter[str](), Counter[str](), "", ""
        example: dict[str, str] = {}
        longest = 0.0  # of what is written as 14:30
        for text in texts:
            if (parsed := _parsed(text, ".")) is None:
                if (span := _span(text)) is not None:
                    units[span[1]] += 1
                    longest = max(longest, span[0]) if span[1] == HOURS else longest
                continue
            value, unit, sign = parsed
            units[unit] += 1
            account = account or (text if value < 0 and text.strip()[-1] in ")-−" else "")
            shown[sign] += 1
            example.setdefault(sign, text)
            unsure = unsure or (text if not sign and "," in text else "")
        said, decimal = decimal, decimal or ("," if shown[","] > shown["."] else ".")
        del units[""]
        unit = min(units, key=lambda unit: (-units[unit], unit)) if units else ""
        why = ""
        if unit in _SPANS:
            unit = MINUTES if longest >= DAY else unit
            why = f"times such as {next(text for text in texts if _span(text))!r}, in seconds"
        elif said:
            why = f"the decimal sign is {said!r}, as the schema says"
        elif unit == ISO_SPAN:
            why = "ISO 8601 durations, in seconds"
        elif decimal == ",":
            why = f"the comma is before decimals, as in {example[',']!r}"
        elif unsure:
            clear = f"as {example['.']!r} tells" if "." in example else "for no cell tells otherwise"
            why = f"the comma of {unsure!r} parts thousands, {clear}"
            return cls(decimal, unit, why, "" if "." in example else unsure)
        elif account:
            why = f"{account!r} is below zero, as accounts write it"
        return cls(decimal, unit, why)

    def number(self, cell: Any) -> float | None:
        """The finite number that a cell of the column is, or None."""
        if cell is None or (number := read_number(cell, self.decimal)) is None:
            return None
        if number[1] in _SPANS and self.unit in _SPANS:
            return number[0] / 60 if self.unit == MINUTES and number[1] == HOURS else number[0]
        return number[0] if number[1] == "" or _singular(number[1]) == _singular(self.unit) else None

    def numbers(self, cells: Iterable[Any]) -> np.ndarray:
        """float64 [n], NaN where a cell is missing or no number of the column."""
        return np.array([math.nan if (n := self.number(cell)) is None else n for cell in cells], np.float64)


def read_number(cell: Any, decimal: str = ".") -> tuple[float, str] | None:
    """A cell as its finite value and its unit (currency or suffix, "" for none), or None where it is no number.

    "1,234.5", "1.234,5", "1 234", "3,14", "−3", "(3)" and "3.00-" (below zero, as accounts write it), "1e5", "$5",
    "12 %" and "3 kg" are numbers; bools are not. A timedelta, "14:30", "36:15:00" and "PT1H30M" are numbers of seconds,
    those that are text in a unit of their own. `decimal` says what a single comma or point before three digits is: see
    `Notation`, which asks the column.
    """
    if isinstance(cell, str):
        if (decimal == "." or "." not in cell) and _FLOAT.fullmatch(cell):
            try:
                value = float(cell)
            except ValueError:  # a sign or a point alone
                return None
            return (value, "") if math.isfinite(value) else None
        parsed = _parsed(cell, decimal)
        return parsed[:2] if parsed else _span(cell)
    if isinstance(cell, timedelta):
        return cell.total_seconds(), ""
    if isinstance(cell, time):
        return cell.hour * 3600 + cell.minute * 60 + cell.second + cell.microsecond / 1e6, SPAN
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
        return None
    try:
        value = float(cell)
    except (OverflowError, ValueError):
        return None
    return (value, "") if math.isfinite(value) else None


def as_number(cell: Any, decimal: str = ".") -> float | None:
    """The finite number that a cell is by itself, in no unit but a currency or per cent; None for anything else."""
    number = read_number(cell, decimal)
    return number[0] if number is not None and _PLAIN_UNIT.fullmatch(number[1]) else None


def _singular(unit: str) -> str:
    return unit[:-1] if len(unit) > 2 and unit[-1] == "s" else unit


def _parsed(text: str, decimal: str) -> tuple[float, str, str] | None:
    """Value, unit, and the decimal sign that the text shows, "" where it leaves that open."""
    parts = _NUMBER.fullmatch(text.strip())
    if parts is None:
        return None
    digits = parts["digits"].rstrip(_GROUPS)
    marks = [mark for mark in digits if not mark.isdigit()]
    whole, fraction, shown = digits, "", ""
    if marks and (last := marks[-1]) in ".,":
        head, tail = digits.rsplit(last, 1)
        if marks.count(last) > 1:
            shown = "," if last == "." else "."
        elif len(set(marks)) > 1 or len(tail) != 3 or not _OPEN.fullmatch(head):
            whole, fraction, shown = head, tail, last
        elif last == decimal:
            whole, fraction = head, tail
    if not _WHOLE.fullmatch(whole):
        return None
    value = float(re.sub(r"\D", "", whole or "0") + "." + (fraction or "0") + (parts["exponent"] or ""))
    before, after = parts["before"] + parts["between"], parts["after"].strip()
    below = parts["sign"] in ("-", "−")
    if "(" in before and after[-1:] == ")" and not parts["sign"]:  # as accounts write it
        below, before, after = True, before.replace("(", ""), after[:-1]
    elif after in ("-", "−") and fraction and not parts["sign"]:  # 3- is a mark of schools
        below, after = True, ""
    unit = (before + after).strip().lower()
    return (-value if below else value, unit, shown) if math.isfinite(value) else None


def _span(text: str) -> tuple[float, str] | None:
    """Seconds of a clock time or a duration and how it is written, or None."""
    text = text.strip()
    if text[:1] in "P+−-" and (parts := _ISO_SPAN.fullmatch(text)):
        size = sum(float(parts[name]) * size for name, size in _SECONDS.items() if parts[name])
        return (-size if parts["sign"] in ("-", "−") else size), ISO_SPAN
    parts = _SPAN.fullmatch(text) if ":" in text else None
    if parts is None:
        return None
    first = int(parts["first"])
    if half := parts["half"]:
        if not 1 <= first <= 12:
            return None
        first = first % 12 + 12 * (half in "pP")
    size = first * 3600 + int(parts["second"]) * 60 + float(parts["third"] or 0)
    days = (-1 if parts["sign"] in ("-", "−") else 1) * int(parts["days"] or 0)  # of a timedelta only days are negative
    return days * DAY + size, SPAN if parts["third"] or parts["days"] else HOURS
