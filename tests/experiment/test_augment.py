"""Augmentation inside a fit: copies of training rows only, kept in their source's part."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_table import BROKEN, QUICK, write_shop

import polymodal as pm
from polymodal.core.errors import BadArgument, PolymodalError
from polymodal.experiment.augment import augmented


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    return write_shop(tmp_path / "shop", rows=120)


STEPS = [{"color": {"columns": "photo"}}, {"drop_words": {"columns": "title"}}, "jitter"]


def test_copies_stay_with_their_source(table, tmp_path):
    plan = pm.plan(table, "category", **QUICK, augment=STEPS)
    bigger, notes = augmented(plan, tmp_path / "media")
    count = len(plan.table)
    assert len(bigger.table) > count + len(plan.rows("train"))
    assert bigger.table.ids[:count] == plan.table.ids
    assert (bigger.split[count:] == 0).all()
    assert np.array_equal(bigger.rows("test"), plan.rows("test"))
    where = {name: i for i, name in enumerate(plan.table.ids)}
    for i in range(count, len(bigger.table)):
        source = where[bigger.table.ids[i].split("~")[0]]
        assert plan.split[source] == 0
        assert bigger.fold[i] == plan.fold[source]
        assert bigger.truth["category"][i] == plan.truth["category"][source]
    assert f"copies of {len(plan.rows('train'))} training rows" in notes[0]


def test_a_fit_trains_on_them_and_says_so(table, tmp_path):
    run = pm.fit(table, "category", out=tmp_path / "run", quiet=True, **QUICK, augment=STEPS)
    plain = pm.fit(table, "category", out=tmp_path / "plain", quiet=True, **QUICK)
    found, usual = (json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("run", "plain"))
    assert found["data"]["rows"]["train"] > 2 * usual["data"]["rows"]["train"]
    assert found["data"]["rows"]["test"] == usual["data"]["rows"]["test"]
    assert any("augmented copies" in line for line in found["verdict"]["sentences"])
    assert run.predict(table)["id"] == plain.predict(table)["id"]


def test_resuming_goes_on_with_the_same_copies(table, tmp_path):
    first = pm.fit(table, "category", out=tmp_path / "run", quiet=True, **QUICK, augment=STEPS)
    again = pm.fit(table, "category", out=tmp_path / "run", quiet=True, **QUICK, augment=STEPS, resume=True)
    assert [r["test_mean"] for r in first.leaderboard] == [r["test_mean"] for r in again.leaderboard]


def test_a_broken_photo_is_one_row_without_a_copy(table, tmp_path):
    plan = pm.plan(table, "category", **QUICK, augment=["flip"])
    plan.split[BROKEN] = 0
    bigger, notes = augmented(plan, tmp_path / "media")
    assert "could not be augmented, as in row r5" in notes[1]
    assert "r5~0.0" not in bigger.table.ids
    assert "r5" in bigger.table.ids


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["fliip"], "No op is called 'fliip'. Did you mean 'flip'"),
        (["near_duplicates"], "'near_duplicates' is no augmentation"),
        ([{"flip": {"columns": "title"}}], "is of kind text"),
        ([{"flip": {"colums": "photo"}}], "Unknown argument 'colums'"),
    ],
)
def test_wrong_steps_are_said_before_any_training(table, tmp_path, steps, message):
    with pytest.raises(PolymodalError, match=message):
        pm.fit(table, "category", out=tmp_path / "run", quiet=True, **QUICK, augment=steps)
    assert not (tmp_path / "run").exists(), "the folder is free for another try"


def test_the_answer_is_never_varied(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    rng = np.random.default_rng(0)
    columns = {
        "a": rng.normal(0, 1, 80).tolist(),
        "b": rng.normal(0, 1, 80).tolist(),
        "y": rng.normal(0, 1, 80).tolist(),
    }
    plan = pm.plan(columns, "y", **QUICK, augment=[{"jitter": {"amount": 1.0}}])
    bigger, _ = augmented(plan, tmp_path / "media")
    where = {name: i for i, name in enumerate(plan.table.ids)}
    for i in range(80, len(bigger.table)):
        source = where[bigger.table.ids[i].split("~")[0]]
        assert bigger.table.column("y")[i] == plan.table.column("y")[source]
        assert bigger.table.column("a")[i] != plan.table.column("a")[source]
    with pytest.raises(BadArgument, match="There is no column 'y'"):
        augmented(pm.plan(columns, "y", **QUICK, augment=[{"jitter": {"columns": "y"}}]), tmp_path / "media")
