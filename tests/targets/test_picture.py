"""Pictures as targets: what cells they take, how they are kept, and a fit from words to pictures to files."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

import polymodal as pm
from polymodal.core.errors import BadArgument, BadCell, BadData
from polymodal.data.answers import faults, target_cells
from polymodal.data.tables.source import read_table
from polymodal.data.tables.write import write_columns
from polymodal.heads.drawn import DrawnHead
from polymodal.inference.drawing import drawings
from polymodal.targets.base import Target, asked, fitted

QUICK = {
    "seeds": 1, "dim": 8, "workers": 0, "trackers": "none", "quiet": True, "fusion": ["concat"],
    "heads": {"picture": {"name": "flow", "channels": 4, "steps": 2, "depth": 1}}, "answer_training": {"epochs": 2},
}  # fmt: skip


def shade(value: int, side: int = 6) -> np.ndarray:
    return np.full((side, side), value, np.uint8)


def small(cells, **options) -> Target:
    return fitted("picture", {"name": "picture", "size": 4, **options}, cells)


def test_grey_stays_grey_and_one_coloured_picture_makes_all_of_them_so():
    grey = small([shade(10), np.dstack([shade(20)] * 3), shade(30)[..., None]])
    assert grey.channels == 1
    assert grey.mean == (20,) * 16
    red = np.dstack([shade(200), shade(0), shade(0)])
    both = small([shade(10), red])
    assert both.channels == 3
    pixels = both.fields(both.encode([shade(10), red]))
    assert pixels.shape == (2, 3, 4, 4)
    assert pixels[:, :, 0, 0].tolist() == [[10, 10, 10], [200, 0, 0]]
    assert grey.truth(grey.encode([red])).shape == (1, 4, 4, 1)  # a coloured one, where training had none, in grey
    assert grey.chance().shape == (1, 4, 4, 1)


def test_missing_and_broken_cells_are_rows_without_a_target():
    target = small([shade(10), BadCell("is cut short")])
    cells = [shade(1), None, BadCell("is cut short"), shade(255)]
    encoded = target.encode(cells)
    assert encoded.dtype == np.uint8
    assert encoded.shape == (4, 17)
    assert (
        target.known(encoded).tolist() == target.known(torch.from_numpy(encoded)).tolist() == [True, False, False, True]
    )
    assert target.unseen(cells) == {"is cut short": 1}
    assert target.survey(cells) == ({}, {2: "is cut short"})
    truth = target.truth(encoded)
    assert truth.dtype == np.float32
    assert np.isnan(truth[1:3]).all()
    assert (truth[3] == 255).all()
    assert target.truth(encoded[[0, 3]]).dtype == np.uint8
    with pytest.raises(BadData, match="no training picture can be opened: it is cut short"):
        small([BadCell("is cut short")])


@pytest.mark.parametrize("size", [3, 65])
def test_a_side_that_is_too_small_or_large_is_refused(size):
    with pytest.raises(BadArgument, match=f"size must be between 4 and 64 pixels; got {size}"):
        small([shade(1)], size=size)


def test_cells_are_opened_as_those_of_image_columns(tmp_path):
    Image.fromarray(shade(7, 40)).save(tmp_path / "a.png")
    Image.fromarray(np.dstack([shade(9)] * 3)).save(tmp_path / "b.jpg")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    held = io.BytesIO()
    Image.fromarray(shade(3)).save(held, "PNG")
    (tmp_path / "t.csv").write_text("word,photo\na,a.png\nb,b.jpg\nc,broken.png\nd,\ne,none.png\n", encoding="utf-8")
    table, target = read_table(tmp_path / "t.csv"), asked("photo", {"name": "picture", "size": 4})
    cells = target_cells(table, target)
    assert [type(cell).__name__ for cell in cells] == ["ndarray", "ndarray", "BadCell", "NoneType", "BadCell"]
    assert cells[0].shape == (4, 4)
    assert (cells[0] == 7).all()
    found = faults(table, target, cells)
    assert [(one.row, one.column) for one in found] == [("2", "photo"), ("4", "photo")]
    assert "does not exist" in found[1].reason
    in_memory = read_table({"photo": [held.getvalue(), shade(5), None]})
    assert [None if c is None else int(c[0, 0]) for c in target_cells(in_memory, target)] == [3, 5, None]


def words_and_pictures(folder, rows: int = 60) -> list[list[str]]:
    """A CSV from words to pictures that are dark or light, of which one is broken."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(rows):
        light = i % 2
        noise = rng.integers(0, 60, (8, 8)).astype(np.uint8)
        Image.fromarray(noise + np.uint8(190 * light)).save(folder / f"{i}.png")
        lines.append([("night", "day")[light], str(i % 3), f"{i}.png"])
    (folder / "5.png").write_bytes(b"no picture")
    with open(folder / "data.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["word", "number", "picture"], *lines])
    return lines


def test_from_words_to_pictures_to_files(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    words_and_pictures(tmp_path)
    asked_for = {"target": {"picture": {"kind": "picture", "size": 8}}, "kinds": {"word": "text"}}
    resolved = pm.plan(tmp_path / "data.csv", schema=asked_for, **{k: v for k, v in QUICK.items() if k != "quiet"})
    assert "Target: picture (pictures of 8 x 8 pixels, grey), judged by energy." in resolved.text()
    assert "picture: cells with no value known from training" in resolved.text()
    run = pm.fit(tmp_path / "data.csv", schema=asked_for, out=tmp_path / "run", **QUICK)
    aside = [json.loads(line) for line in (tmp_path / "run" / "set_aside.jsonl").read_text("utf-8").splitlines()]
    assert [(one["row"], one["column"]) for one in aside] == [("5", "picture")]
    assert "no picture" in aside[0]["reason"]
    rows = {row["strategy"]: row for row in run.leaderboard}
    assert set(rows) == {"word alone", "table alone", "concat", "nearest", "chance"}
    assert rows["nearest"]["level"] == "baseline"
    assert float(rows["nearest"]["test_mean"]) < float(rows["chance"]["test_mean"])
    assert run.metrics["chosen"] not in ("nearest", "chance")
    assert "pictures drawn for the test rows" not in run.verdict or "Fréchet" in run.verdict

    data = {"word": ["day", "night", None], "number": ["1", None, None]}
    answers = pm.load(tmp_path / "run").predict(data)
    assert answers == run.predict(data)
    write_columns(answers, tmp_path / "answers.csv", files=True)
    with open(tmp_path / "answers.csv", encoding="utf-8") as file:
        paths = [line["picture"] for line in csv.DictReader(file)]
    assert paths == ["answers_picture/0.png", "answers_picture/1.png", "answers_picture/2.png"]
    drawn = [np.asarray(Image.open(tmp_path / path)) for path in paths]
    assert all(picture.shape == (8, 8) and picture.dtype == np.uint8 for picture in drawn)
    again = target_cells(read_table(tmp_path / "answers.csv"), run.predictor.targets[0])
    assert all(np.array_equal(a, b) for a, b in zip(drawn, again)), "what is written can be read as a target"

    table = read_table(data)
    ((numbers, many),) = drawings(run.predictor, table, n=3)
    assert numbers.tolist() == [0, 1, 2]
    assert many.shape == (3, 3, 8, 8, 1)
    assert np.array_equal(many[:, 0, ..., 0], np.stack(drawn)), "the first is what `predict` writes"
    ((_, plainer),) = drawings(run.predictor, table, n=1, guidance=3.0, seed=1)
    assert not np.array_equal(plainer[:, 0], many[:, 0])
    with pytest.raises(BadArgument, match="Unknown option 'guidence' of drawing by Flow. Did you mean 'guidance'"):
        next(drawings(run.predictor, table, guidence=2.0))
    with pytest.raises(BadArgument, match="Nothing to draw: the target 'photo' is not drawn"):
        next(drawings(run.predictor, table, target="photo"))

    found = run.evaluate(tmp_path / "data.csv", out=tmp_path / "report", quiet=True)
    assert found["kind"] == "picture"
    assert np.isfinite(found["metrics"]["energy"])
    assert found["data"]["judged"]["judged"] == 59
    assert "Not judged" in " ".join(found["data"]["warnings"])
    told = run.explain(data, limit=2)
    assert told[0]["unit"] == "likeness of the picture"
    assert (tmp_path / "run" / "report.html").exists()
    assert (tmp_path / "report" / "report.html").exists()


def test_what_a_run_draws_beside_other_answers_is_drawn_once(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    words_and_pictures(tmp_path)
    targets = {"picture": {"kind": "picture", "size": 8}, "number": "classes"}
    asked_for = {"target": targets, "kinds": {"word": "text"}}
    run = pm.fit(tmp_path / "data.csv", schema=asked_for, out=tmp_path / "run", deploy="word alone", **QUICK)
    data, drawn, draw = {"word": ["day", "night"]}, [], DrawnHead.draw
    plain = run.predict(data)
    monkeypatch.setattr(DrawnHead, "draw", lambda *given, **how: drawn.append(how) or draw(*given, **how))
    several = run.generate(data, n=3)
    assert [how["copy"] for how in drawn] == [0, 1, 2]
    assert (several["picture"], several["number"]) == (plain["picture"], plain["number"])
    assert run.predict(data)["picture"] == plain["picture"], "heads draw again"


def test_a_fit_by_turns_draws_what_the_word_says(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    words_and_pictures(tmp_path)
    asked_for = {"target": {"picture": {"kind": "picture", "size": 8}}, "kinds": {"word": "text", "number": "ignore"}}
    gan = {"name": "gan", "channels": 8, "latent": 4, "critic_lr": 4e-3}
    run = pm.fit(
        tmp_path / "data.csv", schema=asked_for, out=tmp_path / "run",
        **{**QUICK, "heads": {"picture": gan}, "answer_training": {"epochs": 40, "lr": 2e-3}},
    )  # fmt: skip
    rows = {row["strategy"]: float(row["test_mean"]) for row in run.leaderboard}
    assert rows["word alone"] < rows["chance"]
    ((_, many),) = drawings(pm.load(tmp_path / "run").predictor, read_table({"word": ["day", "night"]}), n=4)
    day, night = many.reshape(2, -1).mean(1)
    assert day > night + 60, (day, night)
    with pytest.raises(BadArgument, match="Unknown option 'guidance' of drawing by Gan. Allowed: seed"):
        next(drawings(run.predictor, read_table({"word": ["day"]}), guidance=2.0))


def test_a_column_of_picture_files_is_told_to_be_one(tmp_path):
    words_and_pictures(tmp_path, rows=12)
    resolved = pm.plan(tmp_path / "data.csv", "picture")
    assert resolved.targets[0].kind == "picture"
    assert resolved.targets[0].size == 32
    inspected = pm.inspect(tmp_path / "data.csv", "picture")
    assert inspected.balance["picture"] == {"kind": "picture", "missing": 0}
    assert [(one.row, one.column) for one in inspected.misfits] == [("5", "picture")]


def test_bytes_become_files_beside_the_table(tmp_path):
    write_columns({"y": [b"GIF8", None, b"what"], "x": [1, 2, 3]}, tmp_path / "out.jsonl", files=True)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert lines[0] == {"y": "out_y/0.gif", "x": 1}
    assert lines[1]["y"] is None
    assert lines[2]["y"] == "out_y/2.bin"
    assert (tmp_path / "out_y" / "0.gif").read_bytes() == b"GIF8"
