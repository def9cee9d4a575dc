"""Sounds as targets: what cells they take, how they are kept, and a fit from words to sounds to files."""

from __future__ import annotations

import csv
import io
import json
import sys
import wave
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_generators import save_vocoder

import polymodal as pm
from polymodal import cli
from polymodal.core.errors import BadArgument, BadCell, BadData
from polymodal.core.types import Tokens
from polymodal.data.answers import faults, target_cells
from polymodal.data.media.sound import Sound, read_sound
from polymodal.data.tables.source import read_table
from polymodal.data.tables.write import write_columns
from polymodal.heads.flow import Flow
from polymodal.inference.generation import example, generated
from polymodal.nn.signal.levels import decibels_of, lengths
from polymodal.nn.signal.vocoder import vocoder_of
from polymodal.targets.base import Target, asked, fitted

RATE = 8000
QUICK = {
    "seeds": 1, "dim": 8, "workers": 0, "trackers": "none", "quiet": True, "fusion": ["concat"],
    "heads": {"sound": {"name": "flow", "channels": 4, "steps": 2, "depth": 1}}, "answer_training": {"epochs": 2},
}  # fmt: skip


def tone(hertz: float = 440.0, seconds: float = 0.3, rate: int = RATE, loud: float = 0.5) -> Sound:
    time = np.arange(round(seconds * rate), dtype=np.float32) / rate
    return Sound((loud * np.sin(2 * np.pi * hertz * time)).astype(np.float32), rate)


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    """A WAV file of floats [n] or [n, channels]."""
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples.clip(-1, 1) * 32767).round().astype("<i2").tobytes())
    return held.getvalue()


def of(cells, **options) -> Target:
    return fitted("sound", {"name": "sound", "mels": 16, **options}, cells)


def pitch(samples: np.ndarray, rate: int) -> float:
    """The loudest frequency in Hz."""
    return float(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * rate / len(samples))


def test_rate_and_length_are_those_of_the_training_sounds():
    target = of([tone(), tone(rate=16000), tone(rate=16000), tone(rate=48000, seconds=0.2)])
    assert (target.hertz, target.window, target.hop) == (16000, 1024, 256)
    assert target.length == pytest.approx(0.3, abs=0.02)
    assert target.shape == (1, 16, target.frames)
    assert of([tone()], rate=11025).hertz == 11025
    assert of([tone(), tone(seconds=9.0)]).length == pytest.approx(4.0, abs=0.05), "as long as is kept unless asked"
    assert of([tone()], seconds=1.5).length == pytest.approx(1.5, abs=0.02)
    assert target.summary == "sounds of up to 0.304 s at 16,000 Hz"
    again = Target.from_json(json.loads(json.dumps(target.to_json())))
    assert again == target


def test_a_longer_sound_is_cut_and_said_to_be():
    cells = [tone()] * 30 + [tone(seconds=0.8), None, BadCell("is cut short")]
    target = of(cells[:30])
    assert target.remarks(cells[:30]) == []
    (said,) = target.remarks(cells)
    assert "1 of 33 sounds are longer than 0.304 s: only their beginning" in said
    beginning = target.encode([tone(seconds=0.304)])
    assert np.array_equal(target.encode([tone(seconds=0.8)])[:, 1 : 1 + 16], beginning[:, 1 : 1 + 16])


def test_missing_broken_and_silent_cells():
    target = of([tone(), BadCell("is cut short")])
    silent = Sound(np.zeros(2400, np.float32), RATE)
    cells = [tone(), None, BadCell("is cut short"), silent]
    encoded = target.encode(cells)
    assert target.known(encoded).tolist() == [True, False, False, True]
    assert target.unseen(cells) == {"is cut short": 1}
    assert np.isnan(target.truth(encoded)[1:3]).all()
    quiet = target.truth(target.encode([silent]))[0]
    assert not np.abs(target.wave(quiet)).max() > 0.01, "silence is a sound"
    assert len(target.wave(quiet)) == pytest.approx(2400, abs=target.hop)
    with pytest.raises(BadData, match="every training sound is silent"):
        of([silent, silent])
    with pytest.raises(BadData, match="no training sound can be opened: it is cut short"):
        of([BadCell("is cut short")])


def test_one_sample_is_a_sound():
    target = of([tone(), Sound(np.ones(1, np.float32), RATE)])
    fields = target.truth(target.encode([Sound(np.ones(1, np.float32), RATE)]))
    assert len(target.wave(fields[0])) == target.hop
    assert read_sound(target.file(fields[0])).rate == RATE
    alone = of([Sound(np.ones(1, np.float32), RATE)])
    assert alone.frames == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 100}, "rate must be between 4,000 and 48,000 Hz; got 100"),
        ({"seconds": 0.0}, "seconds must be between 0.1 and 20; got 0.0"),
        ({"mels": 4}, "mels must be between 8 and 128 bands; got 4"),
        ({"bands": 4}, "Unknown argument 'bands' of sound"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(BadArgument, match=message):
        of([tone()], **options)


@pytest.mark.parametrize("hertz", [300.0, 1000.0])
def test_a_wave_comes_back_with_its_pitch_its_length_and_its_loudness(hertz):
    target = of([tone(), tone(seconds=0.5)], mels=48)
    given = tone(hertz, 0.25)
    back = target.wave(target.truth(target.encode([given]))[0])
    assert len(back) / RATE == pytest.approx(0.25, abs=2 * target.hop / RATE)
    assert pitch(back, RATE) == pytest.approx(hertz, rel=0.06)
    inner = slice(target.window, -target.window)
    assert np.sqrt((back[inner] ** 2).mean()) == pytest.approx(0.5 / 2**0.5, rel=0.25)
    assert np.array_equal(back, target.wave(target.truth(target.encode([given]))[0])), "always alike"


def test_cells_are_opened_as_those_of_audio_columns(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(tone(rate=22050).samples, 22050))
    left = tone().samples
    (tmp_path / "b.wav").write_bytes(wav(np.stack([left, 0 * left], 1)))
    (tmp_path / "broken.wav").write_bytes(b"RIFF no more")
    (tmp_path / "long.wav").write_bytes(wav(tone(seconds=8.0).samples))
    (tmp_path / "t.csv").write_text(
        "word,said\na,a.wav\nb,b.wav\nc,broken.wav\nd,\ne,none.wav\nf,long.wav\n", encoding="utf-8"
    )
    table, target = read_table(tmp_path / "t.csv"), asked("said", {"name": "sound", "mels": 8})
    cells = target_cells(table, target)
    assert [type(cell).__name__ for cell in cells] == ["Sound", "Sound", "BadCell", "NoneType", "BadCell", "Sound"]
    assert [cells[i].rate for i in (0, 1)] == [16000, RATE], "no faster than is drawn"
    np.testing.assert_allclose(cells[1].samples, left / 2, atol=1e-3)
    assert 4.0 < cells[5].seconds < 4.2, "no more is held of it than shows that it is longer"
    found = faults(table, target, cells)
    assert [(one.row, one.column) for one in found] == [("2", "said"), ("4", "said")]
    assert "does not exist" in found[1].reason


def words_and_sounds(folder, rows: int = 60) -> None:
    """A CSV from words to tones, low and long or high and short, of which one is broken."""
    lines = []
    for i in range(rows):
        high = i % 2
        sound = tone((300, 1500)[high] * (1 + i / 1000), (0.4, 0.2)[high])
        (folder / f"{i}.wav").write_bytes(wav(sound.samples))
        lines.append([("low", "high")[high], str(i % 3), f"{i}.wav"])
    (folder / "5.wav").write_bytes(b"no sound")
    with open(folder / "data.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["word", "number", "sound"], *lines])


def test_from_words_to_sounds_to_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    words_and_sounds(tmp_path)
    asked_for = {"target": {"sound": {"kind": "sound", "mels": 8}}, "kinds": {"word": "text"}}
    resolved = pm.plan(tmp_path / "data.csv", schema=asked_for, **{k: v for k, v in QUICK.items() if k != "quiet"})
    assert "Target: sound (sounds of up to 0.4 s at 8,000 Hz), judged by energy_sound." in resolved.text()
    run = pm.fit(tmp_path / "data.csv", schema=asked_for, out=tmp_path / "run", deploy="concat", **QUICK)
    aside = [json.loads(line) for line in (tmp_path / "run" / "set_aside.jsonl").read_text("utf-8").splitlines()]
    assert [(one["row"], one["column"]) for one in aside] == [("5", "sound")]
    rows = {row["strategy"]: row for row in run.leaderboard}
    assert float(rows["nearest"]["test_mean"]) < float(rows["chance"]["test_mean"])
    told = json.loads((tmp_path / "run" / "evaluation.json").read_text("utf-8"))["verdict"]["sentences"]
    assert any(line.startswith("The drawn sounds (") for line in told)

    data = {"word": ["high", "low", None], "number": ["1", None, None]}
    answers = pm.load(tmp_path / "run").predict(data)
    write_columns(answers, tmp_path / "answers.csv", files=True)
    with open(tmp_path / "answers.csv", encoding="utf-8") as file:
        paths = [line["sound"] for line in csv.DictReader(file)]
    assert paths == [f"answers_sound/{row}.wav" for row in range(3)]
    assert all(read_sound(tmp_path / path).rate == RATE for path in paths)
    cells = target_cells(read_table(tmp_path / "answers.csv"), run.predictor.targets[0])
    assert all(isinstance(one, Sound) for one in cells), "what is written can be read as a target"

    several = run.generate(data, n=2)
    assert set(several) >= {"sound", "sound_2"}
    assert several["sound"] == answers["sound"]
    assert several["sound_2"] != several["sound"]
    assert run.generate(data, seed=3)["sound"] != several["sound"]
    assert generated(run.predictor, read_table({"word": ["low"], "number": [None]}), guidance=0.0)["sound"][0]
    with pytest.raises(BadArgument, match="Unknown option 'temperature' of drawing by Flow"):
        run.generate(data, temperature=0.7)

    def polymodal(*arguments) -> int:
        monkeypatch.setattr(sys, "argv", ["polymodal", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0

    asked_of = ("generate", run.folder, "--text", "high", "--n", "2", "--set", "guidance=1")
    assert polymodal(*asked_of, "--out", tmp_path / "spoken") == 0
    with open(tmp_path / "spoken" / "generated.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert [read_sound(tmp_path / "spoken" / row[name]).rate for name in ("sound", "sound_2")] == [RATE, RATE]
    assert polymodal(*asked_of) != 0
    assert "sound is a file a row, which needs a place: give --out" in capsys.readouterr().err

    found = run.evaluate(tmp_path / "data.csv", out=tmp_path / "report", quiet=True)
    assert set(found["metrics"]) == {"energy_sound", "mel_cepstral", "duration"}
    assert all(np.isfinite(value) for value in found["metrics"].values())
    assert found["data"]["judged"]["judged"] == 59
    assert run.explain(data, limit=2)[0]["unit"] == "likeness of the sound"
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    trio = html.split('<div class="trio">')[1].split("</div>")[0]
    assert trio.count("<audio controls") == trio.count('src="data:audio/wav;base64,') == 3
    assert trio.count('src="data:image/png;base64,') == 3
    assert "<h2>Sounds</h2>" in html


@pytest.fixture
def spoken(tmp_path):
    """The folder of a tiny vocoder of 16 bands at 8 kHz, 64 samples a frame."""
    pytest.importorskip("transformers", reason="needs the extra hf")
    torch.manual_seed(0)
    return save_vocoder(tmp_path / "vocoder")


def test_a_vocoder_decides_what_is_drawn(spoken):
    target = fitted("sound", {"name": "sound", "vocoder": spoken}, [tone(), tone(rate=16000), BadCell("is cut short")])
    assert (target.hertz, target.bands, target.window, target.hop) == (8000, 16, 256, 64)
    assert target.shape == (1, 16, 38)
    assert target.summary == "sounds of up to 0.304 s at 8,000 Hz, by the vocoder vocoder"
    assert asked("sound", {"name": "sound", "vocoder": spoken}).fastest == 8000, "before it is fitted too"
    again = Target.from_json(json.loads(json.dumps(target.to_json())))
    assert again == target
    silent = Sound(np.zeros(2400, np.float32), RATE)
    fields = target.truth(target.encode([tone(), silent, tone(seconds=0.1)]))
    waves = [target.wave(one) for one in fields]
    assert [len(one) for one in waves] == [38 * 64, 38 * 64, 13 * 64], "as long as the field says"
    assert all(np.array_equal(again.wave(one), wave) for one, wave in zip(fields, waves)), "one by one, and read back"
    assert read_sound(target.file(fields[0])).rate == 8000
    alike = vocoder_of(spoken).wave(torch.from_numpy(10 ** (decibels_of(fields[0, ..., 0], target.top) / 20)))
    assert np.array_equal(waves[0], alike.numpy()), "the vocoder's own wave"
    (said,) = target.remarks([tone()])
    assert "was saved without statistics (mean 0, scale 1)" in said
    with pytest.raises(BadData, match="every training sound is silent"):
        fitted("sound", {"name": "sound", "vocoder": spoken}, [silent])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 16000}, "rate=16000, and the vocoder .* was trained on 8000: leave rate out"),
        ({"mels": 48}, "mels=48, and the vocoder .* was trained on 16: leave mels out"),
        ({"vocoder": "/nowhere/v"}, "The model's folder '/nowhere/v' is not there"),
    ],
)
def test_what_a_vocoder_does_not_fit(spoken, options, message):
    with pytest.raises(BadArgument, match=message):
        fitted("sound", {"name": "sound", "vocoder": spoken, **options}, [tone()])


def test_another_vocoder_in_its_place_is_told(spoken, tmp_path):
    target = fitted("sound", {"name": "sound", "vocoder": spoken}, [tone()])
    torch.manual_seed(1)
    other = replace(target, vocoder=save_vocoder(tmp_path / "other"))
    with pytest.raises(BadData, match="is not the one that the target 'sound' was fitted for: its weights"):
        other.wave(target.truth(target.encode([tone()]))[0])


def test_a_run_speaks_by_its_vocoder(spoken, tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    words_and_sounds(tmp_path)
    asked_for = {"target": {"sound": {"kind": "sound", "vocoder": spoken}}, "kinds": {"word": "text"}}
    run = pm.fit(tmp_path / "data.csv", schema=asked_for, out=tmp_path / "run", deploy="concat", **QUICK)
    rows = {"word": ["high", "low", None], "number": ["1", None, None]}
    together = run.predict(rows)["sound"]
    assert len(set(together)) == 3
    for count in (1, 2):
        assert run.predict({name: cells[:count] for name, cells in rows.items()})["sound"] == together[:count]
    assert read_sound(together[0]).rate == 8000
    assert np.isfinite(run.evaluate(tmp_path / "data.csv", quiet=True)["metrics"]["mel_cepstral"])
    (tmp_path / "vocoder").rename(tmp_path / "moved")
    vocoder_of.cache_clear()
    with pytest.raises(BadArgument, match="Put it back, or let POLYMODAL_MODELS name the folder"):
        pm.load(tmp_path / "run").predict(rows)
    monkeypatch.setenv("POLYMODAL_MODELS", str(tmp_path / "shelf"))
    (tmp_path / "shelf").mkdir()
    (tmp_path / "moved").rename(tmp_path / "shelf" / "vocoder")
    assert pm.load(tmp_path / "run").predict(rows)["sound"] == together


def test_a_word_that_was_taken_for_a_category_is_given_as_text(tmp_path):
    words_and_sounds(tmp_path)
    schema = pm.plan(tmp_path / "data.csv", target="sound").schema
    assert [one.kind for one in schema.fields.values()] == ["table"]
    predictor = SimpleNamespace(schema=schema, streams=tuple(schema.fields))
    assert example(predictor, {"text": ["word=high"]}).data == {"word": ["high"]}
    with pytest.raises(BadArgument, match="several: say COLUMN=VALUE, of word, number"):
        example(predictor, {"text": ["high"]})
    with pytest.raises(BadArgument, match="of streams of this kind the model reads none"):
        example(predictor, {"image": ["a.png"]})


def test_a_flow_learns_what_a_word_sounds_like_and_how_long_it_is():
    torch.manual_seed(0)
    kinds = torch.arange(16) % 2
    sounds = [tone((300, 1500)[kind] * (1 + i / 1000), (0.4, 0.2)[kind]) for i, kind in enumerate(kinds)]
    target = of(sounds, mels=8)
    truth = torch.from_numpy(target.encode(sounds))
    words = Tokens.of_pooled(torch.eye(8)[kinds], torch.ones(16, 1, dtype=torch.bool))
    head = Flow(8, target, channels=8, steps=10)
    steps = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(200):
        loss = head.train().loss(words, truth)
        steps.zero_grad()
        loss.backward()
        steps.step()
    drawn = head.eval().draw(words, torch.arange(16), guidance=1.0)[:, 0].numpy()
    low, high = drawn[::2], drawn[1::2]
    assert np.median(lengths(low)) == target.frames == 25
    assert np.median(lengths(high)) == pytest.approx(13, abs=2)
    bands = [np.median(one[:, :, 2:10].mean(2).argmax(1)) for one in (low, high)]
    real = target.truth(truth.numpy())[:2, :, 2:10, 0].mean(2).argmax(1)
    assert bands == real.tolist()


def test_a_column_of_sound_files_is_told_to_be_one(tmp_path):
    words_and_sounds(tmp_path, rows=12)
    resolved = pm.plan(tmp_path / "data.csv", "sound")
    assert resolved.targets[0].kind == "sound"
    inspected = pm.inspect(tmp_path / "data.csv", "sound")
    assert [(one.row, one.column) for one in inspected.misfits] == [("5", "sound")]


def test_a_gan_draws_no_sounds(tmp_path):
    words_and_sounds(tmp_path, rows=12)
    asked_for = {"target": {"sound": "sound"}, "kinds": {"word": "text"}}
    with pytest.raises(BadArgument, match="The head gan answers picture; the target 'sound' is sound"):
        pm.plan(tmp_path / "data.csv", schema=asked_for, heads={"sound": "gan"})
