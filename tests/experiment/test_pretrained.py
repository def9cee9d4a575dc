"""Pretrained towers as rungs of a stream: what the plan says, what is tried, kept, deployed and told."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tiny_towers
import torch
from small_table import ABSENT, BROKEN, QUICK, write_shop

import polymodal as pm
from polymodal.core.errors import BadArgument
from polymodal.core.files import read_json
from polymodal.encoders.pretrained import PretrainedTower
from polymodal.experiment import ladder
from polymodal.experiment.estimate import estimate
from polymodal.inference.explanation import explained_cards
from polymodal.process.several import Several
from polymodal.train import encode

pytest.importorskip("transformers")

OPTIONS = {**QUICK, "encodings": "fitted", "fusion": ["concat"], "ensemble": False, "joint": False}


@pytest.fixture(autouse=True)
def _nothing_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("POLYMODAL_MODELS", raising=False)
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("given") / "models"
    tiny_towers.save_bert(root / "bert")
    tiny_towers.save_vit(root / "vit")
    return root


@pytest.fixture
def table(tmp_path):
    return write_shop(tmp_path, 120)


def told(plan) -> str:
    return "\n".join(plan.towers.lines())


def done(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["what"] == "done"]


def test_the_plan_says_which_checkpoint_or_why_none(table, models, monkeypatch):
    plan = pm.plan(table, "category", models=models)
    assert "title: text, encoded by text_linear or pretrained_text(model=bert)" in plan.text()
    assert "Pretrained: title: bert (in models, licence not told, 0 MB), frozen." in plan.text()
    assert "Pretrained: photo: vit (in models" in plan.text()
    assert plan.to_json()["towers"] == plan.towers.lines()
    assert "table: no pretrained model; " in told(plan)
    monkeypatch.setenv("POLYMODAL_MODELS", str(models))
    aware = pm.plan(table, "category", target_aware=True)
    assert "frozen, and tuned to the target" in told(aware)
    assert "pretrained_text(model=bert, tune=lora_last)" in aware.text()
    assert pm.plan(table, "category").config.to_dict()["models"] is None
    assert "tabicl" not in [s.name for s in pm.plan(table, "category", fusion="all").strategies], "it wants a model"


def test_nothing_at_hand_is_a_state(table):
    plan = pm.plan(table, "category")
    assert "title: no pretrained model; none in the local cache; the hub is not asked" in told(plan)
    assert not plan.towers.readings
    assert "pretrained" not in json.dumps(plan.to_json()["fitted"])


def test_who_insists_is_told_what_to_do(table, models):
    with pytest.raises(BadArgument, match=r"no checkpoint is at hand .*offline .*--models .* leave `pretrained` out"):
        pm.plan(table, "category", pretrained=True)
    assert pm.plan(table, "category", pretrained=True, models=models).towers.frozen
    with pytest.raises(BadArgument, match="pretrained is true, false or auto; got 'yes'"):
        pm.plan(table, "category", pretrained="yes")


def test_who_wants_none_or_names_an_encoder_gets_none(table, models):
    assert told(pm.plan(table, "category", models=models, pretrained=False)).startswith("No pretrained model is used")
    for preset in ("fast", "edge"):
        plan = pm.plan(table, "category", models=models, preset=preset)
        assert not plan.towers.frozen
        assert "`pretrained` is false, as the presets fast and edge have it: encoding costs more" in plan.text()
    named = pm.plan(table, "category", models=models, encoders={"title": "text_bilstm"})
    assert set(named.towers.frozen) == {"photo"}
    assert not pm.plan(table, "category", models=models, encodings="trained").towers.frozen


def test_a_column_of_other_letters_gets_no_english_model(tmp_path, models):
    shutil.copytree(models / "bert", tmp_path / "own" / "all-MiniLM-L6-v2")
    rows = [{"title": f"красный ботинок номер {i} из кожи", "y": i % 2} for i in range(60)]
    plan = pm.plan(rows, "y", models=tmp_path / "own", schema={"fields": {"title": "text"}, "target": {"y": "classes"}})
    assert "100 % of its letters are beyond English, and sentence-transformers/all-MiniLM-L6-v2 is for" in told(plan)
    rows = [{"title": f"red shoe number {i} of leather", "y": i % 2} for i in range(1200)] + rows * 2
    plan = pm.plan(rows, "y", models=tmp_path / "own", schema={"fields": {"title": "text"}, "target": {"y": "classes"}})
    assert "its letters are beyond English" in told(plan), "a file in order begins with one language"


def test_towers_are_tried_and_told(table, models, tmp_path):
    run = pm.fit(table, "category", out=tmp_path / "run", models=models, target_aware=True, quiet=True, **OPTIONS)
    evaluation = read_json(tmp_path / "run" / "evaluation.json")
    assert evaluation["checkpoints"][0].startswith("photo: vit (in models")
    again = pm.plan(table, "category", config=tmp_path / "run" / "config.yaml")
    assert told(again) == "\n".join(evaluation["checkpoints"])
    names = [[rung["encoder"] for rung in rungs] for rungs in evaluation["encodings"].values()]
    frozen, tuned = "pretrained_text(model=bert)", "pretrained_text(model=bert, tune=lora_last)"
    assert [n for n in names[1] if "pretrained" in n] == [frozen, tuned]
    assert all(rung["cpu_seconds"] > 0 for rung in evaluation["encodings"]["title"])
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "photo: vit (in models, licence not told" in report
    aside = [json.loads(line) for line in (tmp_path / "run" / "set_aside.jsonl").read_text().splitlines()]
    assert sorted(one["row"] for one in aside if one["column"] == "photo") == [f"r{BROKEN}", f"r{ABSENT}"]
    assert run.predict(table)["category"]


def test_series_have_a_tower_of_their_own(tmp_path, monkeypatch):
    tiny_towers.save_bolt(tmp_path / "models" / "chronos-bolt-tiny")
    drawn, rows = np.random.default_rng(0), []
    for i in range(120):
        wave = np.sin(np.arange(20 + i % 30) * (0.4, 1.1)[i % 2] + drawn.uniform(0, 6)) + 0.2 * drawn.normal(size=1)
        wave[i % 20] = np.nan
        rows.append({"sensor": np.stack([wave, drawn.normal(size=len(wave))], 1), "size": float(i), "y": "ab"[i % 2]})
    about = {"fields": {"sensor": "series", "size": "table"}, "target": {"y": "classes"}}
    options = {**OPTIONS, "models": tmp_path / "models", "target_aware": True, "schema": about}
    plan = pm.plan(rows, "y", **options)
    assert "sensor: amazon/chronos-bolt-tiny (in models, Apache-2.0, 0 MB), frozen, and tuned to" in told(plan)
    assert {"sensor", "sensor tower"} <= set(estimate(plan).parts)
    monkeypatch.setattr(ladder, "chosen", both)
    run = pm.fit(rows, "y", out=tmp_path / "run", quiet=True, **options, deploy="concat")
    evaluation = read_json(tmp_path / "run" / "evaluation.json")
    assert evaluation["checkpoints"] == plan.towers.lines()
    tried = {rung["encoder"]: rung for rung in evaluation["encodings"]["sensor"]}
    assert {"pretrained_series(model=chronos-bolt-tiny)", "series_rocket"} <= set(tried)
    assert "pretrained_series(model=chronos-bolt-tiny, tune=lora_last)" in tried
    assert "chronos-bolt-tiny (in models, Apache-2.0" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    answers = run.predict(rows)["y"]
    assert pm.load(tmp_path / "run").predict(rows)["y"] == answers
    stored = [line for line in done(tmp_path / "run") if line["job"] == "sensor tower features"]
    assert stored[0]["encoded"] > 0
    pm.fit(rows, "y", out=tmp_path / "again", quiet=True, **{**options, "target_aware": False})
    stored = [line for line in done(tmp_path / "again") if line["job"] == "sensor tower features"]
    assert [line["encoded"] for line in stored] == [0], "the store has every cell already"


def test_an_estimate_counts_the_tower(table, models):
    plan = pm.plan(table, "category", models=models, **OPTIONS)
    found = estimate(plan).parts
    assert {"title", "title tower", "photo", "photo tower", "table"} <= set(found)
    low, high = found["title tower"]
    cells = len(set(pm.read_table(table).column("title")))
    assert 0.0002 * cells < low <= high, "every cell goes through the tower"


def both(rungs, targets, truth):
    """What is fitted to formulas and to the tower, side by side."""
    fitted = [rung for rung in rungs if rung.fitted]
    for rung in rungs:
        rung.loss = 1.0
    return ([fitted[0], fitted[-1]], [0.5, 0.5]) if len(fitted) > 1 else ([fitted[0]], [1.0])


def test_side_by_side_with_formulas_in_a_bundle_and_the_store(table, models, tmp_path, monkeypatch):
    encoded = []
    inner = PretrainedTower.encode

    def counted(self, inputs):
        encoded.append(len(next(iter(inputs.values()))))
        return inner(self, inputs)

    monkeypatch.setattr(ladder, "chosen", both)
    monkeypatch.setattr(encode, "_timed", lambda *given: 1.0)
    monkeypatch.setattr(PretrainedTower, "encode", counted)
    options = {**OPTIONS, "models": models, "deploy": "concat", "finetune": True, "finetune_training": {"epochs": 1}}
    run = pm.fit(table, "category", out=tmp_path / "run", quiet=True, **options)
    first = sum(encoded)
    assert isinstance(run.predictor.processors["title"], Several)
    assert run.predictor.processors["title"].kind == "text"
    answers = run.predict(table)["category"]
    again = pm.load(tmp_path / "run").predict(table)["category"]
    assert answers == again
    assert len(answers) == 120, "a row without a picture is answered too"
    [cards] = explained_cards(run.predictor, run.read(table).select([3]))
    drawn = {card["stream"]: card for card in cards}
    assert "bright where" in drawn["photo"]["note"]
    assert "<mark" in drawn["title"]["drawing"]
    names = ("title tower features", "photo tower features")
    stored = [line for line in done(tmp_path / "run") if line["job"] in names]
    assert len(stored) == 2
    encoded.clear()
    pm.fit(table, "category", out=tmp_path / "again", quiet=True, **{**options, "finetune": False})
    assert first > 200
    assert not encoded, "the store has every cell already"


def test_a_tower_that_cannot_be_opened_costs_its_rung(table, models, tmp_path):
    shutil.copytree(models / "bert", tmp_path / "own" / "bert")
    shutil.copytree(models / "vit", tmp_path / "own" / "vit")
    (tmp_path / "own" / "bert" / "tokenizer.json").write_text("{}")
    (tmp_path / "own" / "bert" / "tokenizer_config.json").unlink()
    config = tmp_path / "own" / "vit" / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 9'))
    pm.fit(table, "category", out=tmp_path / "run", models=tmp_path / "own", quiet=True, **OPTIONS)
    evaluation = read_json(tmp_path / "run" / "evaluation.json")
    said = " ".join(evaluation["verdict"]["sentences"])
    assert "title: the pretrained tower is left out." in said
    assert "photo tower features failed and is left out: The files of" in said
    assert "% of the weights of ViTModel" in said
    assert [rung["encoder"] for rung in evaluation["encodings"]["title"]] == ["text_linear"]
    assert any(line.startswith("title: no pretrained model;") for line in evaluation["checkpoints"])


def test_a_table_is_answered_in_context_where_that_is_at_hand(table, tmp_path, monkeypatch):
    pytest.importorskip("tabicl")
    import tiny_context

    tiny_context.save_tabicl(tmp_path / "models" / "TabICL", regressor=False)
    options = {**OPTIONS, "models": tmp_path / "models"}
    plan = pm.plan(table, "category", **options)
    assert "table: jingang/TabICL (in models, BSD-3-Clause, 0 MB), a learner that reads training rows" in told(plan)
    assert "table: no pretrained model; no checkpoint tabicl" in told(pm.plan(table, "price", **options))
    assert estimate(plan).parts["table"][0] > estimate(pm.plan(table, "category", **OPTIONS)).parts["table"][0]
    monkeypatch.setattr(ladder, "chosen", both)
    run = pm.fit(table, "category", out=tmp_path / "run", quiet=True, **options, deploy="concat")
    rungs = {rung["encoder"]: rung for rung in read_json(tmp_path / "run" / "evaluation.json")["encodings"]["table"]}
    assert set(rungs) == {"table_plain", "table_plain by tabicl"}
    assert [one["learner"].split("(")[0] for one in rungs["table_plain by tabicl"]["ladder"]["category"]] == ["tabicl"]
    answers = run.predict(table)["category"]
    assert pm.load(tmp_path / "run").predict(table)["category"] == answers
    file = next((tmp_path / "models" / "TabICL").glob("*.ckpt"))
    torch.save({"config": {}}, file)
    pm.fit(table, "category", out=tmp_path / "cut", quiet=True, **options)
    evaluation = read_json(tmp_path / "cut" / "evaluation.json")
    assert "table features failed and is left out" in " ".join(evaluation["verdict"]["sentences"])
    assert [rung["encoder"] for rung in evaluation["encodings"]["table"]] == ["table_plain"]
