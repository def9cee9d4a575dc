"""Cleaning sound: planted faults are found, and good sounds are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from ops import run

from polymodal.core.errors import BadArgument
from polymodal.data.media.sound import Sound
from polymodal.ops.clean.audio import activity, bit_error, clipped_share, fingerprint, levels, loudness

RATE = 8000


def voice(seed: int, seconds: float = 1.0, rate: int = RATE) -> Sound:
    """Harmonics under a moving envelope, in short syllables."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    pitch = rng.uniform(90, 200) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(1, 4) * t))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    weights = rng.uniform(0, 1, 16) / np.arange(1, 17) ** 0.5
    tone = sum(w * np.sin((k + 1) * phase) for k, w in enumerate(weights))
    pulses = np.clip(np.sin(2 * np.pi * rng.uniform(2, 5) * t + rng.uniform(0, 6)), 0, 1)
    steps = np.interp(t, np.linspace(0, seconds, 12), rng.uniform(0.2, 1, 12))
    return Sound((0.2 * tone * pulses * steps / np.abs(tone).max()).astype(np.float32), rate)


def noisy(sound: Sound, snr: float, seed: int = 0) -> Sound:
    noise = np.random.default_rng(seed).normal(0, 1, len(sound.samples))
    noise *= np.sqrt((sound.samples**2).mean() / 10 ** (snr / 10))
    return Sound((sound.samples + noise).astype(np.float32), sound.rate)


def snr(clean: Sound, found: Sound) -> float:
    return 10 * np.log10((clean.samples**2).sum() / ((found.samples - clean.samples) ** 2).sum())


VOICES = [voice(seed) for seed in range(5)]


def test_silent_and_clipped():
    hush = Sound(np.full(RATE, 1e-5, np.float32), RATE)
    loud = Sound(np.clip(VOICES[0].samples * 30, -0.5, 0.5), RATE)
    assert set(run("silent", [hush, Sound(np.zeros(RATE, np.float32), RATE), *VOICES, None], "audio")[1]) == {0, 1}
    assert set(run("clipped", [loud, *VOICES], "audio")[1]) == {0}
    assert not run({"clipped": {"above": 0.99}}, [loud], "audio")[1]
    assert set(run({"silent": {"below": 0.0}}, VOICES, "audio")[1]) == set(range(5))
    assert clipped_share(np.zeros(10, np.float32)) == 0
    with pytest.raises(BadArgument, match="above must be at least"):
        run({"clipped": {"above": 2}}, VOICES, "audio")


def test_trim_cuts_the_quiet_ends():
    ends = 0.001 * np.random.default_rng(0).normal(0, 1, 4000).astype(np.float32)
    tone = 0.3 * np.sin(np.arange(8000) * 0.3).astype(np.float32)
    whole = Sound(np.concatenate([ends, tone, ends]), RATE)
    cut = run("trim", [whole], "audio")[0][0]
    assert len(cut.samples) == pytest.approx(8000 + 2 * 0.05 * RATE, abs=2 * 0.02 * RATE)
    assert len(run({"trim": {"keep": 0.2}}, [whole], "audio")[0][0].samples) > len(cut.samples) + 2000
    assert len(run({"trim": {"below": 90.0}}, [whole], "audio")[0][0].samples) == 16000
    steady = Sound(tone, RATE)
    assert run("trim", [steady], "audio")[0][0] is steady
    assert activity(whole, 6).sum() * 0.02 == pytest.approx(1.0, abs=0.05)


def test_resample_and_loudness():
    pytest.importorskip("pyloudnorm")
    fast = run({"resample": {"rate": 16000}}, VOICES[:1], "audio")[0][0]
    assert (fast.rate, len(fast.samples)) == (16000, 16000)
    assert run({"resample": {"rate": RATE}}, VOICES[:1], "audio")[0][0] is VOICES[0]
    levelled = run("loudness", [*VOICES, voice(9, 0.3)], "audio")[0]
    assert [loudness(s) for s in levelled] == pytest.approx([-23.0] * 6, abs=0.2)
    spike = Sound(np.r_[np.full(RATE, 1e-3), 0.5, np.zeros(99)].astype(np.float32), RATE)
    assert np.abs(run({"loudness": {"target": -5.0}}, [spike], "audio")[0][0].samples).max() <= 10 ** (-1 / 20) + 1e-6
    hush = Sound(np.zeros(RATE, np.float32), RATE)
    assert run("loudness", [hush], "audio")[0][0] is hush
    for op in ({"resample": {"rate": 10}}, {"loudness": {"target": 5}}):
        with pytest.raises(BadArgument):
            run(op, VOICES, "audio")


@pytest.mark.parametrize("level", [0, 5, 10])
def test_gate_raises_the_signal_to_noise_ratio(level):
    gained = [snr(v, run("gate", [noisy(v, level, i)], "audio")[0][0]) - level for i, v in enumerate(VOICES)]
    assert np.mean(gained) > 2.0
    mild = snr(VOICES[0], run({"gate": {"most": 1.0}}, [noisy(VOICES[0], level)], "audio")[0][0]) - level
    assert mild < gained[0]


def test_gate_leaves_short_and_two_channel_sounds_whole():
    short = Sound(np.ones(100, np.float32), RATE)
    assert run("gate", [short], "audio")[0][0] is short
    both = Sound(np.stack([VOICES[0].samples, VOICES[1].samples], 1), RATE)
    assert run("gate", [both], "audio")[0][0].samples.shape == both.samples.shape
    for bad in ({"most": 0}, {"quiet": 0}, {"quiet": 1}):
        with pytest.raises(BadArgument, match="(most|quiet) must be above 0"):
            run({"gate": bad}, VOICES, "audio")
    with pytest.raises(BadArgument, match="below .*a number"):
        run({"gate": {"below": float("nan")}}, VOICES, "audio")


def test_gate_harms_no_sound_that_is_nearly_clean():
    for i, clean in enumerate(VOICES):
        faint = noisy(clean, 20, i)
        assert snr(clean, run("gate", [faint], "audio")[0][0]) > 19.5
        hush = noisy(clean, 40, i)
        for still in (hush, Sound(np.zeros(RATE, np.float32), RATE)):
            assert run("gate", [still], "audio")[0][0] is still
        assert run({"gate": {"below": 90.0}}, [hush], "audio")[0][0] is not hush
        assert run({"gate": {"below": 5.0}}, [faint], "audio")[0][0] is faint


def test_the_same_sound_is_found_by_its_fingerprint():
    first = VOICES[0]
    quiet = Sound(first.samples * 0.3, RATE)
    other_rate = run({"resample": {"rate": 11025}}, [first], "audio")[0][0]
    late = Sound(np.concatenate([np.zeros(1000, np.float32), first.samples]), RATE)
    aside = run("same_sound", [*VOICES, quiet, other_rate, noisy(first, 25), late, None], "audio")[1]
    assert set(aside) == {5, 6, 7, 8}
    assert aside[5] == "x: the same sound as row 0"
    assert min(bit_error(fingerprint(a), fingerprint(b), 40) for i, a in enumerate(VOICES) for b in VOICES[:i]) > 0.3
    assert (
        8 not in run({"same_sound": {"shift": 0.0}}, [*VOICES, quiet, other_rate, noisy(first, 25), late], "audio")[1]
    )
    assert not run({"same_sound": {"differing": 0.001}}, [first, noisy(first, 5)], "audio")[1]
    with pytest.raises(BadArgument, match="differing must be above"):
        run({"same_sound": {"differing": 0.7}}, VOICES, "audio")


def test_levels_of_a_full_tone():
    tone = Sound(np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32), RATE)
    assert levels(tone) == pytest.approx(-3.01, abs=0.02)
