"""Labels: what a cell names, read alike from any file."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from polymodal.core.limits import excess, read_json_text
from polymodal.core.numbers import as_number
from polymodal.core.words import key_of, label_of

SEPARATORS = "|;,"  # of labels in one cell, the surest first


def spellings(counts: Mapping[str, int]) -> dict[str, str]:
    """Each key's commonest spelling, from labels with their counts: {"1": "1.0"} of {"1.0": 9, "1": 2}."""
    of: dict[str, list[str]] = defaultdict(list)
    for label in counts:
        of[key_of(label)].append(label)
    return {key: min(labels, key=lambda label: (-counts[label], len(label))) for key, labels in of.items()}


def counted(values: Iterable[Any]) -> Counter[str]:
    """Rows of each class of the cells (None = missing), by its commonest spelling."""
    labels = Counter(label_of(value) for value in values if value is not None)
    spelt, counts = spellings(labels), Counter[str]()
    for label, count in labels.items():
        counts[spelt[key_of(label)]] += count
    return counts


def places(classes: Sequence[str]) -> dict[str, int]:
    """The position of each class by its key; a class keeps its own spelling where two have one key."""
    return {key_of(label): place for place, label in enumerate(classes)} | {c: i for i, c in enumerate(classes)}


def place_of(value: Any, known: Mapping[str, int]) -> int:
    """The position of the class that a cell names among `places`, -1 where there is none or the cell is missing."""
    if value is None:
        return -1
    label = label_of(value)
    place = known.get(label)
    return known.get(key_of(label), -1) if place is None else place


def listed(value: Any) -> list[Any] | None:
    """The items of a cell that is a list, or text that is one: `["a", "b"]` of JSON, `['a', 'b']` of Python."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, str) and value.strip()[:1] == "[" and value.strip()[-1:] == "]":
        for read in (read_json_text, ast.literal_eval):
            try:
                items = read(value.strip())
                break
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
        else:
            return None
        return items if isinstance(items, list) and not excess(items) else None
    return list(value) if isinstance(value, list | tuple | set | frozenset) else None


def labels_of(value: Any, separator: str = "|") -> list[str]:
    """The labels of a multilabel cell: the items of a list, or a string's parts between `separator`."""
    parts = listed(value)
    if parts is None:
        parts = value.split(separator) if isinstance(value, str) else [value]
    given = [part for part in parts if part is not None and part == part]
    return [label for label in (label_of(part) for part in given) if label]


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
