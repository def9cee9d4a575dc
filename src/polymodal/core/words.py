"""The word that a cell is: names of categories and labels, however they are written."""

from __future__ import annotations

import math
import re
import unicodedata
from decimal import Decimal
from typing import Any

from polymodal.core.numbers import read_number

_TRUTHS = frozenset(
    ("true", "false", "yes", "no", "t", "f", "y", "n", "ja", "nein", "oui", "non", "si", "sí", "sì", "não", "sim", "да",
     "нет", "tak", "nie", "evet", "hayır", "wahr", "falsch", "vrai", "faux")
)  # fmt: skip
_WHOLE = re.compile(r"(?P<sign>[-−]?)(?P<whole>\d+)(?:\.0+)?")


def as_word(cell: Any) -> str:
    """A cell as the name of a category: `3`, `3.0` and `"3"` are one, `True` and `"Yes "` are `"true"` and `"yes"`."""
    if isinstance(cell, bool):
        return str(cell).lower()
    number = read_number(cell)
    if number is not None and number[1] == "":
        return f"{number[0]:.12g}"
    word = " ".join(str(cell).split())
    return word.lower() if word.lower() in _TRUTHS else word


def label_of(cell: Any) -> str:
    """The label that a cell names, as it is written: 3 and 3.0 are "3", " cat " is "cat", "3.0" is "3.0"."""
    if isinstance(cell, float | Decimal) and math.isfinite(cell) and cell == int(cell):
        cell = int(cell)
    return str(cell).strip()


def key_of(cell: Any) -> str:
    """What labels that are one have in common: 1, "1" and "1.0"; True, "true" and "TRUE"; one accent, however encoded.

    "01" and "1" are two, as are "A" and "a".
    """
    label = label_of(cell)
    if parts := _WHOLE.fullmatch(label):
        return "-" * bool(parts["sign"]) + parts["whole"]
    if label.isascii() and not label.isalpha():
        return label
    folded = label.lower()
    return folded if len(label) > 1 and folded in _TRUTHS else unicodedata.normalize("NFC", label)
