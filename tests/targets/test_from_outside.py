"""The guide's target that is a word and its head that writes it: from outside, a file each, through a whole fit."""

from __future__ import annotations

import importlib
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.core.errors import BadArgument
from polymodal.testing import check_head, check_target

GUIDE = (Path(__file__).parents[2] / "docs" / "guide.md").read_text(encoding="utf-8")
FILES = {
    name: re.search(rf"```python\n(# {name}\n.*?)```", GUIDE, re.DOTALL)[1] for name in ("my_word.py", "my_speller.py")
}
QUICK = {
    "seeds": 1, "crossfit": 2, "dim": 8, "workers": 0, "trackers": "none", "quiet": True,
    "encoder_training": {"epochs": 30, "lr": 0.01}, "answer_training": {"epochs": 60, "lr": 0.01},
}  # fmt: skip


@pytest.fixture
def parts(tmp_path, monkeypatch):
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    importlib.invalidate_caches()
    return tmp_path


def colours(rows: int = 240) -> dict[str, list]:
    """A word of two parts, each told by one of two vectors."""
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, rows, 2)).astype(np.float32)
    shades, names = ["pale", "deep"], ["red", "blue", "green"]
    what = [shades[int(a > 0)] + " " + names[int(b > -0.4) + int(b > 0.4)] for a, b in zip(left[:, 0], right[:, 0])]
    return {"left": left.tolist(), "right": right.tolist(), "shade": what}


def test_each_is_one_file_under_40_lines():
    assert all(code.count("\n") < 40 for code in FILES.values())


def test_they_keep_the_laws(parts):
    words = ["red", "blue", "red", "green", None, "pink", "red", "grey"]
    check_target("my_word:Word", [word for word in words if word])
    target = pm.Target.from_json(
        {"name": "y", "kind": "my_word:Word", "letters": "bdeglnru", "longest": 5, "usual": "red"}
    )
    truth = torch.from_numpy(target.encode(["red", "blue", "green", "bug", "red", "blue", "gel", "run"]))
    check_head("my_speller:Speller", target, truth=truth)
    assert target.truth(target.encode(["red", None, "zebra"])).tolist() == ["red", "", "ebr"]


def test_a_head_that_writes_is_fitted_judged_and_told(parts):
    data = colours()
    schema = {"target": {"shade": "my_word:Word"}}
    options = {name: value for name, value in QUICK.items() if name != "quiet"}
    plan = pm.plan(data, schema=schema, fusion="all", objectives="all", **options)
    left_out = "Left out, since it is not defined for my_word:Word: late_mean, late_weighted, "
    assert any(note.startswith(left_out) for note in plan.notes), plan.notes
    assert {s.family for s in plan.strategies} == {"single", "fusion"}
    run = pm.fit(data, schema=schema, out=parts / "run", fusion=["gated"], finetune=True, **QUICK)
    rows = {row["strategy"]: row for row in run.leaderboard}
    assert {"gated", "concat", "left alone", "right alone", "chance"} <= set(rows)
    assert "late_mean" not in rows
    assert "ensemble" not in rows
    together = float(rows["concat"]["test_mean"])
    alone = max(float(rows[f"{s} alone"]["test_mean"]) for s in ("left", "right"))
    assert together > alone + 0.2
    assert together > float(rows["chance"]["test_mean"]) + 0.4

    again = pm.load(parts / "run", trust=["my_word", "my_speller"])
    said = again.predict(data)["shade"]
    assert np.mean([a == b for a, b in itertools.zip_longest(said, data["shade"])]) > 0.7
    evaluation = again.evaluate(data, out=parts / "told")
    assert evaluation["metrics"]["exact_match"] > 0.7
    assert evaluation["mistakes"][0]["truth"] != evaluation["mistakes"][0]["prediction"]
    explained = again.explain(data, limit=4)
    assert explained[0]["answer"] == said[0]
    assert sum(explained[0]["worth"].values()) == pytest.approx(0 if said[0] == "" else 1, abs=1.01)
    assert "shade" in (parts / "told" / "report.html").read_text(encoding="utf-8")


def test_what_needs_scores_is_refused_by_name(parts):
    with pytest.raises(
        BadArgument, match="The fusion late_mean is defined for scores of classes and multilabel and number"
    ):
        pm.plan(colours(60), schema={"target": {"shade": "my_word:Word"}}, fusion="late_mean")
    with pytest.raises(
        BadArgument, match="The head number answers number and numbers; the target 'shade' is my_word:Word"
    ):
        pm.plan(colours(60), schema={"target": {"shade": "my_word:Word"}}, heads={"shade": "number"})
