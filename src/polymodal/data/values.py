"""What one raw value is: a number, a date, a list of numbers."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import numpy as np

from polymodal.core.limits import read_json_text
from polymodal.core.numbers import MONEY, read_number

_SHORT_UNIT = re.compile(rf"[^\W\d_]{{0,4}}[²³]?|°[cf]?|[a-z]{{0,2}}[%‰{MONEY}]")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = re.compile(
    rf"(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:\d{{4}}|\d{{2}})|"
    rf"\d{{1,2}} {_MONTH} \d{{4}}|{_MONTH} \d{{1,2}},? \d{{4}})"
    r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s?(?:Z|[+-]\d{2}:?\d{2})?)?",
    re.IGNORECASE,
)


def looks_numeric(cell: Any) -> bool:
    """Whether a cell is a number with at most a short unit ("3 kg", "EUR 1.234,50")."""
    number = read_number(cell)
    return number is not None and bool(_SHORT_UNIT.fullmatch(number[1]))


def looks_like_date(value: Any) -> bool:
    """Whether a cell is a date, or is written like one: 2024-05-31T12:00, 31.5.2024, 5/31/24, 31 May 2024."""
    return isinstance(value, date) or (isinstance(value, str) and bool(_DATE.fullmatch(value.strip())))


def as_array(value: Any) -> np.ndarray | None:
    """The numbers in a list cell as float32 [n] or [n, channels], or None when it holds none.

    A list cell is a list, an array, a JSON list in a string, or numbers parted by spaces, commas or semicolons.
    JSON's null is NaN.
    """
    if isinstance(value, str):
        value = _parse_list(value)
    if isinstance(value, np.ndarray):
        return value.astype(np.float32) if value.dtype.kind in "fiub" and value.ndim else None
    if not isinstance(value, list | tuple) or not value or any(isinstance(item, str) for item in value):
        return None
    try:
        array = np.array(value, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        return None
    return array if array.ndim <= 2 else None


def _parse_list(text: str) -> list[Any] | None:
    text = text.strip()
    if text.startswith("["):
        try:
            return read_json_text(text.replace("NaN", "null").replace("nan", "null"))
        except ValueError:
            return None
    parts = re.split(r"[\s,;]+", text)
    try:
        return [float(part) for part in parts] if len(parts) > 1 else None
    except ValueError:
        return None
