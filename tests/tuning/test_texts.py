"""Answers in words of a trial are kept in a file of arrays."""

from __future__ import annotations

import numpy as np

from polymodal.tuning.trial import _letters, _texts


def test_answers_of_a_search_keep_their_letters(tmp_path):
    said = np.array([["a dog", "", "日本語"]])
    assert _letters(said).dtype == np.uint32
    assert _texts(_letters(said)).tolist() == said.tolist()
    assert _texts(_letters(np.array([[""]]))).tolist() == [[""]]
    assert _letters(np.zeros((1, 2))).dtype == float
