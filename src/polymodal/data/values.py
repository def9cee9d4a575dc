"""What one raw value is: a list of numbers."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from polymodal.core.limits import read_json_text

_PARTED = re.compile(r"[\s,;|]+")
_GAPS = frozenset(("", "nan", "null", "none", "na", "n/a", "?", "-"))  # entries that were not measured


def as_array(value: Any) -> np.ndarray | None:
    """The numbers in a list cell as float32 [n] or [n, channels], or None when it holds none.

    A list cell is a list, an array, a list in a string as JSON, Python and NumPy write it, or numbers parted by spaces,
    commas, semicolons or bars; behind a semicolon or a bar they may have decimal commas. An entry that is empty, null
    or marked so is NaN.
    """
    if isinstance(value, str):
        value = _parse_list(value)
    if isinstance(value, np.ndarray):
        return value.astype(np.float32) if value.dtype.kind in "fiub" and value.ndim else None
    if not isinstance(value, list | tuple) or not value:
        return None
    items = [math.nan if isinstance(item, str) and item.strip().lower() in _GAPS else item for item in value]
    if any(isinstance(item, str) for item in items):
        return None
    try:
        array = np.array(items, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        return None
    return array if array.ndim <= 2 else None


def _parse_list(text: str) -> list[Any] | None:
    text = text.strip()
    if text[:1] == "[" and text[-1:] == "]":
        try:
            items = read_json_text(text.replace("NaN", "null").replace("nan", "null"))
            return items if isinstance(items, list) else None
        except ValueError:
            text = text[1:-1].strip()
    elif text[:1] == "(" and text[-1:] == ")":
        text = text[1:-1].strip()
    sign = next((sign for sign in ";|," if sign in text), None)
    try:
        numbers = [_entry(part, sign) for part in (text.split(sign) if sign != "," else text.rstrip(",").split(sign))]
    except ValueError:
        try:
            numbers = [float(part) for part in _PARTED.split(text)]
        except ValueError:
            return None
    return None if len(numbers) < 2 or all(map(math.isnan, numbers)) else numbers


def _entry(text: str, sign: str | None) -> float:
    text = text.strip()
    if text.lower() in _GAPS:
        return math.nan
    return float((text.replace(",", ".") if sign in (";", "|") else text).replace("−", "-"))
