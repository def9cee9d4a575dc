"""Encoders and answer trained together: when it is called for, and what becomes of an answer that no stream tells."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import polymodal as pm
from polymodal.core.errors import BadArgument, UnknownName
from polymodal.experiment.joint import called_for
from polymodal.experiment.outcome import Outcome, Question
from polymodal.experiment.session import Session
from polymodal.experiment.work import settled_out
from polymodal.models.strategy import Strategy
from polymodal.targets.classes import ClassesTarget

QUICK = {
    "seeds": 2, "crossfit": 0, "dim": 16, "workers": 0, "trackers": "none", "quiet": True, "fusion": ["mlb"],
    "training": {"epochs": 4}, "ensemble": False,
}  # fmt: skip
COLOURS = ("red", "green", "blue")
HALF = ClassesTarget("label", ("a", "b"), (0.5, 0.5))


def asked(rows: int, seed: int = 0) -> dict[str, list]:
    """Whether the word in `question` is the colour that the words in `seen` name: neither text tells it alone."""
    rng = np.random.default_rng(seed)
    question = [COLOURS[i] for i in rng.integers(0, 3, rows)]
    seen = [
        word if rng.random() < 0.5 else COLOURS[(COLOURS.index(word) + rng.integers(1, 3)) % 3] for word in question
    ]
    filler = rng.integers(0, 40, (rows, 2))
    return {
        "seen": [f"thing w{a} is {word} and w{b}" for word, (a, b) in zip(seen, filler)],
        "question": [f"would you say that it is {word}" for word in question],
        "label": ["yes" if a == b else "no" for a, b in zip(question, seen)],
    }


@pytest.fixture
def fit(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))

    def carried_out(data, out="run", **options):
        schema = {"fields": {"seen": "text", "question": "text"}, "target": {"label": "classes"}}
        return pm.fit(data, out=tmp_path / out, schema=schema, **{**QUICK, **options})

    return carried_out


def test_what_no_stream_tells_alone_is_learned_together(fit, tmp_path):
    run = fit(asked(1200), fusion=["gated"], fractions=(0.5, 0.3, 0.2))
    board = {row["strategy"]: row for row in run.leaderboard}
    assert {"mlb joint", "concat joint", "seen alone joint", "question alone joint"} <= set(board)
    assert "mlb" not in board  # the product is tried jointly, whatever else is compared
    assert max(float(board[name]["test_mean"]) for name in ("gated", "concat joint", "seen alone joint")) < 0.7
    assert float(board["mlb joint"]["test_mean"]) > 0.9
    assert [board[name]["encoders"] for name in ("gated", "mlb joint")] == ["apart", "joint"]
    assert [int(board[name]["seeds"]) for name in ("gated", "mlb joint")] == [2, 1]
    assert run.metrics["chosen"] == "mlb joint"
    told = json.loads((tmp_path / "run" / "evaluation.json").read_text())["verdict"]
    assert told["against_single"]["name"].endswith("alone joint")
    assert any("trained jointly with the encoders" in sentence for sentence in told["sentences"])
    added = r"mlb joint is better than \w+, on validation rows the best fusion of encoders that were trained"
    assert any(re.match(added, sentence) for sentence in told["sentences"])
    assert any("No single modality beats chance" in sentence for sentence in told["sentences"])
    fresh = asked(100, seed=1)
    said = pm.load(tmp_path / "run").predict({name: fresh[name] for name in ("seen", "question")})
    assert np.mean([a == b for a, b in zip(said["label"], fresh["label"])]) > 0.9


def test_a_joint_training_that_was_stopped_goes_on(fit, tmp_path, monkeypatch):
    from polymodal.experiment import fit as module

    data, options = asked(200), {"joint": True, "seeds": 1, "joint_training": {"epochs": 3}}
    whole = fit(data, out="whole", **options)
    monkeypatch.setattr(module.Session, "joint", lambda self: (_ for _ in ()).throw(RuntimeError("killed")))
    with pytest.raises(RuntimeError, match="killed"):
        fit(data, out="broken", **options)
    monkeypatch.undo()
    again = fit(data, out="broken", resume=True, **options)
    scores = [{r["strategy"]: r["test_mean"] for r in run.leaderboard} for run in (whole, again)]
    assert scores[0] == scores[1]
    assert not list((tmp_path / "broken" / "work").rglob("*.checkpoint"))


@pytest.mark.parametrize(("joint", "expected"), [(False, set()), (True, {"mlb joint", "concat joint"})])
def test_it_is_done_when_asked_for_and_not_otherwise(fit, joint, expected):
    run = fit(asked(120), fusion=["gated"], joint=joint, joint_training={"epochs": 1}, seeds=1)
    found = {row["strategy"] for row in run.leaderboard if row["encoders"] == "joint" and row["level"] != "single"}
    assert found - {"gated joint"} == expected  # which is tried too where it was the best


def test_a_time_limit_bounds_joint_training(fit, tmp_path, monkeypatch):
    monkeypatch.setattr(Session, "_left", lambda self: 0.0)
    run = fit(asked(60), joint=True, joint_training={"epochs": 3}, seeds=1, time_limit=1e6)
    said = " ".join(json.loads((tmp_path / "run" / "evaluation.json").read_text())["verdict"]["sentences"])
    assert "mlb joint #0: The time limit ended it after 1 of 3 epochs." in said
    assert "mlb joint" in {row["strategy"] for row in run.leaderboard}


def test_a_joint_row_that_is_to_be_deployed_is_trained(fit):
    run = fit(asked(60), fusion=["gated", "attention"], deploy="attention joint", joint_training={"epochs": 1}, seeds=1)
    assert run.metrics["chosen"] == "attention joint"
    assert any("joint" in row["strategy"] and row["level"] == "single" for row in run.leaderboard)
    told = {row["strategy"]: float(row["predict_ms"]) for row in run.leaderboard}["attention joint"]
    took = [json.loads(path.read_text()) for path in (run.folder / "work").rglob("*.json")]
    own = [one for one in took if one.get("strategy", {}).get("fusion") == "attention" and "ms_per_row" in one]
    assert told in [pytest.approx(one["ms_per_row"], rel=1e-4) for one in own if one["strategy"]["encoders"] == "joint"]


def test_what_was_trained_jointly_has_not_learned_from_validation_rows(fit, tmp_path):
    options = {"fusion": ["concat"], "joint_training": {"epochs": 1}, "training": {"epochs": 1}}
    fit(asked(60), deploy="concat joint", seeds=3, crossfit=2, evidence="folds", **options)
    assert "refitted" not in json.loads((tmp_path / "run" / "evaluation.json").read_text())


def test_what_cannot_be_trained_jointly_is_refused_before_any_training():
    data = asked(60)
    with pytest.raises(BadArgument, match="joint is true, false or auto; got 'often'"):
        pm.plan(data, "label", joint="often")
    with pytest.raises(UnknownName, match="joint_on names 'late_mean', which is no fusion of tokens here"):
        pm.plan(data, "label", joint_on=["late_mean"])
    with pytest.raises(BadArgument, match="Unknown training option 'epoch'"):
        pm.plan(data, "label", joint_training={"epoch": 2})
    with pytest.raises(UnknownName, match="deploy names 'mlb joint', which is not compared here"):
        pm.plan(data, "label", joint=False, deploy="mlb joint")
    assert "Stage 3: train encoders and answer together where stage 2 says" in pm.plan(data, "label").text()
    told = pm.plan(data, "label", joint=True, joint_on=["concat", "mlb"]).text()
    assert "Stage 3: train encoders and answer together: concat, mlb, every single modality.\n" in told
    assert "Stage 3" not in pm.plan(data, "label", joint=False).text()


# --- when it is called for --------------------------------------------------------------------------------------------


def outcome(name: str, wrong: float, rows: int, *, family: str = "single", seed: int = 0) -> Outcome:
    """Answers of which that share is wrong."""
    truth = np.arange(rows) % 2
    label = np.where(np.random.default_rng(seed).permutation(rows) < wrong * rows, 1 - truth, truth)
    said = np.where(np.eye(2, dtype=bool)[label], 0.8, 0.2)[None]
    streams = (name,) if family == "single" else ("x", "y")
    spec = name if family != "single" else "late_mean"
    return Outcome(Strategy(family, spec, streams), {"label": said}, {"label": said})


@pytest.mark.parametrize(
    ("rows", "x", "y", "late", "fused", "expected"),
    [
        (800, 0.5, 0.49, 0.5, 0.5, "No single modality beats chance"),
        (40, 0.5, 0.5, 0.5, 0.5, ""),  # too few rows to tell
        (800, 0.45, 0.48, 0.44, 0.1, "Much lies in what modalities tell together"),
        (800, 0.2, 0.4, 0.19, 0.18, ""),  # the fusion adds little
        (800, 0.2, 0.3, 0.1, 0.09, ""),  # what it adds, a blend of answers adds as well
    ],
)
def test_when_joint_training_is_called_for(rows, x, y, late, fused, expected):
    found = [
        outcome("x", x, rows, seed=1), outcome("y", y, rows, seed=2),
        outcome("product", late, rows, family="decision", seed=3),
        outcome("gated", fused, rows, family="fusion", seed=4),
    ]  # fmt: skip
    q = Question(HALF, np.arange(rows) % 2, np.arange(rows) % 2)
    why = called_for(found, [q], 0)
    assert why.startswith(expected)
    assert bool(why) == bool(expected)
    assert called_for(found[:3], [q], 0) == ""  # nothing that could be trained jointly


def test_one_stream_has_nothing_to_be_joined_with_and_it_is_said(fit, tmp_path):
    data = asked(60)
    pm.fit({k: data[k] for k in ("seen", "label")}, "label", out=tmp_path / "one", joint=True, **QUICK)
    assert "Nothing is fused here, so nothing is trained jointly." in (tmp_path / "one" / "report.html").read_text()


def test_encoders_that_have_nothing_to_learn_are_left_alone(fit, tmp_path, monkeypatch):
    from polymodal.experiment import fit as module

    monkeypatch.setattr(module.Session, "_learns", lambda self, stream: False)
    run = fit(asked(120), joint=True, seeds=1)
    assert {row["encoders"] for row in run.leaderboard} == {"apart"}
    told = json.loads((tmp_path / "run" / "evaluation.json").read_text())["verdict"]["sentences"]
    assert "No encoder is trained in this fit, so none is trained jointly." in told
    assert settled_out(tmp_path / "run" / "work", "seen").exists()
