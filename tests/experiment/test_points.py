"""Clouds through every verb, with a camera's picture beside them: a generated scene, one file broken."""

import json

import numpy as np
import pytest
from PIL import Image

import polymodal as pm
from polymodal.inference.explanation import write_explanation
from polymodal.report.cards import cell_card, cloud_views, on_picture

QUICK = {"trackers": "none", "workers": 0, "quiet": True, "dim": 8, "seeds": 1, "joint": False, "fusion": ["concat"],
         "encoders": {"lidar": "points_plain"}}  # fmt: skip
ROWS = 60
PROJECTION = [[100.0, 0, 80, 0], [0, 100, 60, 0], [0, 0, 1, 0]]  # of places: right, down, ahead


def scene(draw, near):
    """A board before a wall, as a scanner sees it (right, down, ahead, reflectance), and the picture of both."""
    right, down = draw.uniform(-4, 4, 300), draw.uniform(-3, 3, 300)
    far = draw.uniform(3, 5) if near else draw.uniform(8, 11)
    board = (np.abs(right) < 1) & (np.abs(down) < 1)
    depth = np.where(board, far, 15) + draw.normal(0, 0.02, 300)
    points = np.stack([right, down, depth, board + draw.normal(0, 0.1, 300)], 1).astype(np.float32)
    picture = np.full((120, 160, 3), (40, 60, 120), np.uint8)
    half = int(100 / far)
    picture[60 - half : 60 + half, 80 - half : 80 + half] = (230, 200, 30)
    return points, picture


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    draw = np.random.default_rng(0)
    lines = ["lidar,photo,calibration,age,place"]
    for row in range(ROWS):
        points, picture = scene(draw, row % 2)
        (folder / f"{row}.bin").write_bytes(points.astype("<f4").tobytes())
        Image.fromarray(picture).save(folder / f"{row}.png")
        told = json.dumps(PROJECTION).replace('"', "")
        lines.append(f'{row}.bin,{row}.png,"{told}",{draw.normal():.3f},{("far", "near")[row % 2]}')
    (folder / "broken.bin").write_bytes((folder / "1.bin").read_bytes()[:-5])
    (folder / "table.csv").write_text("\n".join([*lines, f'broken.bin,1.png,"{PROJECTION}",0.1,far']) + "\n")
    return folder


SCHEMA = {"fields": {
    "lidar": {"kind": "points", "projection": "calibration", "camera": "photo", "up": "-y"},
    "record": {"kind": "table", "columns": ["age"]},
}}  # fmt: skip


def test_a_table_of_clouds(data, tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    pm.fit(data / "table.csv", target="place", schema=SCHEMA, out=tmp_path / "run", **QUICK)
    aside = [json.loads(line) for line in (tmp_path / "run" / "set_aside.jsonl").read_text().splitlines()]
    assert len(aside) == 1
    assert "broken.bin" in aside[0]["reason"]
    assert "no rows of 4 numbers" in aside[0]["reason"]
    report = (tmp_path / "run" / "report.html").read_text()
    assert "lie in the picture, near ones bright" in report

    again = pm.load(tmp_path / "run")
    answers = again.predict(data / "table.csv")["place"]
    assert np.mean([said == truth for said, truth in zip(answers, ["far", "near"] * (ROWS // 2))]) > 0.9
    found = again.explain(data / "table.csv", limit=3)
    page = tmp_path / "why.html"
    write_explanation(again, data / "table.csv", found, page)
    text = page.read_text()
    assert text.count("bright where the answer came from") >= 3

    points, picture = scene(np.random.default_rng(9), True)
    row = {"lidar": [points], "photo": [picture], "calibration": [PROJECTION], "age": [0.0]}
    assert again.predict(row)["place"] == ["near"]
    mixed = points[np.random.default_rng(1).permutation(len(points))]
    assert np.array_equal(again.predict_proba({**row, "lidar": [mixed]}), again.predict_proba(row))


def test_inspect_and_prepare(data, tmp_path):
    found = pm.inspect(data / "table.csv", "place", schema=SCHEMA)
    assert any("broken.bin" in line for line in found.text().splitlines())
    recipe = {"steps": ["readable", "exact_duplicates"]}
    done = pm.prepare(data / "table.csv", recipe, out=tmp_path / "clean", schema={"kinds": {"lidar": "points"}})
    assert (done.kept, done.set_aside) == (ROWS, 1)
    assert "no rows of 4 numbers" in done.report["reasons"][0]["reason"]


def test_points_are_drawn_where_they_lie():
    picture = np.full((60, 80, 3), 100, np.uint8)
    drawn = on_picture(picture, np.array([[10.0, 20], [np.nan, np.nan], [70, 50]]), np.array([1.0, 2.0, 3.0]))
    off = np.abs(drawn.astype(int) - 60).max(2) > 0
    assert off.sum() == 8  # two squares of 2 x 2
    assert off[20:22, 10:12].all()
    assert off[50:52, 70:72].all()
    assert drawn[50, 70].sum() > drawn[20, 10].sum()  # the largest is brightest
    places = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    shown = {"kind": "points", "array": places, "made": "50 points", "picture": picture}
    card = cell_card("lidar", {**shown, "pixels": np.full((50, 2), np.nan)})
    assert "0 of the 50 shown lie in the picture" in card["note"]
    assert card["picture"].startswith("data:image/")
    assert cloud_views(places[:1]).startswith("data:image/")  # no extent at all
