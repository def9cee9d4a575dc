"""A frozen stream is one job: cross-fitting has nothing to train in it."""

from __future__ import annotations

import json

import pytest
import tiny_towers
from small_table import QUICK, write_shop

import polymodal as pm
from polymodal.core.files import read_json
from polymodal.experiment.work import load_trained

pytest.importorskip("transformers")


@pytest.mark.parametrize(("tune", "parts"), [("frozen", 0), ("last", 2)])
def test_parts_of_a_tower_are_trained_where_it_learns(tmp_path, monkeypatch, tune, parts):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    table = write_shop(tmp_path, 120)
    encoder = {"name": "pretrained_text", "model": tiny_towers.save_bert(tmp_path / "bert"), "tune": tune}
    options = {
        **QUICK,
        "fusion": "concat",
        "encoder_training": {"epochs": 1},
        "encoders": {"title": encoder},
        "deploy": "concat",
    }
    run = pm.fit(table, "category", out=tmp_path / "run", quiet=True, **options)
    done = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    done = [line for line in done if line["what"] == "done" and line.get("stream") == "title"]
    assert [line["fold"] for line in done] == [None, *range(parts)]
    assert [line["trained"] for line in done] == [tune != "frozen"] * (1 + parts)
    titles = {cell for cell in pm.read_table(table).column("title") if cell is not None}
    assert done[0]["encoded"] == len(titles)
    features = read_json(tmp_path / "run" / "work" / "features" / "title+0.json")
    assert len(features["groups"]) == 1 + parts
    assert run.predict(table)["category"]
    assert load_trained(tmp_path / "run" / "work" / "encoders" / "title-whole")
    noted = (tmp_path / "run" / "evaluation.json").read_text()
    assert "No noise curve of title" in noted
