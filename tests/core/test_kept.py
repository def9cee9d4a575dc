"""Bounded memory of what was worked out of texts."""

from __future__ import annotations

import pickle

from polymodal.core.kept import Kept
from polymodal.metrics import words as module
from polymodal.metrics.words import words


def test_all_is_forgotten_before_there_are_too_many_letters():
    kept: Kept[str, int] = Kept(10)
    assert kept.keep("abcd", 4, 4) == 4
    kept.keep("efghij", 6, 6)
    assert dict(kept) == {"abcd": 4, "efghij": 6}
    kept.keep("k", 1, 1)
    assert dict(kept) == {"k": 1}
    assert kept.keep("l" * 11, 11, 11) == 11
    assert dict(kept) == {"k": 1}
    again = pickle.loads(pickle.dumps(kept))
    assert (again, again.most, again.letters) == (kept, 10, 1)


def test_words_of_long_texts_are_not_kept_without_end(monkeypatch):
    kept: Kept[tuple[str, str], tuple[str, ...]] = Kept(5000)
    monkeypatch.setattr(module, "_CUT", kept)
    for i in range(50):
        assert words(f"report {i} says " * 20)[:2] == ("report", str(i))
    assert 0 < sum(len(text) for text, _ in kept) == kept.letters <= 5000
    assert words("report 49 says " * 20) is words("report 49 says " * 20)
