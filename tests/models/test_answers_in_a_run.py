"""Answers from fit to feedback: work that is really not done, bundles that come back, state that survives."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_table import QUICK, write_shop

import polymodal as pm
from polymodal.core.errors import BadArgument, UnknownName
from polymodal.inference.predictor import LEARNED

LOOSE = {"name": "dynamic", "tolerance": 1.0}  # stops after the first stage, whatever it says
EVERY_SUBSET = [1, 1, 1, 2, 2, 2, 3]
LABEL = "dynamic(tolerance=1.0)"
NAMES = [LOOSE, "hybrid", "experts", {"name": "policy", "steps": 3}, "qmf", "tmc", "bandit"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    return write_shop(tmp_path_factory.mktemp("shop"), rows=120)


def _fit(shop: Path, out: Path, deploy: str, fusion: list) -> pm.Run:
    store = str(shop.parent / "store")
    options = {**QUICK, "fusion": fusion, "deploy": deploy, "store": store, "quiet": True}
    return pm.fit(shop, "category", out=out, **options)


@pytest.fixture(scope="module")
def dynamic(shop: Path, tmp_path_factory) -> pm.Run:
    return _fit(shop, tmp_path_factory.mktemp("run") / "dynamic", LABEL, NAMES)


def test_every_answer_is_a_row_of_the_leaderboard(dynamic: pm.Run):
    rows = {row["strategy"]: row for row in dynamic.leaderboard}
    assert {LABEL, "hybrid", "experts", "policy(steps=3)", "qmf", "tmc", "bandit"} <= set(rows)
    assert rows["hybrid"]["level"] == "hybrid"
    assert rows["experts"]["level"] == "experts"
    assert "% of the work on streams saved" in rows[LABEL]["note"]
    assert dynamic.metrics["chosen"] == LABEL
    assert f"This run deploys {LABEL}" in dynamic.report.read_text(encoding="utf-8")


def test_prediction_does_not_touch_what_it_does_not_need(dynamic: pm.Run, shop: Path):
    run = pm.load(dynamic.folder)
    predictor = run.predictor
    first = predictor.answer.names[int(predictor.answer.places[0])]
    calls: dict[str, int] = dict.fromkeys(predictor.streams, 0)
    for name, processor in predictor.processors.items():
        whole = processor.read

        def read(cell, name=name, whole=whole):
            calls[name] += 1
            return whole(cell)

        processor.read = read  # counts what is decoded
    found = run.predict(shop)
    assert len(found["id"]) == 120
    assert predictor.work[first] > 100
    assert calls[first] == predictor.work[first]
    for name in predictor.streams:
        if name != first:
            assert calls[name] == predictor.work[name] < 30  # rows that lack the first stream
    assert predictor.cost.keys() == set(predictor.streams)
    assert all(cost > 0 for cost in predictor.cost.values())


def test_what_is_predicted_is_what_was_measured(dynamic: pm.Run, shop: Path):
    measured = pq.read_table(dynamic.folder / "predictions_test.parquet").to_pydict()
    found = pm.load(dynamic.folder).predict(shop)
    place = {name: i for i, name in enumerate(found["id"])}
    for i, name in enumerate(measured["id"]):
        assert found["category"][place[name]] == measured["category"][i]
        sure = measured["category_probability"][i]
        assert found["category_probability"][place[name]] == pytest.approx(sure, abs=0.01)


def test_it_can_be_explained_and_evaluated_in_every_subset(dynamic: pm.Run, shop: Path):
    run = pm.load(dynamic.folder)
    worths = run.explain(shop, limit=3)
    assert set(worths[0]["worth"]) == set(run.predictor.streams)
    evaluation = run.evaluate(shop, quiet=True)
    assert sorted(len(s["streams"]) for s in evaluation["subsets"]) == EVERY_SUBSET


def test_a_run_that_learns_from_feedback(shop: Path, tmp_path: Path):
    run = _fit(shop, tmp_path / "run", "bandit", ["bandit"])
    rows = csv.DictReader(shop.read_text(encoding="utf-8").splitlines())
    truth = {row["id"]: row["category"] for row in rows}
    ids = run.predict(shop)["id"]
    assert (run.folder / LEARNED).exists()
    code = (
        "import sys, os, signal, json, polymodal as pm\n"
        "run = pm.load(sys.argv[1])\n"
        "ids, truth = json.loads(sys.argv[2])\n"
        "run.feedback(ids, truth)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    told = json.dumps([ids[:40], [truth[i] for i in ids[:40]]])
    subprocess.run([sys.executable, "-c", code, str(run.folder), told], check=False)
    again = pm.load(run.folder)  # another process learned, and was killed
    assert len(again.predictor.ledger) == 80
    with pytest.raises(UnknownName, match="waits for its truth"):
        again.feedback(ids[:1], [truth[ids[0]]])
    run.feedback(ids[:40], [truth[i] for i in ids[:40]])  # the same feedback here leaves the same state
    mine, other = (r.predictor.answer.model for r in (run, again))
    assert (mine.gram == other.gram).all()
    assert (mine.moment == other.moment).all()
    with pytest.raises(BadArgument, match="2 ids have 1 values"):
        run.feedback(ids[50:52], ["red bag"])
    with pytest.raises(BadArgument, match="truth of 'category' is not given"):
        run.feedback(ids[50:51], {"kind": ["red bag"]})


def test_deploy_names_what_is_compared(shop: Path):
    with pytest.raises(UnknownName, match="deploy names 'dynamik', which is not compared here. Did you mean 'dynamic'"):
        pm.plan(shop, "category", fusion=["dynamic"], deploy="dynamik")
    pm.plan(shop, "category", fusion=["dynamic"], deploy="best")
