"""Towers of `align` from a folder of models."""

from __future__ import annotations

import pytest
import tiny_towers
from small_table import write_shop

from polymodal.alignment.plan import plan_align

pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def _nothing_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("POLYMODAL_MODELS", raising=False)


def test_streams_get_their_towers_from_the_folder(tmp_path):
    table = write_shop(tmp_path, 40)
    models = tmp_path / "models"
    tiny_towers.save_bert(models / "bert")
    tiny_towers.save_vit(models / "vit")
    assert plan_align(table, "photo,title").towers == "scratch"
    plan = plan_align(table, "photo,title", models=models)
    assert plan.towers == "frozen"
    assert plan.encoders["title"] == {"name": "pretrained_text", "model": str(models / "bert")}
    assert plan.processors["photo"] == {"name": "pretrained_vision", "model": str(models / "vit")}
    assert any(note.startswith("title: bert (in models") for note in plan.notes)
    tuned = plan_align(table, "photo,title", models=models, towers="finetune")
    assert tuned.encoders["title"]["tune"] == "lora"
    assert plan_align(table, "photo,title", models=models, towers="scratch").encoders["title"] == "text_tfidf"
    named = plan_align(table, "photo,title", models=models, encoders={"title": "text_bilstm"})
    assert (named.encoders["title"], named.towers) == ("text_bilstm", "scratch")


def test_a_stream_without_a_model_says_so(tmp_path):
    table = write_shop(tmp_path, 40)
    tiny_towers.save_vit(tmp_path / "models" / "vit")
    plan = plan_align(table, "photo,title", models=tmp_path / "models")
    assert plan.towers == "scratch"
    assert any(note.startswith("title: no pretrained model; none in models") for note in plan.notes)
