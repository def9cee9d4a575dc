"""Voices as they are."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import torch

import polymodal as pm
from polymodal.core.errors import BadArgument
from polymodal.core.wav import wav_bytes
from polymodal.data.media.sound import read_sound
from polymodal.nn.flow import row_seed
from polymodal.ops.networks import network

pytest.importorskip("transformers", reason="needs the extra hf")
TITLES = ["a red shoe", "hello", None, "a red shoe", "42"]


@pytest.fixture
def spectral(tiny, tmp_path_factory):
    """SpeechT5 and what it needs."""
    pytest.importorskip("transformers")
    vocoder = tmp_path_factory.getbasetemp() / "vocoder"
    speaker = tmp_path_factory.getbasetemp() / "speaker.npy"
    return tiny("speecht5", vocoder, speaker), {"vocoder": str(vocoder), "speaker": str(speaker)}


def test_vits_says_each_text(tiny):
    model, problems = tiny("vits"), []
    said = pm.generate(model, {"title": TITLES}, columns="title", problems=problems)["sound"]
    assert [one is None for one in said] == [False, False, True, False, True]
    assert read_sound(said[0]).rate == 8000
    assert said[0] != said[3], "rows alike are said apart"
    assert [p.row for p in problems] == ["2", "4"]
    assert "knows no letter of '42'" in problems[1].reason
    torch.manual_seed(5)
    assert pm.generate(model, {"title": TITLES}, columns="title")["sound"] == said
    alone = pm.generate(model, {"title": TITLES[:1]}, columns="title", n=2)
    assert alone["sound"] == said[:1]
    assert alone["sound_2"] == pm.generate(model, {"title": TITLES[:1]}, columns="title", seed=1)["sound"]
    fast = pm.generate(model, {"title": TITLES}, columns="title", speed=2.0)["sound"]
    assert len(fast[0]) < len(said[0])


def test_vits_is_what_transformers_says(tiny):
    from transformers import AutoTokenizer, VitsModel

    model = tiny("vits")
    said = read_sound(pm.generate(model, {"title": ["hello"]}, columns="title", seed=2)["sound"][0])
    voice, reader = VitsModel.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    torch.manual_seed(row_seed(0, 2))
    with torch.no_grad():
        wave = voice(**reader("hello", return_tensors="pt")).waveform[0]
    assert np.abs(said.samples - wave.clamp(-1, 1).numpy()).max() < 1e-4


def test_speecht5_by_a_speaker_and_a_vocoder(spectral, tmp_path):
    model, needs = spectral
    problems = []
    texts = ["a red shoe", "one. two. three. four. five", "b" * 30]
    said = pm.generate(model, {"title": texts}, columns="title", problems=problems, **needs)["sound"]
    assert [one is None for one in said] == [False, False, True]
    assert read_sound(said[0]).rate == 4000
    assert len(said[1]) > len(said[0]), "what is longer than the model reads is said in parts"
    assert "a word of more than the 20 tokens" in problems[0].reason
    assert pm.generate(model, {"title": texts[:1]}, columns="title", **needs)["sound"] == said[:1]
    other = tmp_path / "other.npy"
    np.save(other, np.full(4, 3.0, np.float32))
    heard = pm.generate(model, {"title": texts[:1]}, columns="title", **{**needs, "speaker": str(other)})["sound"]
    assert heard != said[:1]


def test_speecht5_says_what_it_lacks(spectral, tiny, tmp_path):
    model, needs = spectral
    wrong = tmp_path / "wrong.npy"
    np.save(wrong, np.zeros(5))
    tiny("speecht5", tmp_path / "bands", tmp_path / "s.npy", bands=6)
    for options, said in [
        ({}, "needs vocoder=FOLDER, its HiFi-GAN, and speaker=FILE.npy"),
        ({**needs, "speaker": str(wrong)}, "holds 5 numbers; the vector of a voice has 4"),
        ({**needs, "speaker": str(tmp_path / "none.npy")}, "does not exist"),
        ({**needs, "vocoder": str(tmp_path / "nothing")}, "is not there"),
        ({**needs, "vocoder": str(tmp_path / "bands")}, "6 bands, the voice"),
        ({**needs, "speed": 2.0}, "takes no 'speed'"),
        ({**needs, "preset": "v2/en_speaker_6"}, "takes no 'preset'"),
    ]:
        with pytest.raises(BadArgument) as refused:
            pm.generate(model, {"title": ["hello"]}, columns="title", **options)
        assert said in str(refused.value)


def test_a_waveform_model_by_its_own_call(tiny):
    """MusicGen, which samples."""
    model = tiny("musicgen")
    said = pm.generate(model, {"title": ["a b", "a b", None]}, columns="title")["sound"]
    assert read_sound(said[0]).rate == 8000
    assert said[0] != said[1]
    assert said[2] is None
    assert pm.generate(model, {"title": ["a b"]}, columns="title")["sound"] == said[:1]


def test_how_long_music_is(tiny):
    model, row = tiny("musicgen"), {"title": ["a b"]}
    for seconds in (0.01, 0.0204):
        said = read_sound(pm.generate(model, row, columns="title", seconds=seconds)["sound"][0])
        assert len(said.samples) == round(seconds * 8000)
    for seconds, message in ((0.5, "plays at most 0.062 s"), (0.0, "seconds must be above 0 and at most 3,600")):
        with pytest.raises(BadArgument, match=message):
            pm.generate(model, row, columns="title", seconds=seconds)
    with pytest.raises(BadArgument, match="takes no 'seconds'"):
        pm.generate(tiny("vits"), row, columns="title", seconds=1.0)


def test_a_text_that_is_cut_is_told(tiny, monkeypatch):
    model, problems = tiny("musicgen"), []
    tokenizer = type(network("AutoModelForTextToWaveform", "AutoProcessor", model)[0].tokenizer)
    short = tokenizer.__call__

    def cut(self, *args, **options):
        return short(self, *args, **(options if "add_special_tokens" in options else {**options, "max_length": 3,
                                                                                      "truncation": True}))  # fmt: skip

    monkeypatch.setattr(tokenizer, "__call__", cut)
    said = pm.generate(model, {"title": ["abcdef", "ab"]}, columns="title", problems=problems)["sound"]
    assert None not in said
    assert [(p.row, p.reason) for p in problems] == [("0", "is 6 tokens long, of which the model reads the first 3")]


def test_on_the_command_line(tiny, polymodal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny("vits")
    told = polymodal("generate", model, "--text", "hello", "--out", "hello.wav", "--seed", "3")
    assert told.code == 0, told.err
    assert (tmp_path / "hello.wav").read_bytes() == pm.generate(model, {"t": ["hello"]}, columns="t", seed=3)["sound"][
        0
    ]
    (tmp_path / "rows.csv").write_text("title\nhello\n42\n")
    told = polymodal("generate", model, "rows.csv", "--columns", "title", "--out", "said.jsonl", "--page", "said.html")
    assert told.code == 0, told.err
    assert pm.read_table("said.jsonl").column("sound") == ["said_sound/0.wav", None]
    assert soundfile.info("said_sound/0.wav").samplerate == 8000
    assert (tmp_path / "said.html").read_text().count("data:audio/") == 1


def test_waves_are_sixteen_bits_and_clipped():
    held = wav_bytes(np.array([0.0, 0.5, 2.0, -3.0], np.float32), 8000)
    info = soundfile.info(io.BytesIO(held))
    assert (info.format, info.subtype, info.samplerate) == ("WAV", "PCM_16", 8000)
    assert np.allclose(read_sound(held).samples, [0, 0.5, 1, -1], atol=1e-4)
