"""What a folder is told to be, and what is said of those that generate nothing."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import tiny_towers

import polymodal as pm
from polymodal.core.errors import BadArgument, MissingExtra
from polymodal.core.registry import options
from polymodal.generators import GENERATORS
from polymodal.generators.base import Generator, Said
from polymodal.generators.opening import About, generator_of, is_model

pytest.importorskip("transformers", reason="needs the extra hf")


@pytest.mark.parametrize(
    ("about", "name"),
    [
        (About("m", kind="blip", settings={"architectures": ["BlipForConditionalGeneration"]}), "assistant"),
        (About("m", kind="vits", settings={"architectures": ["VitsModel"]}), "voice"),
        (About("m", pipeline="StableDiffusionPipeline"), "painter"),
    ],
)
def test_settings_say_which_generator_opens_a_model(about, name):
    if name == "painter":
        pytest.importorskip("diffusers", reason="needs the extra diffusion")
    assert generator_of(about) == name


@pytest.mark.parametrize(
    ("save", "said"),
    [
        ("bert", "is a BertModel of transformers, which `generate` does not open: it reads, and writes nothing"),
        ("vit", "`fit --models FOLDER` takes it as an encoder"),
        ("language_model", "it goes on with words and sees nothing; a fit puts it behind a projector"),
        ("wav2vec2", "takes it as an encoder"),
    ],
)
def test_a_model_that_generates_nothing_says_who_wants_it(tmp_path, save, said):
    getattr(tiny_towers, f"save_{save}")(tmp_path)
    assert is_model(str(tmp_path))
    with pytest.raises(BadArgument) as refused:
        pm.generate(tmp_path, {"photo": ["a.png"]})
    assert said in str(refused.value)
    assert "Vision-language models of transformers" in str(refused.value)


def test_a_recogniser_of_speech(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]})
    )
    with pytest.raises(BadArgument, match="as the step `transcribe` of `prepare` does"):
        pm.generate(tmp_path, {"photo": ["a.png"]})


def test_weights_of_another_task_are_refused(tiny, tmp_path):
    """Settings of a captioner above weights of something else."""
    folder = shutil.copytree(tiny("blip"), tmp_path / "blip")
    weights = shutil.copyfile(f"{tiny('vits')}/model.safetensors", folder / "model.safetensors")
    assert weights.exists()
    with pytest.raises(BadArgument, match="was not saved for this task: it lacks"):
        pm.generate(folder, {"photo": ["a.png"]})


@pytest.mark.parametrize("settings", ["{}", "[]", "not json"])
def test_settings_that_tell_nothing(tmp_path, settings):
    (tmp_path / "config.json").write_text(settings)
    with pytest.raises(BadArgument, match=r"names no model_type|cannot be read"):
        pm.generate(tmp_path, {"photo": ["a.png"]})


def test_without_transformers_the_extra_is_named(tmp_path, monkeypatch):
    tiny_towers.save_bert(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"pip install 'polymodal\[hf\]'"):
        pm.generate(tmp_path, {"photo": ["a.png"]})


def test_offline_a_hub_s_name_says_what_to_do(polymodal):
    told = polymodal("generate", "someone/llava", "--image", "x.png")
    assert told.code == 2
    assert "'someone/llava' is no folder here, and no model of this name can be had" in told.err
    assert "hf download someone/llava --local-dir FOLDER" in told.err


def test_a_folder_of_models_is_looked_in(tiny, album, tmp_path, monkeypatch):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "mine").symlink_to(tiny("llava"))
    assert not is_model("mine")
    monkeypatch.setenv("POLYMODAL_MODELS", str(tmp_path / "shelf"))
    assert is_model("mine")
    said = pm.generate("mine", album.table, most=4)["answer"]
    assert said == pm.generate(tiny("llava"), album.table, most=4)["answer"]


def test_runs_and_what_is_not_there_are_no_models(shop, tmp_path, polymodal):
    assert not is_model(str(shop.run))
    assert not is_model(str(tmp_path))
    assert not is_model(str(tmp_path / "nothing"))
    assert not is_model("hf://someone/run")
    told = polymodal("generate", shop.run, "--text", "x", "--columns", "title")
    assert told.code == 2
    assert "--columns goes with a pretrained model" in told.err


def test_an_author_adds_a_generator(tmp_path):
    """One that says how many letters a text has."""

    class Counter(Generator):
        needs, column, samples = ("text",), "letters", False

        def __init__(self, about, *, step: int = 1):
            super().__init__(about)
            self.step = step

        @classmethod
        def can(cls, about):
            return about.kind == "counter"

        def answers(self, rows, seed):
            for place, row in enumerate(rows):
                yield place, Said(str(self.step * len("".join(row.texts))))

    GENERATORS.register("counter", summary="counts letters")(Counter)
    try:
        (tmp_path / "config.json").write_text('{"model_type": "counter"}')
        said = pm.generate(tmp_path, {"t": ["abc", None, "a"]}, columns="t", step=2)
        assert said["letters"] == ["6", None, "2"]
    finally:
        del GENERATORS._entries["counter"], GENERATORS._classes["counter"]


def test_every_option_of_every_generator_is_documented():
    for name in GENERATORS:
        cls = GENERATORS.load(name)
        for option in options(cls):
            assert f"`{option}`" in cls.__doc__ or option == "batch", (name, option)


def test_settings_of_odd_forms_are_refused_in_words(tmp_path):
    for file, held in (
        ("config.json", {"model_type": "vit", "architectures": 5}), ("model_index.json", {"_class_name": []}),
    ):  # fmt: skip
        (tmp_path / file).write_text(json.dumps(held))
        with pytest.raises(BadArgument, match="which `generate` does not open"):
            pm.generate(tmp_path, {"title": ["a"]})
