"""Sounds: formats, channels, rates, lengths, broken files."""

import io

import numpy as np
import pytest
import soundfile
import torch

from polymodal.core.errors import BadArgument, BadCell
from polymodal.data.media.sound import Sound
from polymodal.process.audio import AudioProcessor


def tone(hertz=440.0, seconds=1.0, rate=16_000):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def encoded(samples, rate, form, subtype=None):
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=form, subtype=subtype)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_24"), ("FLAC", None), ("OGG", "VORBIS"), ("MP3", None)],
)
def test_formats(form, subtype):
    sound = AudioProcessor().read(encoded(tone(), 16_000, form, subtype))
    assert sound.rate == 16_000
    assert abs(len(sound.samples) - 16_000) < 2500
    middle = sound.samples[4000:12_000]
    peak = np.abs(np.fft.rfft(middle)).argmax() * 16_000 / len(middle)
    assert peak == pytest.approx(440, abs=4)


def test_channels_are_averaged():
    stereo = np.stack([tone(440), tone(880), -tone(440)], axis=1)
    sound = AudioProcessor().read(encoded(stereo, 16_000, "WAV"))
    assert sound.samples.ndim == 1
    assert np.abs(sound.samples - tone(880) / 3).max() < 1e-3


def test_beyond_full_scale_is_scaled_not_clipped():
    sound = AudioProcessor().read(encoded(8 * tone(), 16_000, "WAV", "FLOAT"))
    assert np.abs(sound.samples).max() == pytest.approx(1)
    assert np.corrcoef(sound.samples, tone())[0, 1] > 0.999


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "is empty"),
        (b"RIFF1234WAVE", "is no sound of a known form"),
        (b"no sound at all", "it looks like plain text"),
        (encoded(np.zeros(0, np.float32), 8000, "WAV"), "holds no sample"),
        (encoded(np.array([0.1, np.nan], np.float32), 8000, "WAV", "FLOAT"), "holds samples that are no numbers"),
        (encoded(np.array([0.1, np.inf], np.float32), 8000, "WAV", "FLOAT"), "holds samples that are no numbers"),
    ],
    ids=["empty", "a head alone", "text", "no sample", "nan", "infinite"],
)
def test_broken_files_are_bad_cells(data, word, tmp_path):
    with pytest.raises(BadCell, match=word):
        AudioProcessor().read(data)
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(BadCell, match=word):
        AudioProcessor().read(tmp_path / "a.wav")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadCell, match=r"'no\.wav' does not exist"):
        AudioProcessor().read(tmp_path / "no.wav")


def test_silence_and_one_sample_are_allowed():
    processor = AudioProcessor(rate=8000, seconds=0.5)
    cells = [processor.read(encoded(np.zeros(n, np.float32), 44_100, "WAV")) for n in (22_050, 1)]
    processor.fit(cells)
    arrays = processor.process(cells)
    assert arrays["samples"].shape == (2, 4000)
    assert not arrays["samples"].any()
    assert arrays["length"].tolist() == [4000, 1]


def test_rate_and_length_follow_training():
    processor = AudioProcessor()
    processor.fit([Sound(tone(rate=8000), 8000)] * 9 + [Sound(tone(seconds=3, rate=44_100), 44_100)])
    assert processor.facts() == {"rate": 8000, "length": round(np.quantile([1] * 9 + [3], 0.95) * 8000)}
    processor.fit([Sound(np.zeros(441_000 * 2, np.float32), 44_100)])
    assert processor.facts() == {"rate": 16_000, "length": 160_000}
    again = AudioProcessor()
    again.load_state(processor.state())
    assert again.facts() == processor.facts()


def test_resampling_keeps_the_tone_and_the_end_is_padded():
    processor = AudioProcessor(rate=8000, seconds=2)
    processor.fit([])
    arrays = processor.process([Sound(tone(440, 1, 44_100), 44_100), Sound(tone(440, 3, 8000), 8000)])
    assert arrays["samples"].dtype == np.int16
    assert arrays["length"].tolist() == [8000, 16_000]
    assert not arrays["samples"][0, 8000:].any()
    reference = (tone(440, 1, 8000) * 32767)[100:-100]
    assert np.abs(arrays["samples"][0, 100:7900] - reference).max() < 300


def test_no_more_is_read_than_is_kept():
    sound = AudioProcessor(seconds=0.25).read(encoded(tone(seconds=2), 16_000, "WAV"))
    assert len(sound.samples) == 4000


def test_noise_has_the_stated_ratio_and_leaves_padding():
    samples = torch.zeros(4, 8000, dtype=torch.int16)
    samples[:, :6000] = torch.from_numpy((tone(200, 0.75, 8000) * 3000).astype(np.int16))
    inputs = {"samples": samples, "length": torch.full((4,), 6000, dtype=torch.int32)}
    same = AudioProcessor().corrupt(inputs, 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(same["samples"], samples)
    noisy = AudioProcessor().corrupt(inputs, 0.5, torch.Generator().manual_seed(0))["samples"]
    noise = (noisy - samples).float()[:, :6000]
    assert noise.std() / samples[:, :6000].float().std() == pytest.approx(1.0, rel=0.05)
    assert not noisy[:, 6000:].any()


def test_options_are_checked():
    with pytest.raises(BadArgument, match="rate"):
        AudioProcessor(rate=8)
    with pytest.raises(BadArgument, match="seconds"):
        AudioProcessor(seconds=0)


def test_real_speech(real_data):
    folder = real_data("avdigits") / "audio"
    processor = AudioProcessor()
    cells = [processor.read(path) for path in sorted(folder.iterdir())[:8]]
    processor.fit(cells)
    assert processor.facts() == {"rate": 8000, "length": 8000}
    assert processor.process(cells)["samples"].std() > 500
