"""Which checkpoint a stream gets: from a folder, the cache, the hub, and why none."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
import tiny_towers
import torch

from polymodal.core.errors import BadArgument
from polymodal.encoders import ENCODERS, checkpoints
from polymodal.encoders.checkpoints import Shelf, defaults, strange_letters
from polymodal.learners import LEARNERS
from polymodal.nn.hub import load_pretrained
from polymodal.process import PROCESSORS

pytest.importorskip("transformers")

MINILM, E5 = "sentence-transformers/all-MiniLM-L6-v2", "intfloat/multilingual-e5-small"


@pytest.fixture(autouse=True)
def _nothing_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("POLYMODAL_MODELS", raising=False)
    ask = checkpoints._hub_silent
    ask.cache_clear()
    yield
    ask.cache_clear()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("saved")
    tiny_towers.save_bert(root / "bert")
    tiny_towers.save_vit(root / "vit")
    tiny_towers.save_clip(root / "clip")
    return root


def test_the_table_names_parts_that_exist_and_says_all_of_them():
    for one in defaults():
        assert one.encoder in ENCODERS or one.encoder in LEARNERS
        assert one.licence
        assert one.source
        assert one.megabytes > 0
        assert (one.dim > 0) is (one.encoder in ENCODERS)
        assert one.languages in ("en", "many", "none")
        assert one.revision is None or len(one.revision) == 40
    firsts = {one.encoder: one.name for one in reversed(defaults())}
    assert firsts["pretrained_text"] == MINILM
    assert firsts["pretrained_series"] == "amazon/chronos-bolt-tiny"
    assert firsts["tabicl"] == "jingang/TabICL"
    assert firsts["pretrained_video"] == firsts["pretrained_vision"]
    assert len(firsts) == 6


@pytest.mark.parametrize("place", ["all-MiniLM-L6-v2", MINILM, f"models--{MINILM.replace('/', '--')}/snapshots/abc"])
def test_a_folder_is_known_by_its_name(saved, tmp_path, place):
    shutil.copytree(saved / "bert", tmp_path / "models" / place)
    found = Shelf(str(tmp_path / "models")).of("pretrained_text").found
    assert (found.name, found.licence, found.languages) == (MINILM, "Apache-2.0", "en")
    assert Path(found.model) == tmp_path / "models" / place
    assert found.place == "in models"
    assert "MB, English" in found.told()


def test_any_other_folder_is_taken_for_what_its_files_say(saved, tmp_path):
    shutil.copytree(saved / "bert", tmp_path / "models" / "mine")
    shutil.copytree(saved / "vit", tmp_path / "models" / "yours")
    (tmp_path / "models" / "mine" / "README.md").write_text("---\nlicense: mit\n---\n")
    shelf = Shelf(str(tmp_path / "models"))
    assert shelf.of("pretrained_text").found.name == "mine"
    assert shelf.of("pretrained_text").found.licence == "mit"
    assert shelf.of("pretrained_vision").found.name == "yours"
    assert "licence not told" in shelf.of("pretrained_vision").found.told()
    assert shelf.of("pretrained_audio").found is None
    alone = Shelf(str(tmp_path / "models" / "mine"))  # the folder of one model itself
    assert alone.of("pretrained_text").found.name == "mine"


def test_a_convolutional_tower_opens_frozen_and_tuned(tmp_path):
    tiny_towers.save_efficientnet(tmp_path / "models" / "lite0")
    found = Shelf(str(tmp_path / "models")).of("pretrained_vision").found
    processor = PROCESSORS.build({"name": "pretrained_vision", "model": found.model})
    pixels = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    for spec, learns in ((found.frozen["of"], False), (found.aware, True)):
        encoder = ENCODERS.build(spec, processor.facts(), 20).train()
        assert encoder({"pixels": pixels}).pooled.shape == (2, encoder.dim) == (2, 128)
        assert any(p.requires_grad for p in encoder.parameters()) is learns


def test_a_dual_encoder_reads_both(saved, tmp_path):
    shelf = Shelf(str(saved / "clip"))
    assert shelf.of("pretrained_text").found.name == shelf.of("pretrained_vision").found.name == "clip"


def test_a_name_of_the_table_is_not_believed_where_the_files_say_otherwise(saved, tmp_path):
    shutil.copytree(saved / "vit", tmp_path / "models" / "all-MiniLM-L6-v2")
    shelf = Shelf(str(tmp_path / "models"))
    assert shelf.of("pretrained_text").found is None
    assert shelf.of("pretrained_vision").found.name == "all-MiniLM-L6-v2"


def test_damaged_folders_are_named(saved, tmp_path):
    root = tmp_path / "models"
    for name in ("cut", "bare", "mute", "odd"):
        shutil.copytree(saved / "bert", root / name)
    weights = root / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (root / "bare" / "config.json").unlink()
    (root / "mute" / "tokenizer.json").unlink()
    (root / "mute" / "tokenizer_config.json").unlink()
    (root / "odd" / "config.json").write_text("{not json")
    why = Shelf(str(root)).of("pretrained_text").why
    assert "cut has damaged weights: copy them again" in why
    assert "bare has weights and no config.json" in why
    assert "mute has neither a tokenizer nor a preprocessor_config.json" in why
    assert "odd has a config.json that names no model_type" in why


def test_the_pinned_revision_in_the_cache_comes_first(saved, tmp_path):
    pinned = defaults()[0].revision
    shots = tmp_path / "cache" / f"models--{MINILM.replace('/', '--')}" / "snapshots"
    shutil.copytree(saved / "bert", shots / "other")
    other = Shelf(None).of("pretrained_text").found
    assert other.model == f"{MINILM}@other"
    assert other.place == "in the local cache, revision other"
    shutil.copytree(saved / "bert", shots / pinned)
    found = Shelf(None).of("pretrained_text").found
    assert (found.model, found.place) == (f"{MINILM}@{pinned}", "in the local cache")


def test_a_revision_is_opened_from_the_cache_without_a_network(saved, tmp_path, monkeypatch):
    from huggingface_hub import constants

    shots = tmp_path / "cache" / f"models--{MINILM.replace('/', '--')}" / "snapshots"
    shutil.copytree(saved / "bert", shots / "abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert load_pretrained("AutoModel", f"{MINILM}@abc").config.hidden_size == 32
    with pytest.raises(BadArgument, match="cannot load"):
        load_pretrained("AutoModel", f"{MINILM}@missing")


def _cut(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _other(folder):
    settings = folder / "config.json"
    settings.write_text(settings.read_text().replace('"hidden_size": 32', '"hidden_size": 64'))


@pytest.mark.parametrize("spoil", [_cut, _pickled, _other])
def test_weights_that_cannot_be_read_are_told_in_words(saved, tmp_path, spoil):
    shutil.copytree(saved / "bert", tmp_path / "bert")
    spoil(tmp_path / "bert")
    with pytest.raises(BadArgument, match=r"AutoModel cannot load .*bert'.* copy them again"):
        load_pretrained("AutoModel", str(tmp_path / "bert"))


def test_what_a_model_needs_is_told_in_words(saved, monkeypatch):
    def missing(*given, **options):
        raise ImportError("It requires the SentencePiece library.")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", missing)
    with pytest.raises(BadArgument, match="requires the SentencePiece library. Install what it asks for"):
        load_pretrained("AutoTokenizer", str(saved / "bert"))


def test_other_letters_ask_for_many_languages(saved, tmp_path):
    assert strange_letters(["a red shoe", None, "42"]) == 0
    assert strange_letters(["красный", "shoe"]) == pytest.approx(7 / 11)
    shutil.copytree(saved / "bert", tmp_path / "models" / MINILM)
    search = Shelf(str(tmp_path / "models")).of("pretrained_text", 0.9)
    assert search.found is None
    assert "90 % of its letters are beyond English" in search.why
    assert MINILM in search.why
    shutil.copytree(saved / "bert", tmp_path / "models" / E5)
    shelf = Shelf(str(tmp_path / "models"))
    assert shelf.of("pretrained_text").found.name == MINILM
    assert shelf.of("pretrained_text", 0.9).found.name == E5
    assert "no English checkpoint" in shelf.of("pretrained_text", 0.9).why


def test_offline_is_a_state_and_costs_nothing(monkeypatch):
    started = time.perf_counter()
    assert "offline (HF_HUB_OFFLINE is set)" in Shelf(None, hub=True).of("pretrained_text").why
    assert "the hub is not asked" in Shelf(None).of("pretrained_text").why
    assert time.perf_counter() - started < 1
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    checkpoints._hub_silent.cache_clear()
    assert "the hub does not answer" in Shelf(None, hub=True).of("pretrained_text").why


def test_a_hub_that_answers_is_named_with_its_revision(monkeypatch):
    monkeypatch.setattr(checkpoints, "_hub_silent", lambda: "")
    found = Shelf(None, hub=True).of("pretrained_text").found
    assert (found.model, found.place) == (f"{MINILM}@{found.revision}", "from the hub")
    assert Shelf(None, hub=True).of("pretrained_text", 0.5).found.name == E5
    assert Shelf(None).of("pretrained_text").found is None


def test_without_transformers_nothing_is_looked_for(monkeypatch, saved):
    monkeypatch.setattr(checkpoints, "find_spec", lambda name: None)
    assert Shelf(str(saved)).of("pretrained_text").why == "transformers is not installed (extra hf)"


def test_no_folder_is_refused():
    with pytest.raises(BadArgument, match="models names 'nowhere', which is no folder"):
        Shelf("nowhere")


def test_a_folder_that_was_moved_is_found_by_the_folder_of_models(saved, tmp_path, monkeypatch):
    monkeypatch.delenv("POLYMODAL_MODELS", raising=False)
    with pytest.raises(BadArgument, match=r"folder '\.\./models/bert' is not there\. .*POLYMODAL_MODELS.*'bert' lies"):
        load_pretrained("AutoModel", "../models/bert")
    with pytest.raises(BadArgument, match="cannot load 'models/bert'.*whose models were moved, let POLYMODAL_MODELS"):
        load_pretrained("AutoModel", "models/bert")  # it could be a hub's name
    monkeypatch.setenv("POLYMODAL_MODELS", str(saved))
    for path in ("../models/bert", "models/bert", "/nowhere/bert"):
        assert load_pretrained("AutoModel", path).config.hidden_size == 32


def test_a_learner_s_checkpoints_are_found_where_they_lie(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "find_spec", lambda name: None if name == "tabicl" else name)
    assert Shelf(None).learner("tabicl", ["classes"]).why == "tabicl is not installed (extra tabicl)"
    monkeypatch.setattr(checkpoints, "find_spec", lambda name: name)
    why = Shelf(None, hub=True).learner("tabicl", ["number", "classes"]).why
    assert why == "no checkpoint tabicl-*.ckpt for classes and number in the local cache"
    places = ("models", "models/TabICL", "models/jingang/TabICL", "models/models--jingang--TabICL/snapshots/abc")
    for place in (*places, "cache/models--jingang--TabICL/snapshots/abc"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        file = folder / "tabicl-classifier-v2-20260212.ckpt"
        file.write_bytes(b"0" * 2_000_000)
        damaged = f"{file.name} is damaged: copy again"
        assert Shelf(str(tmp_path / "models")).learner("tabicl", ["classes"]).why == damaged
        torch.save({"state_dict": torch.zeros(500_000)}, file)
        shelf = Shelf(str(tmp_path / "models"))
        found = shelf.learner("tabicl", ["classes", "multilabel"]).found
        assert found.model == str(folder)
        assert "BSD-3-Clause, 2 MB" in found.told()
        assert ("in the local cache" if place.startswith("cache") else "in models") in found.told()
        assert "for classes and number in models or" in shelf.learner("tabicl", ["number", "classes"]).why
        shutil.rmtree(folder)
    spec = found.on("table_plain")
    assert spec["by"] == [{"name": "tabicl", "model": found.model}]
    assert ENCODERS.resolve(spec)[1]["of"] == "table_plain"
