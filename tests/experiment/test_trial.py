"""What an encoder that is trained costs: it is tried for less, goes on from there, or is trained no further."""

from __future__ import annotations

import json

import numpy as np
import pytest

import polymodal as pm
from polymodal.core.files import read_json
from polymodal.experiment import encoder_job, ladder, session
from polymodal.experiment.ladder import WORTH
from polymodal.experiment.learned import ahead, paired
from polymodal.experiment.work import load_trained

DRAW = np.random.default_rng(1)
VECTORS = ("vector", "other")
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
    monkeypatch.setattr(ladder, "ahead", lambda *given: worth)
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


def test_encodings_by_formula_are_fine_tuned_with_the_answer(tmp_path):
    options = {**QUICK, "encodings": "fitted", "finetune": True, "finetune_training": {"epochs": 1}}
    run = pm.fit(TABLE, "label", out=tmp_path / "run", store=str(tmp_path / "store"), **options)
    assert "concat fine-tuned" in {row["strategy"] for row in run.leaderboard}


def test_what_failed_when_it_was_tried_is_not_tried_again(tmp_path, monkeypatch):
    def broken(*given):
        raise RuntimeError("no training here")

    monkeypatch.setattr(encoder_job, "fit_encoder", broken)
    epochs, run = trained(tmp_path, monkeypatch, True)
    assert not epochs
    logged = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    assert [line["job"] for line in logged if line["what"] == "failed"] == [f"{s} part 1, tried" for s in VECTORS]


@pytest.mark.parametrize("limit", [1e-6, 1e6])
def test_a_time_limit_bounds_encoders_and_says_what_ran_out(tmp_path, monkeypatch, limit):
    epochs, run = trained(tmp_path, monkeypatch, True, time_limit=limit, encoders={"other": "vector_mlp"})
    other = [read_json(path) for path in (run.folder / "work" / "encoders").glob("other-*.json")]
    said = " ".join(read_json(run.folder / "evaluation.json")["verdict"]["sentences"])
    [rungs] = [one for name, one in read_json(run.folder / "evaluation.json")["encodings"].items() if name == "vector"]
    if limit > 1:
        assert epochs == {"vector-tried": 2, "vector-0": 2, "vector-1": 4, "vector-whole": 3}
        assert sorted(len(one["epoch"]) for one in other) == [3, 4, 4]
        assert "time limit" not in said
        return
    assert epochs == {"vector-tried": 1}
    assert [len(one["epoch"]) for one in other] == [1, 1, 1], "nothing else encodes this stream"
    assert "other part 2: The time limit ended it after 1 of 4 epochs." in said
    assert "The time limit left encoders of vector trained on one part only." in said
    assert rungs[-1]["why"] == "its training did not finish"
    assert run.predict(TABLE)["label"]


def test_time_that_is_left_is_shared_by_the_workers(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(session.Session, "_left", lambda self: 60.0)
    inner = encoder_job.fit_encoder

    def noted(*arguments):
        given.append(arguments[-1])
        return inner(*arguments)

    monkeypatch.setattr(encoder_job, "fit_encoder", noted)
    trained(tmp_path, monkeypatch, False, time_limit=60)
    assert given == [15, 15], "half of it, for two encoders one after the other"


def test_an_encoder_alone_is_trained_by_parts_and_the_whole_one_goes_on(tmp_path, monkeypatch):
    epochs, run = trained(tmp_path, monkeypatch, True, encoders={"vector": "vector_mlp"})
    assert epochs == {"vector-0": 4, "vector-1": 4, "vector-whole": 3}
    assert load_trained(run.folder / "work" / "encoders" / "vector-whole")


@pytest.mark.parametrize(("gain", "worth"), [(0.5 * WORTH, False), (2 * WORTH, True)])
def test_surely_better_by_next_to_nothing_is_not_worth_training(gain, worth):
    others = np.full(200, 0.8) + 1e-9 * DRAW.normal(size=200)
    assert ahead(others * (1 - gain), others, 0.5)
    assert ahead(others * (1 - gain), others, 0.5, WORTH) == worth


@pytest.mark.parametrize("kind", ["number", "multilabel", "classes"])
def test_a_stream_that_no_row_tells_of_keeps_the_plainest_encoding(tmp_path, kind):
    """Without parts, validation rows compare encodings; none has the vector here."""
    vector = [row if i < 80 or i >= 100 else None for i, row in enumerate(TABLE["vector"])]
    labels = [["a", "b"] if one else ["a"] for one in LABEL]
    cells = {"number": [row[0] for row in TABLE["other"]], "multilabel": labels, "classes": TABLE["label"]}
    data = {**TABLE, "vector": vector, "label": cells[kind], "split": ["train"] * 80 + ["valid"] * 20 + ["test"] * 20}
    schema = {"fields": {"vector": "vector", "other": "vector"}, "target": {"label": kind}}
    options = {**QUICK, "crossfit": 0, "store": str(tmp_path / "store")}
    run = pm.fit(data, schema=schema, out=tmp_path / "run", **options)
    rungs = json.loads((run.folder / "work" / "encoders" / "vector.json").read_text())["rungs"]
    assert [rung["encoder"] for rung in rungs if rung["kept"]] == ["vector_plain"]


def test_a_single_row_tells_neither_who_is_ahead_nor_by_how_much():
    few = np.array([0.2, np.nan])
    assert paired(few, few + 1) == (0.0, np.inf)
    assert not ahead(few, few + 1, 0.5)
    assert not ahead(few + 1, few, 0.5)
    gain, error = paired(np.array([1.0, 2.0, np.nan]), np.array([2.0, 5.0, 1.0]))
    assert gain == 2
    assert error == pytest.approx(1)  # deviations of 1 from it, over two rows
