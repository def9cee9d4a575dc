"""Word error rate against a plain Levenshtein distance."""

from __future__ import annotations

import numpy as np
import pytest
from word_errors import edits, wer

from polymodal.core.errors import BadData


def levenshtein(a: list[str], b: list[str]) -> int:
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    table[:, 0], table[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
    for i in range(len(a)):
        for j in range(len(b)):
            table[i + 1, j + 1] = min(table[i, j] + (a[i] != b[j]), table[i, j + 1] + 1, table[i + 1, j] + 1)
    return int(table[-1, -1])


def test_edits_agree_with_the_plain_loop():
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = (list(rng.choice(list("abc"), rng.integers(0, 8))) for _ in range(2))
        s, d, n = edits(a, b)
        assert s + d + n == levenshtein(a, b)
        assert len(a) - d + n == len(b)


def test_kinds_of_errors():
    assert edits(["the", "cat", "sat"], ["the", "dog", "sat"]) == (1, 0, 0)
    assert edits(["the", "cat", "sat"], ["the", "sat"]) == (0, 1, 0)
    assert edits(["the", "cat", "sat"], ["the", "big", "cat", "sat"]) == (0, 0, 1)


def test_rate_and_interval():
    found = wer(["One two", "three"], ["one TWO", None])
    assert (found.rate, found.deletions, found.words, found.utterances) == (pytest.approx(1 / 3), 1, 3, 2)
    rng = np.random.default_rng(1)
    truth = ["a"] * 400
    said = ["a" if right else "b" for right in rng.random(400) < 0.8]
    found = wer(truth, said)
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(found.rate * (1 - found.rate) / 400), rel=0.15)
    assert wer(truth, said) == found
    assert wer(["a"], ["a b b"]).rate == 2, "insertions may make it more than one"
    assert np.isnan(wer([""], ["x"]).rate)
    with pytest.raises(BadData, match="2 references"):
        wer(["a", "b"], ["a"])
