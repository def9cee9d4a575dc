"""Labels: what a cell names, read alike from any file."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from polymodal.core.numbers import as_number

SEPARATORS = (",", ";", "|", "/", "+", "&")  # what may part the labels of a cell, the likeliest first


def label_of(value: Any) -> str:
    """The label that a cell names: 3, 3.0 and " 3 " are the label "3"."""
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        value = int(value)
    return str(value).strip()


def labels_of(value: Any, separator: str = "|") -> list[str]:
    """The labels of a multilabel cell: the items of a list, written as JSON or Python writes it or not, or a string's
    parts between `separator`."""
    parts = [value]
    if isinstance(value, str):
        inside = value.strip()
        listed = inside[:1] == "[" and inside[-1:] == "]"
        parts = [part.strip().strip("\"'") for part in inside[1:-1].split(",")] if listed else value.split(separator)
        if listed:
            with contextlib.suppress(ValueError):
                parts = json.loads(inside)
    elif isinstance(value, list | tuple):
        parts = list(value)
    return [label for label in (label_of(part) for part in parts if part is not None) if label]


def sorted_labels(labels: Iterable[str]) -> list[str]:
    """Labels by value when all are numbers, else by letters."""
    labels = list(labels)
    if all(as_number(label) is not None for label in labels):
        return sorted(labels, key=lambda label: (as_number(label), label))
    return sorted(labels)
