"""A hidden Markov model of labels over symbols, with Viterbi and forward-backward.

Labels follow one another by smoothed counts. A symbol that training never saw is judged by its ending and its shape, as
words seen once were (after Brants 2000, TnT; Samuelsson 1993 for suffixes).
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from polymodal.core.errors import BadData

SUFFIX = 4
RARE = 2  # symbols seen up to this often teach what unknown ones look like


def viterbi(start: np.ndarray, step: np.ndarray, emit: np.ndarray) -> np.ndarray:
    """The likeliest path [T] from log scores: start [K], step [K, K] (from, to), emit [T, K]."""
    score = start + emit[0]
    back = np.zeros(emit.shape, np.int64)
    for t in range(1, len(emit)):
        each = score[:, None] + step
        back[t] = each.argmax(0)
        score = each.max(0) + emit[t]
    path = np.empty(len(emit), np.int64)
    path[-1] = score.argmax()
    for t in range(len(emit) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path


def posteriors(start: np.ndarray, step: np.ndarray, emit: np.ndarray) -> np.ndarray:
    """The probability [T, K] of each label at each place, given all symbols (Rabiner 1989)."""
    chain = np.exp(step)
    seen = np.exp(emit - emit.max(1, keepdims=True))
    ahead, behind = np.empty(emit.shape), np.ones(emit.shape)
    ahead[0] = np.exp(start) * seen[0]
    ahead[0] /= ahead[0].sum()
    for t in range(1, len(emit)):
        ahead[t] = (ahead[t - 1] @ chain) * seen[t]
        ahead[t] /= ahead[t].sum()
    for t in range(len(emit) - 2, -1, -1):
        behind[t] = chain @ (seen[t + 1] * behind[t + 1])
        behind[t] /= behind[t].sum()
    both = ahead * behind
    return both / both.sum(1, keepdims=True)


class Hmm:
    """Labels of a sequence of symbols by a first-order hidden Markov model."""

    def __init__(self, labels: Sequence[str], symbols: Sequence[str], arrays: dict[str, np.ndarray]):
        self.labels = list(labels)
        self.arrays = arrays
        self.symbols = list(symbols)
        self._row = {symbol: i for i, symbol in enumerate(symbols)}

    @classmethod
    def train(cls, symbols: Sequence[Sequence[str]], labels: Sequence[Sequence[str]], *, smooth: float = 0.1) -> Hmm:
        """Count labelled sequences. Raises `BadData` where there is none."""
        names = sorted({label for one in labels for label in one})
        if not names:
            raise BadData("There is no labelled symbol to learn from.")
        place = {name: i for i, name in enumerate(names)}
        k = len(names)
        start, step = np.full(k, smooth), np.full((k, k), smooth)
        seen: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(k))
        for words, tags in zip(symbols, labels):
            ids = [place[t] for t in tags]
            if ids:
                start[ids[0]] += 1
            for a, b in itertools.pairwise(ids):
                step[a, b] += 1
            for word, i in zip(words, ids):
                seen[word][i] += 1
        total = np.sum(list(seen.values()), 0)
        looks: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(k))
        for word, counts in seen.items():
            if counts.sum() <= RARE:
                for look in _looks(word):
                    looks[look] += counts
        kept = [*seen, *looks]
        table = np.stack([*(seen[w] for w in seen), *(looks[w] for w in looks)])
        arrays = {
            "start": np.log(start / start.sum()), "step": np.log(step / step.sum(1, keepdims=True)),
            "counts": table, "total": total,
        }  # fmt: skip
        return cls(names, kept, arrays)

    def decode(self, symbols: Sequence[str]) -> tuple[list[str], list[float]]:
        """The likeliest labels, and the probability of each label given all symbols."""
        if not symbols:
            return [], []
        emit = self.emissions(symbols)
        path = viterbi(self.arrays["start"], self.arrays["step"], emit)
        sure = posteriors(self.arrays["start"], self.arrays["step"], emit)[np.arange(len(path)), path]
        return [self.labels[i] for i in path], sure.tolist()

    def emissions(self, symbols: Sequence[str]) -> np.ndarray:
        """Log p(symbol | label) [T, K], for unknown symbols up to a constant of the symbol's own."""
        known: dict[str, np.ndarray] = {symbol: self._emission(symbol) for symbol in dict.fromkeys(symbols)}
        return np.stack([known[symbol] for symbol in symbols])

    def _emission(self, symbol: str) -> np.ndarray:
        total = self.arrays["total"]
        prior = total / total.sum()
        row = self._row.get(symbol)
        if row is not None:
            counts = self.arrays["counts"][row]
            return np.log((counts + 0.05 * prior) / total)
        chance = prior
        for look in _looks(symbol):  # from the widest look to the narrowest, each leaning on the one before
            row = self._row.get(look)
            if row is not None:
                counts = self.arrays["counts"][row]
                chance = (counts + chance) / (counts.sum() + 1)
        return np.log((chance + 1e-6 * prior) / total)


def _looks(word: str) -> list[str]:
    """What an unknown word shows, the widest first; the names begin with a character that no word does."""
    shape = "digit" if any(c.isdigit() for c in word) else "capital" if word[:1].isupper() else "small"
    shape = shape if any(c.isalnum() for c in word) else "sign"
    ends = [word[-n:].lower() for n in range(1, min(SUFFIX, len(word) - 1) + 1)]
    return [f"\x1f{shape}", *(f"\x1f{shape}\x1f{end}" for end in ends)]
