"""MinHash signatures estimate Jaccard similarity, and near duplicates are found without comparing all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from polymodal.data.media.minhash import SHINGLE, keepers, near_duplicates, signatures


def jaccard(a: str, b: str) -> float:
    one, other = ({t.encode()[i : i + SHINGLE] for i in range(max(1, len(t.encode()) - SHINGLE + 1))} for t in (a, b))
    return len(one & other) / len(one | other)


def sentences(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abcdefghijklmnop"), rng.integers(3, 9))) for _ in range(800)]
    return [" ".join(words[i] for i in row) for row in rng.integers(0, 800, (count, 12))]


def changed(text: str, words: int, rng: np.random.Generator) -> str:
    parts = text.split()
    for i in rng.choice(len(parts), words, replace=False):
        parts[i] = parts[i][::-1] + "q"
    return " ".join(parts)


def test_agreement_estimates_jaccard_without_bias():
    rng = np.random.default_rng(1)
    first = sentences(300)
    second = [changed(text, int(rng.integers(0, 9)), rng) for text in first]
    found = signatures(first + second)
    agreement = (found[:300] == found[300:]).mean(1)
    truth = np.array([jaccard(a, b) for a, b in zip(first, second)])
    assert abs((agreement - truth).mean()) < 0.01
    assert np.abs(agreement - truth).max() < 0.2
    assert (agreement - truth).std() < 1.3 * np.sqrt((truth * (1 - truth)).mean() / 128)


def test_signatures_do_not_depend_on_company(monkeypatch):
    texts = ["", "ab", "a longer text than that", "日本語のテキスト", "a longer text than that"]
    together = signatures(texts, 32)
    assert np.array_equal(together, np.concatenate([signatures([text], 32) for text in texts]))
    monkeypatch.setattr("polymodal.data.media.minhash._BLOCK", 8)
    assert np.array_equal(together, signatures(texts, 32))
    assert not np.array_equal(together, signatures(texts, 32, seed=1))


@pytest.mark.parametrize("threshold", [0.6, 0.9])
def test_near_duplicates_are_those_above_the_threshold(threshold):
    rng = np.random.default_rng(2)
    base = sentences(400, seed=3)
    copies = [changed(text, int(rng.integers(0, 6)), rng) for text in base]
    first = near_duplicates(signatures(base + copies), threshold)
    truth = np.array([jaccard(a, b) for a, b in zip(base, copies)])
    found = first[400:] == np.arange(400)
    assert np.array_equal(first[:400], np.arange(400)), "the first of a cluster is kept"
    assert found[truth > threshold + 0.15].all()
    assert not found[truth < threshold - 0.15].any()
    assert set(first[400:][~found]) <= set(range(400, 800)), "what is like nothing stays by itself"


def test_thousands_alike_are_one_cluster():
    texts = ["the very same words again and again"] * 3000 + ["and something else entirely, with nothing in common"]
    first = near_duplicates(signatures(texts, 64), 0.9)
    assert set(first[:3000]) == {0}
    assert first[3000] == 3000


def test_no_text_at_all():
    assert signatures([], 16).shape == (0, 16)
    assert near_duplicates(signatures([], 16), 0.8).shape == (0,)


def test_keepers_are_like_what_they_stand_for():
    found = np.zeros((5, 16), np.uint16)
    found[:, :8] = 7  # all share a half
    found[1, 8:] = found[0, 8:] = 1
    found[2, 8:12], found[2, 12:] = 1, 2  # like 1 and 3, which are unlike one another
    found[3, 8:] = 2
    found[4] = 9
    assert keepers(found, 0.75).tolist() == [0, 0, 0, 3, 4]
    assert keepers(found, 0.4).tolist() == [0, 0, 0, 0, 4]
    each = np.array([0.75, 0.75, 1.0, 0.75, 0.75])
    assert keepers(found, each).tolist() == [0, 0, 2, 3, 4], "the stricter of two counts"
    assert near_duplicates(found, each).tolist() == [0, 0, 2, 3, 4]
