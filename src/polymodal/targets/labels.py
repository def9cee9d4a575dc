"""Labels: what a cell names, read alike from any file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from polymodal.core.numbers import as_number


def label_of(value: Any) -> str:
    """The label that a cell names: 3, 3.0 and " 3 " are the label "3"."""
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        value = int(value)
    return str(value).strip()


def labels_of(value: Any) -> list[str]:
    """The labels of a multilabel cell: the items of a list, or a string's parts between `|`."""
    parts = value.split("|") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    return [label for label in (label_of(part) for part in parts) if label]


def sorted_labels(labels: Iterable[str]) -> list[str]:
    """Labels by value when all are numbers, else by letters."""
    labels = list(labels)
    if all(as_number(label) is not None for label in labels):
        return sorted(labels, key=lambda label: (as_number(label), label))
    return sorted(labels)
