"""Metrics of drawn sounds: what they see, what they overlook, and the figures of a formula."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dct

from polymodal.metrics.sounds import Duration, MelCepstral, SoundEnergy, features
from polymodal.nn.signal.levels import SILENT, STEP


def spectrograms(count: int = 12, frames: int = 20, seed: int = 0) -> np.ndarray:
    """[N, 16, T, 1]: sounds of some frames, nothing behind."""
    rng = np.random.default_rng(seed)
    x = rng.integers(SILENT, 256, (count, 16, frames, 1)).astype(np.uint8)
    for row in range(count):
        x[row, :, 12 + row % 8 :] = 0
    return x


def test_mel_cepstral_is_the_formula_where_no_time_is_warped():
    a, b = spectrograms(1)[:, :, :1], spectrograms(1, seed=1)[:, :, :1]
    decibels = [x[0, :, 0, 0].astype(float) * STEP for x in (a, b)]
    c = [dct(x / 20 * np.log(10), norm="ortho") * np.sqrt(2 / 16) for x in decibels]  # log|H| = c_0/√2 + Σ c_m cos
    expected = 10 / np.log(10) * np.sqrt(2 * ((c[0] - c[1])[1:13] ** 2).sum())
    assert MelCepstral()(a, b[:, None]) == pytest.approx(expected, rel=1e-5)


def test_mel_cepstral_overlooks_tempo_and_loudness_and_sees_what_is_said():
    slow = spectrograms().repeat(2, axis=2)
    fast = spectrograms()
    held = np.zeros_like(slow)
    held[:, :, : fast.shape[2]] = fast
    assert MelCepstral()(slow, held[:, None]) == pytest.approx(0, abs=0.01)
    louder = np.where(fast > 0, np.minimum(fast, 200) + 40, 0)
    assert MelCepstral()(np.minimum(fast, 200), louder[:, None].astype(np.uint8)) == pytest.approx(0, abs=0.01)
    assert MelCepstral()(fast, fast[::-1][:, None]) > 5


def test_duration_is_a_share_of_the_true_one():
    truth = spectrograms(3)
    half = truth.copy()
    for row in range(3):
        half[row, :, (12 + row) // 2 :] = 0
    expected = np.mean([(n - n // 2) / n for n in (12, 13, 14)])
    assert Duration()(truth, half[:, None]) == pytest.approx(expected)
    assert Duration()(truth, truth[:, None]) == 0


def test_energy_prefers_sounds_to_their_mean_and_to_a_blur():
    truth = spectrograms(40)
    other = spectrograms(40, seed=1)
    mean = np.broadcast_to(truth.mean(0).astype(np.uint8), truth.shape)
    blurred = ((other.astype(int) + np.roll(other, 1, 2) + np.roll(other, 2, 2)) // 3).astype(np.uint8)
    two = np.stack([other, spectrograms(40, seed=2)], 1)
    still = np.stack([mean, mean], 1)
    unclear = np.stack([blurred, np.roll(blurred, 1, 0)], 1)
    of = [SoundEnergy()(truth, x) for x in (two, still, unclear)]
    assert of[0] < min(of[1:])
    assert SoundEnergy()(truth, truth[:, None]) == 0
    assert features(truth).shape == (40, 2 * 8 * 13)
