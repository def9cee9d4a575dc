"""Text-to-image pipelines as they are."""

from __future__ import annotations

import functools
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import polymodal as pm
from polymodal.core.errors import BadArgument, MissingExtra
from polymodal.core.runtime import device_of
from polymodal.generators.answering import opened
from polymodal.nn.flow import row_seed

pytest.importorskip("transformers", reason="needs the extra diffusion")
FEW = {"steps": 2}
TITLES = ["a red shoe", "a cat", None, "a red shoe", "b " * 90]


@pytest.fixture
def model(tiny):
    pytest.importorskip("diffusers", reason="needs the extra diffusion")
    return tiny("diffusion")


def pixels(picture: bytes | str) -> np.ndarray:
    with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as opened_picture:
        return np.asarray(opened_picture, int)


def test_a_picture_of_each_text_the_same_alone(model):
    problems = []
    drawn = pm.generate(model, {"title": TITLES}, columns="title", problems=problems, **FEW)["picture"]
    assert [one is None for one in drawn] == [False, False, True, False, False]
    assert pixels(drawn[0]).shape == (16, 16, 3)
    assert [(p.row, p.reason) for p in problems] == [
        ("2", "is missing; no answer"),
        ("4", "is 92 tokens long, of which the model reads the first 77"),
    ]
    assert drawn[0] != drawn[3], "rows alike are drawn apart"
    for batch in (1, 3):
        again = pm.generate(model, {"title": TITLES}, columns="title", batch=batch, **FEW)["picture"]
        for one, other in zip(drawn, again):
            assert one is None or np.abs(pixels(one) - pixels(other)).max() <= 1
    two = pm.generate(model, {"title": TITLES}, columns="title", n=2, seed=4, **FEW)
    other = pm.generate(model, {"title": TITLES}, columns="title", seed=5, **FEW)["picture"]
    assert two["picture_2"] == other
    assert two["picture"][0] != other[0]


def test_a_picture_is_what_diffusers_draws(model):
    from diffusers import StableDiffusionPipeline

    drawn = pm.generate(model, {"title": ["a cat"]}, columns="title", seed=3, guidance=2.0, **FEW)["picture"]
    pipeline = StableDiffusionPipeline.from_pretrained(model)
    noise = torch.Generator().manual_seed(row_seed(0, 3))
    wanted = pipeline("a cat", num_inference_steps=2, guidance_scale=2.0, generator=noise).images[0]
    assert np.abs(pixels(drawn[0]) - np.asarray(wanted, int)).max() <= 1


def test_options_reach_the_pipeline(model):
    def drawn(**options):
        return pm.generate(model, {"title": ["a cat"]}, columns="title", **{**FEW, **options})["picture"][0]

    assert pixels(drawn(width=32, height=8)).shape == (8, 32, 3)
    plain = drawn()
    assert all(drawn(**one) != plain for one in ({"steps": 3}, {"guidance": 1.0}, {"negative": "a dog"}, {"seed": 1}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 15}, "width is a multiple of 2 for this pipeline; got 15"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"guidance": -1.0}, "guidance must be at least 0"),
        ({"beams": 2}, "Unknown argument 'beams' of painter"),
        ({"precision": "half"}, "Unknown precision"),
    ],
)
def test_options_are_checked(model, options, said):
    with pytest.raises(BadArgument) as refused:
        pm.generate(model, {"title": ["a cat"]}, columns="title", **options)
    assert said in str(refused.value)


def test_a_picture_that_the_model_hides_is_told(model, monkeypatch):
    kind = type(opened(model, device="cpu").pipeline)
    draw = kind.__call__

    @functools.wraps(draw)
    def hiding(self, **given):
        found = draw(self, **given)
        found.nsfw_content_detected = [text == "a cat" for text in given["prompt"]]
        return found

    monkeypatch.setattr(kind, "__call__", hiding)
    said = pm.generate(model, {"title": ["a cat", "a dog"]}, columns="title", **FEW)
    assert said["picture"][0] is None
    assert "own filter hid" in said["problem"][0]
    assert said["picture"][1] is not None


def test_one_column_of_words_is_found(model):
    assert pm.generate(model, {"title": ["a red cat sits", "a big dog", "no one is there"]}, **FEW).rows == 3
    with pytest.raises(BadArgument, match=r"'photo' is a column of the kind image .* reads texts"):
        pm.generate(model, {"photo": ["a.png"], "title": ["x"]}, columns="photo")


def test_no_code_of_a_folder_is_run(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "odd")
    (folder / "unet" / "odd.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Odd: pass\n")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "unet": ["odd", "Odd"]}))
    with pytest.raises(BadArgument, match="diffusers cannot load"):
        pm.generate(folder, {"title": ["a cat"]}, columns="title")
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_lacks_files_says_so(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "cut")
    shutil.rmtree(folder / "unet")
    with pytest.raises(BadArgument, match="lacking or damaged: copy them again"):
        pm.generate(folder, {"title": ["a cat"]}, columns="title")


def test_a_pipeline_that_draws_by_something_else_is_refused(tmp_path):
    pytest.importorskip("diffusers", reason="needs the extra diffusion")
    for name in ("DDPMPipeline", "StableDiffusionImg2ImgPipeline", "NoSuchPipeline"):
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
        with pytest.raises(BadArgument, match=rf"is a pipeline {name} of diffusers, which `generate` does not open"):
            pm.generate(tmp_path, {"title": ["a cat"]})


def test_without_diffusers_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "diffusers", None)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(MissingExtra, match=r"pip install 'polymodal\[diffusion\]'"):
        pm.generate(tmp_path, {"title": ["a cat"]})


def test_on_the_command_line(model, polymodal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = polymodal("generate", model, "--text", "a cat", "--steps", "2", "--n", "2", "--out", "cat.png")
    assert told.code == 0, told.err
    assert pixels("cat.png").shape == pixels("cat_2.png").shape == (16, 16, 3)
    Path("rows.csv").write_text('title\na cat\n"a red, red shoe"\n')
    told = polymodal(
        "generate", model, "rows.csv", "--columns", "title", "--steps", "2", "--guidance", "2", "--out", "drawn.csv",
        "--page", "drawn.html",
    )  # fmt: skip
    assert told.code == 0, told.err
    files = pm.read_table("drawn.csv").column("picture")
    assert files == ["drawn_picture/0.png", "drawn_picture/1.png"]
    assert all(pixels(file).shape == (16, 16, 3) for file in files)
    assert Path("drawn.html").read_text().count("data:image/") == 2
    refused = polymodal("generate", model, "rows.csv", "--columns", "title")
    assert refused.code == 2
    assert "say where they go (--out)" in refused.err


def test_a_device_that_is_not_there(model):
    if device_of("auto").type == "cuda":
        pytest.skip("there is one")
    with pytest.raises(BadArgument, match="There is no device 'cuda'"):
        pm.generate(model, {"title": ["a cat"]}, columns="title", device="cuda")
