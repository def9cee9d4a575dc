"""The number that a cell is."""

from __future__ import annotations

import math
import re
from typing import Any

_ADORNED = re.compile(r"[$€£¥]?\s*([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s*[$€£¥%]?")


def as_number(value: Any) -> float | None:
    """The finite number that a cell is, or None.

    "1,234.5", "$5" and "12 %" are numbers; bools, digits with underscores and decimal commas ("3,14") are not.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.replace("_", "x")  # Python reads 1_000 as a number; people do not write it
        try:
            value = float(text)
        except ValueError:
            adorned = _ADORNED.fullmatch(text.strip())
            value = float(adorned[1].replace(",", "")) if adorned else None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    return None
