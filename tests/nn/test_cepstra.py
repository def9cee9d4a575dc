"""Cepstra against NumPy and SciPy, and on sounds whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dct
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from polymodal.core.errors import BadArgument
from polymodal.nn.signal.cepstra import LPCC, MFCC, autocorrelation, levinson, predictor_cepstrum

RATE, WINDOW, HOP = 8000, 200, 80
WAVES = np.random.default_rng(0).normal(size=(3, 2000)).cumsum(1) * 0.01


def framed(wave: np.ndarray, emphasis: float = 0.97) -> np.ndarray:
    wave = np.append(wave[0], wave[1:] - emphasis * wave[:-1])
    return np.stack([wave[i : i + WINDOW] for i in range(0, len(wave) - WINDOW + 1, HOP)]) * np.hamming(WINDOW)


def mfcc(wave: np.ndarray, count: int, mels: int, lifter: int) -> np.ndarray:
    """Davis & Mermelstein, band by band."""
    power = np.abs(np.fft.rfft(framed(wave))) ** 2
    edges = 700 * (10 ** (np.linspace(*(2595 * np.log10(1 + np.array([50, RATE / 2]) / 700)), mels + 2) / 2595) - 1)
    bins, spacing = np.arange(WINDOW // 2 + 1) * RATE / WINDOW, RATE / WINDOW
    bands = []
    for left, centre, right in zip(edges, edges[1:], edges[2:]):
        up = 1 - (centre - bins) / max(centre - left, spacing)
        down = 1 - (bins - centre) / max(right - centre, spacing)
        weights = np.maximum(np.minimum(up, down), 0)
        bands.append(power @ (weights / max(weights.sum(), 1e-6)))
    found = dct(np.log(np.maximum(np.stack(bands, 1), 1e-10)), norm="ortho", axis=1)[:, :count]
    return found * (1 + lifter / 2 * np.sin(np.pi * np.arange(count) / lifter)) if lifter else found


def lpcc(wave: np.ndarray, count: int, order: int) -> np.ndarray:
    """The predictor by solving the Toeplitz system, the cepstrum by the Fourier transform of the log envelope."""
    rows = []
    for frame in framed(wave):
        r = np.correlate(frame, frame, "full")[WINDOW - 1 : WINDOW + order]
        a = solve_toeplitz(r[:-1], r[1:])
        envelope = -np.log(np.abs(np.fft.fft(np.append(1, -a), 2**13)))
        c = 2 * np.fft.ifft(envelope).real[:count]
        c[0] = np.log(r[0] - a @ r[1:])
        rows.append(c)
    return np.stack(rows)


@pytest.mark.parametrize(("count", "mels", "lifter"), [(13, 26, 22), (20, 20, 0)])
def test_mfcc_agrees_with_numpy(count, mels, lifter):
    ours = MFCC(RATE, window=WINDOW, hop=HOP, count=count, mels=mels, lifter=lifter, dtype=torch.float64)
    found = ours(torch.from_numpy(WAVES)).numpy()
    reference = np.stack([mfcc(wave, count, mels, lifter) for wave in WAVES])
    assert found.shape == (3, 1 + (2000 - WINDOW) // HOP, count)
    assert np.abs(found - reference).max() < 1e-9


@pytest.mark.parametrize(("count", "order"), [(13, 10), (8, 12)])
def test_lpcc_agrees_with_scipy(count, order):
    ours = LPCC(RATE, window=WINDOW, hop=HOP, count=count, order=order, dtype=torch.float64)
    reference = np.stack([lpcc(wave, count, order) for wave in WAVES])
    assert np.abs(ours(torch.from_numpy(WAVES)).numpy() - reference).max() < 1e-7


def test_levinson_finds_the_filter_that_made_the_sound():
    a = np.array([1.3, -0.9, 0.2])
    sound = lfilter([1], np.append(1, -a), np.random.default_rng(1).normal(size=200_000))
    found, error = levinson(autocorrelation(torch.from_numpy(sound)[None], 3))
    np.testing.assert_allclose(found[0], a, atol=0.01)
    assert float(error[0]) / len(sound) == pytest.approx(1, abs=0.02)
    one_pole = predictor_cepstrum(torch.tensor([[0.5]]), torch.ones(1), 5)[0]
    np.testing.assert_allclose(one_pole, [0, 0.5, 0.25 / 2, 0.125 / 3, 0.0625 / 4], rtol=1e-6)  # ln 1/(1 - a/z)


@pytest.mark.parametrize("make", [MFCC, LPCC])
def test_batches_silence_and_short_sounds(make):
    ours = make(RATE, window=WINDOW, hop=HOP)
    wave = torch.from_numpy(WAVES).float()
    torch.testing.assert_close(ours(wave)[1:2], ours(wave[1:2]), rtol=1e-4, atol=1e-4)
    assert torch.isfinite(ours(torch.zeros(2, 1000))).all()
    assert ours(torch.ones(1, 5)).shape == (1, 1, 13)
    noisy = wave.clone().requires_grad_()
    ours(noisy).sum().backward()
    assert torch.isfinite(noisy.grad).all()
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(wave).dtype == torch.float32


def test_each_option_counts_and_bad_ones_are_refused():
    wave = torch.from_numpy(WAVES).float()
    base = MFCC(RATE, window=WINDOW, hop=HOP)(wave)
    for more in ({"mels": 30}, {"low": 300.0}, {"high": 3000.0}, {"emphasis": 0.0}, {"lifter": 0}):
        assert not torch.allclose(MFCC(RATE, window=WINDOW, hop=HOP, **more)(wave), base)
    with pytest.raises(BadArgument, match="at most mels"):
        MFCC(RATE, window=WINDOW, hop=HOP, count=30)
    with pytest.raises(BadArgument, match="order"):
        LPCC(RATE, window=WINDOW, hop=HOP, order=0)
    with pytest.raises(BadArgument, match="emphasis"):
        LPCC(RATE, window=WINDOW, hop=HOP, emphasis=1.0)
