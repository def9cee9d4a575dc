"""Targets: from raw cells to labels, multi-hot rows and standardised numbers, fitted on the training rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.core.types import KINDS, Target
from polymodal.data.values import as_number

SKEWED = 1.0  # sample skewness above which a positive number is modelled as its logarithm


def fit_target(name: str, kind: str, values: Sequence[Any]) -> Target:
    """The `Target` learned from the raw cells of the training rows; missing cells (None) are passed over.

    `classes`: labels sorted (by value when all are numbers) with their shares. `multilabel`: labels found in list
    cells or `a|b` strings, with the share of rows that have each. `number`: mean and standard deviation, of the
    logarithm when all values are positive, their skewness is above 1 and the logarithm's is smaller in size.

    Raises `BadArgument` for an unknown kind, `BadData` when there is nothing to learn (no value, one class, no spread).
    """
    if kind not in KINDS:
        raise BadArgument(f"Target {name!r} cannot be of kind {kind!r}.{suggest(kind, KINDS)}")
    present = [value for value in values if value is not None]
    if not present:
        raise BadData(f"Target {name!r} is missing in every training row, so there is nothing to learn.")
    if kind == "number":
        return _fit_number(name, present)
    labels = [labels_of(value) for value in present] if kind == "multilabel" else [[label_of(v)] for v in present]
    counts = Counter(label for row in labels for label in dict.fromkeys(row))
    if kind == "classes" and len(counts) < 2:
        raise BadData(f"Target {name!r} is {next(iter(counts))!r} in every training row; two classes are needed.")
    if not counts:
        raise BadData(f"Target {name!r} has no label in any training row.")
    classes = sorted_labels(counts)
    return Target(name, kind, tuple(classes), frequencies=tuple(counts[c] / len(present) for c in classes))


def encode_target(target: Target, values: Sequence[Any]) -> np.ndarray:
    """Raw cells as the arrays a head is trained on.

    `classes`: int64 [N], -1 where missing or of a label not seen in training. `multilabel`: float32 [N, C] of 0 and
    1, a row of NaN where missing; labels not seen in training are left out. `number`: float32 [N], standardised, NaN
    where missing or no number. `unseen` counts what was left out. Raises `BadData` for a number that is zero or less
    where the target is modelled as a logarithm.
    """
    place = {label: position for position, label in enumerate(target.classes)}
    if target.kind == "classes":
        codes = [-1 if value is None else place.get(label_of(value), -1) for value in values]
        return np.array(codes, dtype=np.int64)
    if target.kind == "multilabel":
        hot = np.zeros((len(values), len(place)), dtype=np.float32)
        for row, value in enumerate(values):
            if value is None:
                hot[row] = np.nan
                continue
            hot[row, [place[label] for label in labels_of(value) if label in place]] = 1
        return hot
    numbers = np.array([_number_or_nan(value) for value in values], dtype=np.float64)
    if target.log:
        if (numbers <= 0).any():
            raise BadData(
                f"Target {target.name!r} is {numbers[numbers <= 0][0]:g} in some row, but it was positive in training "
                "and is modelled as a logarithm. Correct or remove those rows."
            )
        numbers = np.log(numbers)
    return ((numbers - target.location) / target.scale).astype(np.float32)


def unseen(target: Target, values: Iterable[Any]) -> dict[str, int]:
    """Counts of what `encode_target` must leave out: labels not seen in training, cells that are no number."""
    present = [value for value in values if value is not None]
    if target.kind == "number":
        return dict(Counter(str(value) for value in present if as_number(value) is None))
    rows = [labels_of(value) for value in present] if target.kind == "multilabel" else [[label_of(v)] for v in present]
    known = set(target.classes)
    return dict(Counter(label for row in rows for label in row if label not in known))


def label_of(value: Any) -> str:
    """The label that a cell names: 3, 3.0 and " 3 " are the label "3"."""
    if isinstance(value, float) and value.is_integer():
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
        return sorted(labels, key=lambda label: (float(label), label))
    return sorted(labels)


def _number_or_nan(value: Any) -> float:
    number = None if value is None else as_number(value)
    return math.nan if number is None else number


def _fit_number(name: str, present: Sequence[Any]) -> Target:
    numbers = np.array([_number_or_nan(value) for value in present], dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        raise BadData(f"Target {name!r} is a number, but no training row holds one (first value: {present[0]!r}).")
    if np.ptp(numbers) == 0:
        raise BadData(f"Target {name!r} is {numbers[0]:g} in every training row: there is nothing to predict.")
    skewness = _skewness(numbers)
    log = bool((numbers > 0).all() and skewness > SKEWED and abs(_skewness(np.log(numbers))) < skewness)
    if log:
        numbers = np.log(numbers)
    return Target(name, "number", location=float(numbers.mean()), scale=float(numbers.std()), log=log)


def _skewness(numbers: np.ndarray) -> float:
    centred = numbers - numbers.mean()
    return float((centred**3).mean() / max((centred**2).mean(), 1e-300) ** 1.5)
