"""What an encoder that is trained costs: it is tried for less, goes on from there, or is trained no further."""

from __future__ import annotations

import json

import numpy as np
import pytest

import polymodal as pm
from polymodal.experiment.ladder import WORTH, Ladder, ahead
from polymodal.experiment.work import load_trained

DRAW = np.random.default_rng(1)
QUICK = {"trackers": "none", "workers": 0, "quiet": True, "dim": 8, "fusion": ["concat"], "seeds": 1, "joint": False,
         "encoder_training": {"epochs": 4}, "answer_training": {"epochs": 2}, "evidence": "validation"}  # fmt: skip
LABEL = DRAW.integers(0, 2, 120)
TABLE = {
    "vector": [[float(x) for x in row] for row in DRAW.normal(size=(120, 5)) + LABEL[:, None]],
    "other": [[float(x) for x in row] for row in DRAW.normal(size=(120, 3))],
    "label": ["yes" if one else "no" for one in LABEL],
}


def trained(tmp_path, monkeypatch, worth, **options):
    """Epochs of every training of the vector's encoder, by the name of its result; and the run."""
    monkeypatch.setattr(Ladder, "worth_training", lambda self, results: worth)
    run = pm.fit(TABLE, "label", out=tmp_path / "run", store=str(tmp_path / "store"), **{**QUICK, **options})
    folder = run.folder / "work" / "encoders"
    read = {path.stem: json.loads(path.read_text()) for path in folder.glob("vector-*.json")}
    return {name: len(one["epoch"]) for name, one in read.items() if one["trained"]}, run


def test_what_was_tried_goes_on_as_the_first_part_s_and_the_whole_one_from_there(tmp_path, monkeypatch):
    epochs, run = trained(tmp_path, monkeypatch, True)
    assert epochs == {"vector-tried": 2, "vector-0": 2, "vector-1": 4, "vector-whole": 3}
    rungs = json.loads((run.folder / "work" / "encoders" / "vector.json").read_text())["rungs"]
    assert next(rung for rung in rungs if not rung["fitted"])["cpu_seconds"] > 0
    logged = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    order = [line["job"] for line in logged if line["what"] == "done" and line["job"].startswith("vector ")]
    assert order[:5] == ["vector features", "vector part 1, tried", "vector part 1", "vector part 2", "vector whole"]


def test_without_parts_the_whole_one_is_tried_and_goes_on(tmp_path, monkeypatch):
    epochs, _ = trained(tmp_path, monkeypatch, True, crossfit=0)
    assert epochs == {"vector-tried": 2, "vector-whole": 2}


def test_what_is_not_worth_it_was_tried_and_nothing_more(tmp_path, monkeypatch):
    epochs, run = trained(tmp_path, monkeypatch, False)
    assert epochs == {"vector-tried": 2}
    assert run.predict(TABLE)["label"]
    told = json.loads((run.folder / "evaluation.json").read_text())["encodings"]["vector"]
    assert told[-1]["why"].startswith("added nothing on one part")


def test_an_encoder_alone_is_trained_by_parts_and_the_whole_one_goes_on(tmp_path, monkeypatch):
    epochs, run = trained(tmp_path, monkeypatch, True, encoders={"vector": "vector_mlp"})
    assert epochs == {"vector-0": 4, "vector-1": 4, "vector-whole": 3}
    assert load_trained(run.folder / "work" / "encoders" / "vector-whole")


@pytest.mark.parametrize(("gain", "worth"), [(0.5 * WORTH, False), (2 * WORTH, True)])
def test_surely_better_by_next_to_nothing_is_not_worth_training(gain, worth):
    others = np.full(200, 0.8) + 1e-9 * DRAW.normal(size=200)
    assert ahead(others * (1 - gain), others, 0.5)
    assert ahead(others * (1 - gain), others, 0.5, WORTH) == worth
    assert ahead(others[:1], others[:1], 0.5, WORTH)  # nothing can be compared
