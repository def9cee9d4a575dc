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
from polymodal.data.media.sound import Sound
from polymodal.ops.speech.turns import by_energy

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


EMPTY, ONE = Sound(np.zeros(0, np.float32), RATE), Sound(np.full(1, 0.1, np.float32), 48_000)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_sounds_of_hardly_a_sample():
    assert [one["cepstra"] is None for one in told("cepstra", [EMPTY, ONE])] == [True, False]
    assert [one["turns"] for one in told("turns", [EMPTY, ONE])] == ["[]", "[]"]
    empty, one = told("sound_class", [EMPTY, ONE])
    assert empty["sound"] is None
    assert one["sound"] in ("noise", "silence", "harmonic", "tone")
    assert 0 <= one["sound_confidence"] <= 1


def test_a_long_sound_is_heard_as_its_parts_are():
    minute = Sound(np.tile(NOISE.samples, 130), RATE)  # above a thousand frames
    assert told("sound_class", [minute])[0]["sound_confidence"] == pytest.approx(
        told("sound_class", [NOISE])[0]["sound_confidence"], abs=0.01
    )


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
    from transformers import pipeline

    spec = {"sound_class": {"engine": "transformers", "model": str(tmp_path)}}
    theirs = pipeline("audio-classification", model=str(tmp_path))
    wave = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    stereo, long = Sound(np.stack([wave, wave], 1), 16000), Sound(np.tile(wave, 20), 16000)  # a minute
    both, whole, short, empty = told(spec, [stereo, long, Sound(wave[:9], 16000), Sound(wave[:0], 8000)])
    best = max(theirs(wave), key=lambda one: one["score"])
    assert (both["sound"], both["sound_confidence"]) == (best["label"], pytest.approx(best["score"], abs=1e-4))
    assert whole["sound"] in ("bark", "bell")
    assert short["sound"] in ("bark", "bell")
    assert empty["sound"] is None
    transformers.Wav2Vec2Model(config).save_pretrained(tmp_path / "another")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "another")
    with pytest.raises(BadArgument, match="was not saved for this task"):
        built({"sound_class": {"engine": "transformers", "model": str(tmp_path / "another")}})


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


@pytest.mark.parametrize("engine", ["felzenszwalb", "slic"])
def test_parts_of_a_large_picture_lie_where_they_are(engine):
    pytest.importorskip("skimage")
    wide = Image.new("RGB", (3000, 1000), "navy")
    wide.paste("gold", (1500, 0, 3000, 1000))
    area = np.asarray(told({"segments": {"engine": engine, "parts": 2}}, [wide], "image")[0]["segments"])
    assert area.shape == (1000, 3000)
    assert set(np.unique(area[:, :1490])).isdisjoint(np.unique(area[:, 1510:]))


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
    found = told({"objects": {"engine": "litert"}}, [cat, astronaut(), cup], "image")
    assert [one["objects"] for one in found[:2]] == ["cat", "person"]
    left, top, right, bottom = json.loads(found[0]["boxes"])[0][2]
    assert (right - left) * (bottom - top) > 0.4 * cat.width * cat.height, "the cat fills most of its picture"


LABELS = {"id2label": {0: "day", 1: "night"}, "label2id": {"day": 0, "night": 1}}
ALL = ("image_class", "vit"), ("segments", "seg"), ("objects", "det")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Folders of tiny networks as transformers saves them: random, so that what they say is nonsense, but always the
    same, and not the same for any picture."""
    transformers = pytest.importorskip("transformers")
    import torch

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("networks")
    blocks = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    vit = transformers.ViTConfig(**blocks, image_size=32, patch_size=8, initializer_range=0.5, **LABELS)
    segformer = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3],
        strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, initializer_range=0.5,
        **LABELS,
    )  # fmt: skip
    yolos = transformers.YolosConfig(
        **blocks, image_size=[32, 32], patch_size=8, num_detection_tokens=4, use_mid_position_embeddings=False,
        initializer_range=0.5, **LABELS,
    )  # fmt: skip
    size = {"height": 32, "width": 32}
    small = {"shortest_edge": 32, "longest_edge": 48}
    for name, model, processor in (
        ("vit", transformers.ViTForImageClassification(vit), transformers.ViTImageProcessor(size=size)),
        ("seg", transformers.SegformerForSemanticSegmentation(segformer),
         transformers.SegformerImageProcessor(size=size)),
        ("det", transformers.YolosForObjectDetection(yolos), transformers.YolosImageProcessor(size=small)),
    ):  # fmt: skip
        model.save_pretrained(root / name)
        processor.save_pretrained(root / name)
    return root


def by(networks, op, name, pictures, **more):
    return told({"name": op, "engine": "transformers", "model": str(networks / name), **more}, pictures, "image")


def test_pictures_by_local_models(networks):
    photo = astronaut().resize((90, 60))
    (found,) = by(networks, "image_class", "vit", [photo])
    assert found["class"] in LABELS["label2id"]
    assert 0.5 <= found["class_confidence"] <= 1
    assert found["class_model"] == "vit"
    (found,) = by(networks, "segments", "seg", [photo])
    assert found["segments"].size == (90, 60)
    parts = json.loads(found["parts"])
    assert {part[1] for part in parts} <= set(LABELS["label2id"])
    assert sum(part[3] for part in parts) == pytest.approx(1, abs=1e-3)
    (found,) = by(networks, "objects", "det", [photo], least=0.0)
    assert found["objects_count"] == 4
    for label, sure, (left, top, right, bottom) in json.loads(found["boxes"]):
        assert label in LABELS["label2id"]
        assert 0 <= sure <= 1
        assert 0 <= left <= right <= 90
        assert 0 <= top <= bottom <= 60
    assert by(networks, "objects", "det", [photo], least=0.99)[0]["objects_count"] == 0


def test_local_models_say_what_the_pipelines_of_transformers_say(networks):
    from transformers import pipeline

    photo = astronaut().resize((90, 60))
    ours = by(networks, "image_class", "vit", [photo])[0]
    theirs = pipeline("image-classification", model=str(networks / "vit"))(photo)[0]
    assert (ours["class"], ours["class_confidence"]) == (theirs["label"], pytest.approx(theirs["score"], abs=1e-4))
    ours = json.loads(by(networks, "objects", "det", [photo], least=0.0)[0]["boxes"])
    theirs = pipeline("object-detection", model=str(networks / "det"))(photo, threshold=0.0)
    assert [(label, pytest.approx(sure, abs=1e-4)) for label, sure, _ in ours] == [
        (one["label"], one["score"]) for one in sorted(theirs, key=lambda one: -one["score"])
    ]
    for (_, _, box), one in zip(ours, sorted(theirs, key=lambda one: -one["score"])):
        wanted = [one["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")]
        np.testing.assert_allclose(box, np.clip(wanted, 0, [90, 60, 90, 60]), atol=1)
    ours = by(networks, "segments", "seg", [photo])[0]
    theirs = pipeline("image-segmentation", model=str(networks / "seg"))(photo, subtask="semantic")
    shares = {one["label"]: np.asarray(one["mask"]).mean() / 255 for one in theirs}
    assert {label: pytest.approx(part, abs=0.02) for _, label, _, part in json.loads(ours["parts"])} == shares


@pytest.mark.parametrize(("op", "name"), ALL)
def test_any_kind_of_picture_goes_into_a_network(networks, op, name):
    whole = astronaut().resize((64, 48))
    deep = Image.fromarray(np.asarray(whole.convert("L"), np.uint16) * 257)
    clear = whole.convert("RGBA")
    clear.putalpha(0)
    kinds = [whole, whole.convert("L"), whole.convert("CMYK"), whole.quantize(8), clear, deep, whole.convert("1")]
    found = by(networks, op, name, [*kinds, None])
    assert all(value is not None for one in found[:-1] for value in one.values() if op != "objects")
    assert all(value is None for value in found[-1].values())

    def plain(one):
        return {k: v.tobytes() if isinstance(v, Image.Image) else v for k, v in one.items()}

    assert plain(found[1]) == plain(found[5]), "16 bits are not cut to 8: the same picture, the same answer"
    white = by(networks, op, name, [Image.new("RGB", whole.size, "white")])
    assert plain(found[4]) == plain(white[0]), "what is transparent is white"


@pytest.mark.parametrize(("op", "name"), [("image_class", "seg"), ("segments", "vit"), ("objects", "vit")])
def test_a_model_of_another_task_is_refused_before_any_row(networks, op, name):
    with pytest.raises(BadArgument, match=r"was not saved for this task: it lacks|cannot load"):
        by(networks, op, name, [])


def test_things_are_boxed_by_what_they_are(monkeypatch):
    from polymodal.ops.annotate import lite
    from polymodal.ops.annotate.image import Objects

    classes = np.zeros((100, 200), np.uint8)
    classes[20:60, 10:50] = classes[20:60, 100:180] = 2
    classes[70:90, 60:90] = 1
    classes[0:5, 0:5] = 1  # below a hundredth of the picture
    sure = np.where(classes == 1, 0.6, 0.9).astype(np.float32)
    monkeypatch.setattr(lite, "check", lambda: None)
    monkeypatch.setattr(lite, "segment", lambda picture: (classes, sure, ["background", "cat", "dog"]))
    photo = Image.new("RGB", (200, 100))
    boxes = [["dog", 0.9, [10, 20, 50, 60]], ["dog", 0.9, [100, 20, 180, 60]], ["cat", 0.6, [60, 70, 90, 90]]]
    found = Objects(engine="litert").told(photo)
    assert json.loads(found["boxes"]) == boxes
    assert (found["objects"], found["objects_count"], found["objects_model"]) == ("dog, dog, cat", 3, "DeepLab v3")
    assert json.loads(Objects(engine="litert", least=0.7).told(photo)["boxes"]) == boxes[:2]


def test_what_cannot_be_is_refused():
    with pytest.raises(BadArgument, match="Did you mean 'faces'"):
        built({"objects": {"engine": "face"}}, "image")
    with pytest.raises(BadArgument, match="has its own"):
        built({"objects": {"model": "x"}}, "image")
    with pytest.raises(BadArgument, match="least must be at least 0 and below 1"):
        built({"objects": {"least": 1.5}}, "image")
    with pytest.raises(BadArgument, match="already"):
        applied("cepstra", {"x": [TONE], "x_cepstra": [None]}, {"x": "audio", "x_cepstra": "series"})
    with pytest.raises(BadArgument, match="folder"):
        told({"image_class": {"engine": "transformers", "model": os.devnull}}, [Image.new("RGB", (9, 9))], "image")
