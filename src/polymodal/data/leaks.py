"""Columns that give the target away."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from polymodal.core.numbers import Notation
from polymodal.core.words import key_of, label_of

ROWS_A_VALUE = 5  # below so many rows a value, a column decides the target by accident
FIRST = 2000  # rows in which most honest columns contradict themselves, so that the rest need not be read
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
    if not numbers and _contradicted(pairs[:FIRST]):
        return None
    said = f"{column} looks like the target {target}: "
    end = ". If it is not known when the model is asked, leave it out (ignore: [" + column + "])."
    if all(key_of(value) == key_of(answer) for value, answer in pairs):
        return said + "the cells are equal" + end
    if numbers:
        both = np.stack([Notation.of(cells).numbers(cells) for cells in zip(*pairs)], axis=1)
        both = both[np.isfinite(both).all(axis=1)]
        if len(both) >= 10 and (np.ptp(both, axis=0) > 0).all() and abs(_correlation(both)) > LINEAR:
            return said + "one is the other in different units" + end
        return None
    labels = {(key_of(value), key_of(answer)) for value, answer in pairs}
    keys = {value for value, _ in labels}
    if len(labels) > len(keys) or len(keys) < 2 or len(pairs) < ROWS_A_VALUE * len(keys):
        return None
    if len(keys) == len({answer for _, answer in labels}):
        return said + "its values are one-to-one with the classes" + end
    return said + "every one of its values goes with a single class" + end


def leak_by_name(column: str, values: Sequence[Any], target: str, answers: Sequence[Any]) -> str | None:
    """A warning when cells name their row's class, word for word (`animals_frog-1` of class `frog`), else None."""
    given = [(value, label_of(a)) for value, a in zip(values, answers) if isinstance(value, str) and a is not None]
    given = given[:: max(1, len(given) // FIRST)]
    pairs = [(_words(value), answer) for value, answer in given]
    names = {answer: _words(answer) for _, answer in pairs}
    if len(pairs) < 10 or not 1 < len(names) <= len(pairs) / 2:
        return None
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


def _contradicted(pairs: Sequence[tuple[Any, Any]]) -> bool:
    """Whether some value goes with two answers, so that it cannot give the answer away."""
    labels = {(key_of(value), key_of(answer)) for value, answer in pairs}
    return len(labels) > len({value for value, _ in labels})


def _correlation(pairs: np.ndarray) -> float:
    """Pearson's, of the two columns of [n, 2]."""
    centred = pairs - pairs.mean(axis=0)
    x, y = (centred / np.linalg.norm(centred, axis=0)).T
    return float(x @ y)
