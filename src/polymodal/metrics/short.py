"""Metrics of short answers in words: right or not, by how many people, in how many of the words."""

from __future__ import annotations

from collections import Counter

import numpy as np

from polymodal.metrics.words import normal
from polymodal.metrics.written import Written, best, present


class ExactMatch(Written):
    """Share of rows whose text is that of a reference: letter by letter, or with `normalise` without capitals, signs
    and articles, and with words for numbers as figures (Antol et al. 2015)."""

    title, bounds, proportion = "exact match", (0.0, 1.0), True

    def __init__(self, *, normalise: bool = False):
        self.normalise = normalise

    def rows(self, references: np.ndarray, said: np.ndarray) -> np.ndarray:
        row, texts = present(references)
        return best(row, _equal(row, texts, said.tolist(), self.normalise), len(said))


class VqaAccuracy(Written):
    """Accuracy against the answers of several people: min(1, how many said so / 3), averaged over leaving out each of
    them (Antol et al. 2015); answers are normalised.

    The official one for four references or more a row. Of three or two, all the others must have said so; of one, it
    is plain accuracy.
    """

    title, bounds = "VQA accuracy", (0.0, 1.0)

    def rows(self, references: np.ndarray, said: np.ndarray) -> np.ndarray:
        row, texts = present(references)
        people = np.bincount(row, minlength=len(said))
        same = np.bincount(row, _equal(row, texts, said.tolist(), True), len(said))
        enough = np.clip(people - 1, 1, 3)
        with_one_less = same * np.minimum(1, np.maximum(same - 1, people == 1) / enough)
        return (with_one_less + (people - same) * np.minimum(1, same / enough)) / people


class TokenF1(Written):
    """Mean over rows of the F1 of the words that answer and reference share, of the reference that it is best for
    (Rajpurkar et al. 2016); without capitals, signs and articles. Chinese characters are words."""

    title, bounds = "token F1", (0.0, 1.0)

    def rows(self, references: np.ndarray, said: np.ndarray) -> np.ndarray:
        row, texts = present(references)
        answers = [Counter(normal(text, numbers=False).split()) for text in said.tolist()]
        values = []
        for i, text in zip(row.tolist(), texts):
            reference, answer = Counter(normal(text, numbers=False).split()), answers[i]
            total = reference.total() + answer.total()
            values.append(2 * (reference & answer).total() / total if total else 1.0)
        return best(row, values, len(said))


def _equal(row: np.ndarray, texts: list[str], said: list[str], normalise: bool) -> np.ndarray:
    """[P] whether each reference is what was said in its row."""
    if normalise:
        texts, said = [normal(text) for text in texts], [normal(text) for text in said]
    return np.array([said[i] == text for i, text in zip(row.tolist(), texts)], dtype=np.float64)
