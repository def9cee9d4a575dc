"""Answers in words of a trial are kept in a file of arrays."""

from __future__ import annotations

import numpy as np
import pytest

import polymodal as pm
from polymodal.core.sealed import load_sealed
from polymodal.tuning.trial import _letters, _texts

from .conftest import LR, TINY


def test_answers_of_a_search_keep_their_letters(tmp_path):
    said = np.array([["a dog", "", "日本語"]])
    assert _letters(said).dtype == np.uint32
    assert _texts(_letters(said)).tolist() == said.tolist()
    assert _texts(_letters(np.array([[""]]))).tolist() == [[""]]
    assert _letters(np.zeros((1, 2))).dtype == float


def test_words_are_tuned_from_end_to_end(tiny, tmp_path):
    pytest.importorskip("optuna")
    head = {"name": "writer", "units": 16, "depth": 1}
    tuned = pm.tune(
        tiny, {"label": "text"}, out=tmp_path / "out", trials=2, space=LR, quiet=True, seeds=1,
        **{**TINY, "heads": {"label": head}, "answer_training": {"lr": 1e-6, "epochs": 2, "patience": 0}},
    )  # fmt: skip
    assert [one["state"] for one in tuned.trials] == ["complete"] * 2
    assert all(0 <= one["score"] <= 1 for one in tuned.trials)
    kept = [_texts(load_sealed(path)[0]["label"]) for path in (tmp_path / "out" / "work" / "answers").iterdir()]
    assert len(kept) == 2
    assert all(set(said.ravel()) <= {"same", "other", ""} for said in kept)
    assert tuned.headline.startswith(("Tuning helped: exact_match", "Tuning is not shown", "Tuning"))
