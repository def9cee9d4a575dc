"""The page of explanations: every kind of cell is drawn, broken ones say why, and what mattered is what is marked."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from small_table import ABSENT, BROKEN, EMPTY, THINGS

import polymodal as pm
from polymodal.core.errors import BadData
from polymodal.inference.explaining import explanation_text
from polymodal.inference.explanation import explained_cards, stretches, write_explanation


@pytest.fixture(scope="module")
def finished(shop):
    return pm.load(shop.run)


def cards_of(run, table, *ids):
    rows = run.read(table)
    found = explained_cards(run.predictor, rows.select([rows.ids.index(i) for i in ids]))
    return [{card["stream"]: card for card in cards} for cards in found]


def test_a_card_for_every_stream_with_what_can_be_drawn(finished, shop):
    [cards] = cards_of(finished, shop.table, "r3")
    assert set(cards) == {"photo", "title", "table"}
    assert "bright where" in cards["photo"]["note"]
    assert cards["photo"]["note"].startswith("12 × 12 pixels")
    assert '<mark class="' in cards["title"]["drawing"]
    assert cards["table"]["drawing"].startswith("<svg")
    assert set(cards["table"]["values"]) == {"price", "weight"}


def test_the_marked_text_is_the_text(finished, shop):
    rows = finished.read(shop.table)
    titles = rows.column("title")
    for cards, title in zip(cards_of(finished, shop.table, *rows.ids[:30]), titles):
        if title is not None:
            assert re.sub(r"<[^>]*>", "", cards["title"]["drawing"]) == title


def test_the_word_that_tells_the_thing_is_marked_strongest(shop, tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    options = {"seeds": 1, "crossfit": 0, "dim": 32, "workers": 0, "trackers": "none", "fusion": ["gated"]}
    table = pm.read_table(shop.table)
    data = {"title": table.column("title"), "thing": [c.split()[1] for c in table.column("category")]}
    run = pm.fit(data, "thing", out=tmp_path / "run", quiet=True, **options)
    known = [i for i, title in enumerate(data["title"]) if title is not None][:60]
    words = [word for synonyms in THINGS.values() for word in synonyms]
    hits = 0
    for cards in explained_cards(run.predictor, run.read(data).select(known)):
        marked = re.findall(r'--w:([0-9.]+)">([^<]*)<', str(cards[0]["drawing"]))
        hits += max(marked, key=lambda mark: float(mark[0]))[1].strip() in words
    assert hits > 0.8 * len(known)


def test_missing_and_broken_cells_say_why(finished, shop):
    broken, absent, empty = cards_of(finished, shop.table, f"r{BROKEN}", f"r{ABSENT}", f"r{EMPTY}")
    assert "the file '5.png' is no picture of a known form; it looks like plain text" in broken["photo"]["note"]
    assert "does not exist" in absent["photo"]["note"]
    assert empty["photo"]["note"] == "not given"
    assert all(cards["photo"]["kind"] == "missing" for cards in (broken, absent, empty))


def test_without_gradient_parts_are_hidden(finished, shop, monkeypatch):
    monkeypatch.setattr("polymodal.inference.looks.token_weights", lambda streams, score: {})
    rows = finished.read(shop.table)
    [cards] = cards_of(finished, shop.table, "r3")
    assert re.sub(r"<[^>]*>", "", cards["title"]["drawing"]) == rows.column("title")[3]
    assert '<mark class="' in cards["title"]["drawing"]
    assert "bright where" in cards["photo"]["note"]
    assert "drawing" in cards["table"]


def test_where_nothing_matters_nothing_is_drawn(finished, shop, monkeypatch):
    def nothing(streams, score):
        return {name: torch.zeros_like(tokens.mask, dtype=torch.float32) for name, tokens in streams.items()}

    monkeypatch.setattr("polymodal.inference.looks.token_weights", nothing)
    [cards] = cards_of(finished, shop.table, "r3")
    for name in ("photo", "title"):
        assert "no part of it matters to the answer" in cards[name]["note"]
        assert "drawing" not in cards[name]
    assert "bright" not in cards["photo"]["note"]


def test_features_by_formula_show_where_they_looked(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    rng, rows = np.random.default_rng(0), []
    for i in range(120):
        picture = rng.integers(90, 110, (28, 28, 3)).astype(np.uint8)
        kind = ("red", "green", "blue")[i % 3]
        picture[2:8, 20:26] = np.roll((230, 20, 20), i % 3)
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        rows.append({"view": str(tmp_path / f"{i}.png"), "kind": kind})
    options = {"seeds": 1, "crossfit": 2, "workers": 0, "trackers": "none", "encodings": "fitted", "joint": False}
    run = pm.fit(rows, "kind", out=tmp_path / "run", quiet=True, **options)
    assert not run.predictor.encoders["view"].traced
    above, right = [], []
    for [card] in explained_cards(run.predictor, run.read(rows[:12])):
        assert "bright where" in card["note"]
        light = np.asarray(Image.open(io.BytesIO(base64.b64decode(card["image"].split(",")[1]))).convert("HSV"))[..., 2]
        tall, wide = (light > light.max() - 40).nonzero()
        above.append(tall.mean() / light.shape[0] < 0.5)
        right.append(wide.mean() / light.shape[1] > 0.5)
    assert np.mean(above) > 0.7
    assert np.mean(right) > 0.7


def test_the_page_is_whole(finished, shop, tmp_path):
    found = finished.explain(shop.table, limit=3)
    html = write_explanation(finished, shop.table, found, tmp_path / "page.html").read_text(encoding="utf-8")
    assert html.count('class="card mistake"') == 3
    assert "http:" not in html
    assert "https:" not in html
    with pytest.raises(BadData, match="no row to explain"):
        write_explanation(finished, shop.table, [], tmp_path / "none.html")


OTHERS = {
    "hum": "audio",
    "ecg": {"kind": "series", "rate": 10, "framing": "resample"},
    "view": {"kind": "image", "framing": "crop"},
}


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Rows of a sound, a two-channel series of changing length and a wide picture, with a number to tell."""
    folder, rng = tmp_path_factory.mktemp("others"), np.random.default_rng(0)
    rows = []
    for i in range(40):
        level, steps = rng.uniform(0.1, 1), int(rng.integers(20, 40))
        soundfile.write(folder / f"{i}.wav", level * np.sin(np.arange(2000) * 0.3), 4000)
        np.save(folder / f"{i}.npy", (level * rng.normal(size=(steps, 2))).astype(np.float32))
        Image.fromarray(rng.integers(0, 255, (16, 24, 3), np.uint8)).save(folder / f"{i}.png")
        names = {kind: str(folder / f"{i}.{end}") for kind, end in (("hum", "wav"), ("ecg", "npy"), ("view", "png"))}
        rows.append({**names, "level": level})
    return rows


@pytest.mark.parametrize("encodings", ["trained", "fitted"])
@pytest.mark.parametrize("name", OTHERS)
def test_sound_series_and_cut_pictures_are_drawn(others, tmp_path, monkeypatch, name, encodings):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    options = {"seeds": 1, "crossfit": 0, "dim": 16, "workers": 0, "trackers": "none", "training": {"epochs": 1}}
    options["encodings"] = encodings
    schema = {"fields": {name: OTHERS[name]}, "target": {"level": "number"}}
    run = pm.fit(others, schema=schema, out=tmp_path / "run", quiet=True, **options)
    for [card] in explained_cards(run.predictor, run.read(others[:2])):
        if name == "view":
            shown = Image.open(io.BytesIO(base64.b64decode(card["image"].split(",")[1])))
            assert shown.size[0] == shown.size[1], "a cut picture is shown as the model saw it"
            assert "bright where" in card["note"]
        else:
            assert "Waveform" in card["drawing"]
            assert card["drawing"].count("fill: var(--for)") + card["drawing"].count("fill: var(--against)") > 1
        assert ("channel 1 of 2" in card["note"]) == (name == "ecg")


def test_stretches_meet_half_way_and_stay_inside():
    assert stretches(np.array([1.0, 3.0, 5.0]), 6.0).tolist() == [[0, 2], [2, 4], [4, 6]]
    assert stretches(np.array([1.0, 3.0]), 3.5).tolist() == [[0, 2], [2, 3.5]]
    assert stretches(np.array([0.7]), 2.0).tolist() == [[0, 2]]


def test_words_of_an_explanation_fit_the_target():
    row = {"id": "a", "target": "y", "worth": {"title": -2.0, "photo": -0.0001}, "missing": ["photo"]}
    label = explanation_text([{**row, "answer": "shoe", "probability": 0.9, "unit": "log-probability"}])
    assert label.splitlines()[:3] == ["a: y = shoe (0.90)", "  title: -2.000", "  photo: +0.000 (missing)"]
    assert label.endswith("above 0, the stream speaks for the answer.")
    number = explanation_text([{**row, "answer": 15.69511837, "probability": None, "unit": "cost"}])
    assert number.startswith("a: y = 15.6951\n")
    assert number.endswith("Worth is in cost: above 0, the stream raises the number.")
    assert explanation_text([]) == "No row to explain."
