"""Films through every verb: a table of films with sound, of which one is broken."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from films import film

import polymodal as pm
from polymodal.data.examples import video
from polymodal.data.tables.table import Table
from polymodal.inference.explanation import write_explanation
from polymodal.inference.run import Run

pytest.importorskip("av")

QUICK = {"trackers": "none", "workers": 0, "quiet": True, "dim": 8, "seeds": 1, "joint": False, "fusion": ["concat"],
         "encoders": {"video": "video_plain"}}  # fmt: skip
ROWS = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Which way a square moves is the answer; the last film is a web page."""
    folder = tmp_path_factory.mktemp("films")
    draw = np.random.default_rng(0)
    lines = ["clip,price,way"]
    for row in range(ROWS):
        (folder / f"{row}.apng").write_bytes(video(draw, row))
        lines.append(f"{row}.apng,{draw.normal():.3f},{('right', 'down')[row % 2]}")
    (folder / "broken.mp4").write_bytes(b"<html>not found</html>")
    (folder / "table.csv").write_text("\n".join([*lines, "broken.mp4,0.1,down"]) + "\n")
    return folder


def test_a_table_of_films(data, tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    schema = {"fields": {"clip": "video", "price": {"kind": "table"}}}
    pm.fit(data / "table.csv", target="way", out=tmp_path / "run", schema=schema, **QUICK)
    aside = [json.loads(line) for line in (tmp_path / "run" / "set_aside.jsonl").read_text().splitlines()]
    assert ["broken.mp4" in one["reason"] and "web page" in one["reason"] for one in aside] == [True]
    told = pm.inspect(data / "table.csv", "way", schema=schema).broken
    assert [one.reason for one in told] == [one["reason"] for one in aside]
    assert "video_" in (tmp_path / "run" / "evaluation.json").read_text()

    again = pm.load(tmp_path / "run")
    answers = again.predict(data / "table.csv")
    right = np.mean([said == truth for said, truth in zip(answers["way"], ["right", "down"] * (ROWS // 2))])
    assert right > 0.9
    page = tmp_path / "why.html"
    write_explanation(again, data / "table.csv", again.explain(data / "table.csv", limit=3), page)
    assert page.read_text().count("data:image/") >= 3


def test_films_with_sound_give_two_streams(tmp_path):
    for row in range(3):
        (tmp_path / f"{row}.mp4").write_bytes(film(12, sound=True))
    soundfile.write(tmp_path / "no.wav", np.zeros(100), 8000)
    rows = [f"{row % 3}.mp4,{'ab'[row % 2]}" for row in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["clip,label", *rows]) + "\n")
    plan = pm.plan(tmp_path / "t.csv", target="label")
    assert {name: one.kind for name, one in plan.schema.fields.items()} == {"clip": "video", "clip_audio": "audio"}
    deployed = SimpleNamespace(predictor=SimpleNamespace(schema=plan.schema, encoders=plan.schema.fields))
    assert Run._absent(deployed, Table.build({"label": ["a"]})) == ["clip"], "a column of two streams is named once"
