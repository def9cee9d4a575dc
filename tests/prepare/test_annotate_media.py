"""Annotating sounds and pictures: planted answers are found, each option counts, small local models are used."""

from __future__ import annotations

import json
import os
from functools import cache

import numpy as np
import pytest
from ops import applied
from PIL import Image
from test_clean_audio import RATE, VOICES, noisy

from polymodal.core.errors import BadArgument, MissingExtra
from polymodal.prepare.media import Sound
from polymodal.prepare.speech.turns import by_energy

SECOND = np.arange(RATE) / RATE
TONE = Sound((0.2 * np.sin(2 * np.pi * 440 * SECOND)).astype(np.float32), RATE)
NOISE = Sound(np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32), RATE)
HUSH = Sound(np.zeros(RATE, np.float32), RATE)


def told(spec, cells, kind="audio"):
    """Each row's new columns, without the `x_`."""
    rows, _ = applied(spec, {"x": cells}, {"x": kind})
    return [{c[2:]: row.get(c) for c in row.cells if c != "x"} for row in rows]


def built(spec, kind="audio"):
    try:
        return applied(spec, {"x": []}, {"x": kind})[1]
    except MissingExtra as error:
        pytest.skip(str(error))


def buzz(pitch: float, colour: int, seconds: float) -> np.ndarray:
    """A voice: harmonics of one pitch, the strongest at the `colour`-th."""
    t = np.arange(int(seconds * RATE)) / RATE
    parts = [np.exp(-abs(k - colour) / 2) * np.sin(2 * np.pi * pitch * k * t) for k in range(1, 16)]
    return (0.1 * np.sum(parts, 0)).astype(np.float32)


PAUSE = np.zeros(RATE // 2, np.float32)
TALK = Sound(
    np.concatenate([PAUSE, buzz(100, 2, 0.6), PAUSE, buzz(230, 9, 0.8), PAUSE, buzz(102, 2, 0.7), PAUSE]), RATE
)


def test_cepstra_are_a_series():
    found = told("cepstra", [VOICES[0], None])
    assert found[0]["cepstra"].shape == (1 + (RATE - 200) // 80, 13)
    assert found[1]["cepstra"] is None
    for more in ({"method": "lpc"}, {"count": 9}, {"window": 0.05}, {"hop": 0.02}, {"rate": 4000}):
        other = told({"name": "cepstra", **more}, [VOICES[0]])[0]["cepstra"]
        assert other.shape != found[0]["cepstra"].shape or not np.allclose(other, found[0]["cepstra"])
    for more in ({"method": "lcp"}, {"count": 0}, {"window": 25}, {"rate": 5}):
        with pytest.raises(BadArgument):
            told({"name": "cepstra", **more}, [VOICES[0]])


def test_turns_are_found_where_they_were_put():
    found = told("turns", [TALK, HUSH, None])
    turns = json.loads(found[0]["turns"])
    assert [t[2] for t in turns] == [0, 1, 0]
    np.testing.assert_allclose([t[:2] for t in turns], [[0.5, 1.1], [1.6, 2.4], [2.9, 3.6]], atol=0.041)
    assert (found[0]["speakers"], found[0]["speech"]) == (2, pytest.approx(2.1, abs=0.11))
    assert (found[1]["turns"], found[1]["speakers"]) == ("[]", 0)
    assert found[2]["turns"] is None


@pytest.mark.parametrize(
    "more", [{"speakers": 3}, {"apart": 1000.0}, {"gap": 0.6}, {"least": 0.65}, {"above": 70.0}]
)  # fmt: skip
def test_each_option_of_turns_counts(more):
    assert told({"name": "turns", **more}, [TALK]) != told("turns", [TALK])


def test_silero_hears_speech_alone():
    built({"turns": {"engine": "silero"}})
    found = told({"turns": {"engine": "silero"}}, [NOISE, HUSH])
    assert [one["turns"] for one in found] == ["[]", "[]"]
    assert by_energy(Sound(np.concatenate([PAUSE, NOISE.samples]), RATE), 10, 0.2, 0.1), "energy hears any sound"


def test_kinds_of_sound_by_the_signal():
    found = told("sound_class", [HUSH, TONE, NOISE, *VOICES, noisy(NOISE, 0), None])
    assert [one["sound"] for one in found] == ["silence", "tone", "noise", *["harmonic"] * 5, "noise", None]
    assert all(0 <= one["sound_confidence"] <= 1 for one in found[:-1])
    with pytest.raises(BadArgument, match="needs `model`"):
        built({"sound_class": {"engine": "transformers"}})
    with pytest.raises(BadArgument, match="signal has none"):
        built({"sound_class": {"model": "x"}})


def test_sound_class_by_a_local_model(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
        conv_kernel=(10, 8), conv_stride=(5, 4), num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
        classifier_proj_size=8, id2label={0: "bark", 1: "bell"}, label2id={"bark": 0, "bell": 1},
        do_stable_layer_norm=True, feat_extract_norm="layer",
    )  # fmt: skip
    transformers.Wav2Vec2ForSequenceClassification(config).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    found = told({"sound_class": {"engine": "transformers", "model": str(tmp_path)}}, [VOICES[0], None])
    assert found[0]["sound"] in ("bark", "bell")
    assert 0.5 <= found[0]["sound_confidence"] <= 1
    assert (found[0]["sound_model"], found[1]["sound"]) == (tmp_path.name, None)


@cache
def astronaut() -> Image.Image:
    data = pytest.importorskip("skimage.data")
    return Image.fromarray(data.astronaut())


def test_faces_are_found_where_they_are_and_nowhere_else():
    flat = Image.new("RGB", (200, 200), "green")
    found = told("objects", [astronaut(), flat, None], "image")
    (box,) = json.loads(found[0]["boxes"])
    left, top, right, bottom = box[2]
    assert box[:2] == ["face", None]
    assert left < 224 < right
    assert top < 115 < bottom
    assert (found[0]["objects"], found[0]["objects_count"], found[1]["objects_count"]) == ("face", 1, 0)
    assert found[2]["boxes"] is None


@pytest.mark.parametrize("engine", ["felzenszwalb", "slic"])
def test_parts_by_colour(engine):
    pytest.importorskip("skimage")
    halves = np.zeros((60, 80, 3), np.uint8)
    halves[:, 40:] = (250, 200, 0)
    found = told({"segments": {"engine": engine, "parts": 2}}, [Image.fromarray(halves), None], "image")
    area = np.asarray(found[0]["segments"])
    assert area.shape == (60, 80)
    assert set(np.unique(area[:, :38])).isdisjoint(np.unique(area[:, 42:]))
    assert found[0]["segments_count"] == len(np.unique(area)) == 2
    assert sum(part[3] for part in json.loads(found[0]["parts"])) == pytest.approx(1, abs=0.01)
    assert found[1]["segments"] is None
    more = told({"segments": {"engine": engine, "parts": 60}}, [astronaut().resize((128, 128))], "image")
    few = told({"segments": {"engine": engine, "parts": 4}}, [astronaut().resize((128, 128))], "image")
    assert more[0]["segments_count"] > few[0]["segments_count"]


def test_networks_that_a_package_brings():
    built("image_class", "image")
    data = pytest.importorskip("skimage.data")
    cup, cat = Image.fromarray(data.coffee()), Image.fromarray(data.chelsea())
    found = told("image_class", [cup, cat], "image")
    assert "espresso" in found[0]["class"]
    assert "cat" in found[1]["class"]
    assert told({"image_class": {"least": 0.999}}, [cat], "image")[0]["class"] is None
    found = told({"segments": {"engine": "litert"}}, [cat], "image")[0]
    assert json.loads(found["parts"])[0][1] == "cat"
    assert found["segments"].size == cat.size


def test_pictures_by_local_models(tmp_path):
    transformers = pytest.importorskip("transformers")
    labels = {"id2label": {0: "day", 1: "night"}, "label2id": {"day": 0, "night": 1}}
    vit = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8,
        **labels,
    )  # fmt: skip
    segformer = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3],
        strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, **labels,
    )  # fmt: skip
    yolos = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[32, 32],
        patch_size=8, num_detection_tokens=4, use_mid_position_embeddings=False, **labels,
    )  # fmt: skip
    size = {"height": 32, "width": 32}
    small = {"shortest_edge": 32, "longest_edge": 48}
    for name, model, processor in (
        ("vit", transformers.ViTForImageClassification(vit), transformers.ViTImageProcessor(size=size)),
        ("seg", transformers.SegformerForSemanticSegmentation(segformer),
         transformers.SegformerImageProcessor(size=size)),
        ("det", transformers.YolosForObjectDetection(yolos), transformers.YolosImageProcessor(size=small)),
    ):  # fmt: skip
        model.save_pretrained(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
    photo = astronaut().resize((90, 60))

    def by(op, name, **more):
        return told({"name": op, "engine": "transformers", "model": str(tmp_path / name), **more}, [photo], "image")[0]

    assert by("image_class", "vit")["class"] in labels["label2id"]
    assert by("image_class", "vit")["class_model"] == "vit"
    found = by("segments", "seg")
    assert found["segments"].size == (90, 60)
    assert {part[1] for part in json.loads(found["parts"])} <= set(labels["label2id"])
    found = by("objects", "det", least=0.0)
    assert found["objects_count"] == 4
    assert all(len(box[2]) == 4 and box[0] in labels["label2id"] for box in json.loads(found["boxes"]))
    assert by("objects", "det", least=0.99)["objects_count"] == 0


def test_what_cannot_be_is_refused():
    with pytest.raises(BadArgument, match="Did you mean 'faces'"):
        built({"objects": {"engine": "face"}}, "image")
    with pytest.raises(BadArgument, match="has its own"):
        built({"objects": {"model": "x"}}, "image")
    with pytest.raises(BadArgument, match="least is a confidence"):
        built({"objects": {"least": 1.5}}, "image")
    with pytest.raises(BadArgument, match="already"):
        applied("cepstra", {"x": [TONE], "x_cepstra": [None]}, {"x": "audio", "x_cepstra": "series"})
    with pytest.raises(BadArgument, match="folder"):
        told({"image_class": {"engine": "transformers", "model": os.devnull}}, [Image.new("RGB", (9, 9))], "image")
