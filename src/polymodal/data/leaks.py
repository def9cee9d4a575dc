"""Columns that give the target away."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from polymodal.core.numbers import Notation
from polymodal.core.words import key_of, label_of

ROWS_A_VALUE = 5  # below so many rows a value, a column decides the target by accident
ROWS = 2000  # whose words are compared with their class
NAMED, BEYOND = 0.8, 0.3  # share of rows that name their class; and by how much it passes what others' names reach
LINEAR = 0.9999  # correlation above which a number is the target in other units
_PARTS = re.compile(r"[^\W\d_]+|\d+")


def leak(column: str, values: Sequence[Any], target: str, answers: Sequence[Any], *, numbers: bool) -> str | None:
    """A warning when `values` look like the target (of `numbers` or of labels) in another form, else None.

    Found: equal cells; values one-to-one with classes; values that each go with a single class; a number in linear
    relation with a number target.
    """
    pairs = [(v, a) for v, a in zip(values, answers) if v is not None and a is not None]
    if len(pairs) < 10:
        return None
    said = f"{column} looks like the target {target}: "
    end = ". If it is not known when the model is asked, leave it out (ignore: [" + column + "])."
    if numbers:
        if all(key_of(value) == key_of(answer) for value, answer in pairs):
            return said + "the cells are equal" + end
        both = np.stack([Notation.of(cells).numbers(cells) for cells in zip(*pairs)], axis=1)
        both = both[np.isfinite(both).all(axis=1)]
        if len(both) >= 10 and (np.ptp(both, axis=0) > 0).all() and abs(_correlation(both)) > LINEAR:
            return said + "one is the other in different units" + end
        return None
    told: dict[str, str] = {}
    for value, answer in pairs:
        if told.setdefault(key_of(value), key := key_of(answer)) != key:
            return None  # most honest columns contradict themselves soon
    if all(value == answer for value, answer in told.items()):
        return said + "the cells are equal" + end
    if len(told) < 2 or len(pairs) < ROWS_A_VALUE * len(told):
        return None
    if len(told) == len(set(told.values())):
        return said + "its values are one-to-one with the classes" + end
    return said + "every one of its values goes with a single class" + end


def leak_by_name(column: str, values: Sequence[Any], target: str, answers: Sequence[Any]) -> str | None:
    """A warning when cells name their row's class, word for word (`animals_frog-1` of class `frog`), else None."""
    given = [(value, label_of(a)) for value, a in zip(values, answers) if isinstance(value, str) and a is not None]
    given = given[:: max(1, len(given) // ROWS)]
    names = {answer: _words(answer) for answer in {answer for _, answer in given}}
    if len(given) < 10 or not 1 < len(names) <= len(given) / 2:
        return None
    pairs = [(_words(value), answer) for value, answer in given]
    told = [names[answer] in words for words, answer in pairs]
    other = [names[answer] in words for (words, _), (_, answer) in zip(pairs, pairs[7:] + pairs[:7])]
    share, chance = sum(told) / len(pairs), sum(other) / len(pairs)
    if share < NAMED or share < chance + BEYOND:
        return None
    example = given[told.index(True)][0]
    return (
        f"{column} names the answer: in {share:.0%} of the rows its words hold the {target}, as {example[:60]!r} does. "
        f"If it is not known when the model is asked, leave it out (ignore: [{column}])."
    )


def _words(text: Any) -> str:
    """The words and numbers of a text, small, each between spaces."""
    parts = _PARTS.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(text)))
    return f" {' '.join(parts).casefold()} "


def _correlation(pairs: np.ndarray) -> float:
    """Pearson's, of the two columns of [n, 2]."""
    centred = pairs - pairs.mean(axis=0)
    x, y = (centred / np.linalg.norm(centred, axis=0)).T
    return float(x @ y)
