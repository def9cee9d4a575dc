"""Pretrained models as they are, on the leaderboard beside what a fit trains."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_generators
import torch
from PIL import Image

import polymodal as pm
from polymodal.core.errors import BadArgument, UnknownName

pytest.importorskip("transformers", reason="needs the extra hf")
QUICK = {
    "seeds": 2, "crossfit": 0, "dim": 8, "workers": 0, "trackers": "none", "joint": False, "pretrained": False,
    "encodings": "fitted", "noise": False, "training": {"epochs": 2, "lr": 0.01, "batch": 64},
}  # fmt: skip
WRITER = {"heads": {"says": {"name": "writer", "units": 8, "depth": 1}}, "metric": "exact_match"}


def pictures(folder: Path, rows: int, seed: int) -> dict[str, list]:
    """Red and blue pictures, of which the second is broken, with a question and an answer in a word."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    photos, says = [], []
    for i in range(rows):
        red = bool(rng.integers(2))
        pixels = np.clip(rng.normal(0, 9, (12, 12, 3)) + [[[200, 40, 40]], [[40, 40, 200]]][1 - red], 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
        photos.append(str(folder / f"{i}.png"))
        says.append("red" if red else "blue")
    (folder / "1.png").write_bytes(b"no picture")
    return {"photo": photos, "size": rng.normal(size=rows).tolist(), "says": says}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return [pictures(folder / name, rows, k) for k, (name, rows) in enumerate((("a", 40), ("b", 20), ("c", 20)))]


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    torch.manual_seed(0)
    return tiny_generators.save_blip(tmp_path_factory.mktemp("models") / "blip")


def planned(parts, contenders, **options):
    return pm.plan(
        parts[0], valid=parts[1], test=parts[2], schema={"target": {"says": "text"}}, contenders=contenders,
        **{**QUICK, **WRITER, **options},
    )  # fmt: skip


def fitted(parts, contenders, folder, **options):
    train, valid, test = parts
    return pm.fit(
        train, valid=valid, test=test, schema={"target": {"says": "text"}}, contenders=contenders, out=folder / "run",
        store=folder / "store", quiet=True, **{**QUICK, **WRITER, **options},
    )  # fmt: skip


def test_a_captioner_is_judged_beside_what_is_trained(parts, blip, tmp_path):
    contenders = [blip, {"model": blip, "called": "long", "least": 3, "most": 4}]
    assert (
        "Beside them, for the 40 rows of choice and of the test: blip, a BlipForConditionalGeneration of transformers, "
        "which reads photo."
    ) in planned(parts, contenders).text()
    run = fitted(parts, contenders, tmp_path)
    board = {row["strategy"]: row for row in run.leaderboard}
    row = board["blip"]
    assert (row["level"], row["streams"], row["seeds"]) == ("pretrained", "photo", 1)
    assert float(row["parameters"]) > 1000
    assert float(row["predict_ms"]) > 0
    assert row["note"] == "a BlipForConditionalGeneration of transformers, as it is"
    said = pm.generate(blip, parts[2], columns="photo")["answer"]
    coder = run.predictor.targets[0].coder
    right = [coder.text(coder.codes(a or "")) == b for a, b in zip(said, parts[2]["says"])]
    assert float(row["test_mean"]) == pytest.approx(np.mean(right), abs=1e-6), "the same rows, judged alike"
    told = json.loads((tmp_path / "run" / "evaluation.json").read_text("utf-8"))
    lines = told["verdict"]["sentences"]
    assert any("blip, a BlipForConditionalGeneration of transformers, as it is" in line for line in lines)
    (empty,) = [line for line in lines if line.startswith("The contender blip has no answer to 2 of 40 rows;")]
    assert "row table_1/1: photo the file '1.png' is no picture of a known form" in empty
    assert told["about"]["blip"].startswith("A model from elsewhere as it is")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["chosen"] not in ("blip", "long")


def test_answers_are_asked_once_and_a_model_that_fails_is_left_out(parts, blip, tmp_path, monkeypatch):
    from polymodal.generators import answering

    bad = tiny_generators.save_blip(tmp_path / "bad")
    (Path(bad) / "model.safetensors").write_bytes(b"cut")
    asked, ask = [], answering.answer_rows

    def counted(*args, **options):
        asked.append(args)
        return ask(*args, **options)

    monkeypatch.setattr("polymodal.experiment.contenders.answer_rows", counted)
    run = fitted(parts, [blip, bad], tmp_path)
    assert {row["strategy"] for row in run.leaderboard} & {"blip", "bad"} == {"blip"}
    told = json.loads((tmp_path / "run" / "evaluation.json").read_text("utf-8"))
    assert any(line.startswith("The contender bad is left out: AutoModel") for line in told["verdict"]["sentences"])
    again = fitted(parts, [blip, bad], tmp_path, resume=True)
    assert len(asked) == 1
    assert again.leaderboard == run.leaderboard


def test_what_is_no_contender_is_said_before_anything_is_trained(parts, blip, tmp_path):
    vits = tiny_generators.save_vits(tmp_path / "vits")
    for contenders, message in (
        (vits, "whose answers are sounds; 'says' is text"),
        ("/nowhere/blip", "The model's folder '/nowhere/blip' is not there"),
        ({"columns": "photo"}, "or a mapping with `model`"),
        ({"model": blip, "beans": 3}, "Unknown argument 'beans' of assistant"),
        ({"model": blip, "columns": "says"}, "would read 'says', which is what is asked for"),
        ([blip, blip], "Two contenders are called 'blip'"),
        ({"model": blip, "called": "blind"}, "A strategy is called 'blind' too"),
    ):
        with pytest.raises(BadArgument, match=message):
            planned(parts, contenders)
    with pytest.raises(UnknownName, match="has no column 'foto'.*photo"):
        planned(parts, {"model": blip, "columns": "foto"})
    with pytest.raises(BadArgument, match="a pretrained model as it is, which no run deploys: `polymodal generate"):
        planned(parts, blip, deploy="blip")
    with pytest.raises(BadArgument, match=r"this fit has says \(classes\)"):
        pm.plan(parts[0], "says", contenders=blip, **QUICK)


def test_a_painter_is_judged_beside_what_draws(parts, tmp_path):
    pytest.importorskip("diffusers", reason="needs the extra diffusion")
    torch.manual_seed(0)
    model = tiny_generators.save_diffusion(tmp_path / "painter")
    asked_for = {"target": {"photo": {"kind": "picture", "size": 8}}, "kinds": {"says": "text"}}
    train, valid, test = ({name: cells[:20] for name, cells in part.items()} for part in parts)
    run = pm.fit(
        train, valid=valid, test=test, schema=asked_for, contenders={"model": model, "steps": 2}, quiet=True,
        out=tmp_path / "run", store=tmp_path / "store", fusion=["concat"], **{**QUICK, "seeds": 1},
        heads={"photo": {"name": "flow", "channels": 4, "steps": 2, "depth": 1}},
    )  # fmt: skip
    row = {row["strategy"]: row for row in run.leaderboard}["painter"]
    assert np.isfinite(float(row["test_mean"]))
    assert row["level"] == "pretrained"
    told = json.loads((tmp_path / "run" / "evaluation.json").read_text("utf-8"))["verdict"]["sentences"]
    assert any("a pipeline StableDiffusionPipeline of diffusers, as it is" in line for line in told)
