"""Labels: what a cell names, read alike from any file."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from polymodal.core.numbers import as_number

SEPARATORS = "|;,"  # of labels in one cell, the surest first


def label_of(value: Any) -> str:
    """The label that a cell names: 3, 3.0 and " 3 " are the label "3"."""
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        value = int(value)
    return str(value).strip()


def listed(value: Any) -> list[Any] | None:
    """The items of a cell that is a list, or text that is one: `["a", "b"]` of JSON, `['a', 'b']` of Python."""
    if isinstance(value, str) and value.strip()[:1] == "[" and value.strip()[-1:] == "]":
        for read in (json.loads, ast.literal_eval):
            try:
                items = read(value.strip())
                break
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
        else:
            return None
        return items if isinstance(items, list) else None
    return list(value) if isinstance(value, list | tuple) else None


def labels_of(value: Any, separator: str = "|") -> list[str]:
    """The labels of a multilabel cell: the items of a list, or a string's parts between `separator`."""
    parts = listed(value)
    if parts is None:
        parts = value.split(separator) if isinstance(value, str) else [value]
    return [label for label in (label_of(part) for part in parts if part is not None) if label]


def separator_of(values: Iterable[Any]) -> str:
    """What parts the labels of a column's cells: the first of `|`, `;` and `,` that stands in any; else `|`."""
    texts = [value for value in values if isinstance(value, str) and listed(value) is None]
    return next((sign for sign in SEPARATORS if any(sign in text for text in texts)), SEPARATORS[0])


def sorted_labels(labels: Iterable[str]) -> list[str]:
    """Labels by value when all are numbers, else by letters."""
    labels = list(labels)
    if all(as_number(label) is not None for label in labels):
        return sorted(labels, key=lambda label: (as_number(label), label))
    return sorted(labels)
