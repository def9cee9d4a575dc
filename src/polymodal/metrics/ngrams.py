"""n-grams, counted for all texts at once: runs of n words or characters, each kind a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Grams:
    """The n-grams of one length: `text` [K] which text, ascending, `gram` [K] which n-gram, of `kinds`, and `count` [K]
    how often."""

    text: np.ndarray
    gram: np.ndarray
    count: np.ndarray
    kinds: int

    def of(self, first: int, last: int) -> Grams:
        """Those of texts from `first` to before `last`, numbered from 0."""
        part = slice(*np.searchsorted(self.text, [first, last]))
        return Grams(self.text[part] - first, self.gram[part], self.count[part], self.kinds)

    def owned(self, owner: np.ndarray) -> np.ndarray:
        """[K] one number for each n-gram of an owner, `owner` [texts] naming that of each text."""
        return owner[self.text] * self.kinds + self.gram

    def totals(self, texts: int) -> np.ndarray:
        """[texts] how many n-grams each text has."""
        return np.bincount(self.text, self.count, texts)


def grams(texts: Sequence[Sequence[str]], n: int) -> Iterator[Grams]:
    """The n-grams of 1, 2, … `n` words of all texts, each text a sequence of words or of characters."""
    numbers: dict[str, int] = {}
    word = np.array([numbers.setdefault(word, len(numbers)) for text in texts for word in text], dtype=np.int64)
    text = np.repeat(np.arange(len(texts)), [len(one) for one in texts])
    gram = word
    for length in range(1, n + 1):
        if length > 1:  # a run that is one word longer ends in the same text
            whole = text[length - 1 :] == text[: max(len(text) - length + 1, 0)]
            longer = gram[:-1] * (len(numbers) + 1) + word[length - 1 :] if len(gram) else gram
            gram = np.where(whole, longer, -1)
        some = np.flatnonzero(gram >= 0)
        kinds, numbered = np.unique(gram[some], return_inverse=True)
        gram = np.full(len(gram), -1)
        gram[some] = numbered
        key, count = np.unique(text[some] * max(len(kinds), 1) + numbered, return_counts=True)
        owner, which = np.divmod(key, max(len(kinds), 1))
        yield Grams(owner, which, count, max(len(kinds), 1))


def looked_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The value of each wanted key, 0 where `keys`, ascending, has it not."""
    if not len(keys):
        return np.zeros(len(wanted))
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)
