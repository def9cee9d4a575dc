"""From spectrograms to waves, lengths as bytes, and time warping, against other libraries and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polymodal.nn.signal.dtw import warped
from polymodal.nn.signal.levels import LOUD, SILENT, STEP, decibels_of, lengths, levels_of
from polymodal.nn.signal.phase import bins_of, griffin_lim
from polymodal.nn.signal.spectral import mel_bank

WINDOW, HOP = 256, 64


def speechlike(seed: int = 0) -> torch.Tensor:
    """A voice-like wave: harmonics of a gliding pitch under a swelling loudness."""
    time = torch.arange(64 * HOP) / 8000
    phase = 2 * torch.pi * (120 * time + 30 * time**2)
    harmonics = sum(torch.sin(k * phase + k + seed) / k for k in range(1, 12))
    return harmonics * torch.sin(torch.pi * time / time[-1]) * 0.2


def amplitude(x: torch.Tensor) -> torch.Tensor:
    taper = torch.hann_window(WINDOW)
    return torch.stft(x, WINDOW, HOP, window=taper, pad_mode="constant", return_complex=True).abs().T


def away(given: torch.Tensor, found: torch.Tensor) -> float:
    """Spectral convergence: the distance of amplitudes as a share of those wanted."""
    return float((amplitude(found) - given).norm() / given.norm())


def test_phases_fit_and_momentum_helps():
    given = amplitude(speechlike())
    found = {m: away(given, griffin_lim(given, window=WINDOW, hop=HOP, momentum=m)) for m in (0.0, 0.99)}
    random = away(given, griffin_lim(given, window=WINDOW, hop=HOP, rounds=0))
    assert found[0.99] < found[0.0] < random / 3
    assert found[0.99] < 0.05


def test_the_same_amplitudes_always_sound_alike():
    given = amplitude(speechlike())
    a, b = (griffin_lim(given, window=WINDOW, hop=HOP, rounds=4) for _ in range(2))
    assert torch.equal(a, b)
    assert a.shape == (64 * HOP,)
    assert not torch.equal(a, griffin_lim(given, window=WINDOW, hop=HOP, rounds=4, seed=1))
    assert griffin_lim(0 * given, window=WINDOW, hop=HOP).abs().max() == 0, "silence is silent, not NaN"


def test_bins_are_the_least_squares_of_bands_and_none_is_below_0():
    nnls = pytest.importorskip("scipy.optimize").nnls
    bank = mel_bank(8000, WINDOW, 20, 50, 4000)
    bands = amplitude(speechlike())[20:23].square() @ bank
    found = bins_of(bands, bank, rounds=2000)
    assert (found >= 0).all()
    for ours, band in zip(found, bands):
        missed = nnls(bank.T.double().numpy(), band.double().numpy())[1]
        ours_missed = float((ours @ bank - band).norm())
        assert ours_missed <= missed + 1e-3 * float(band.norm())
    assert (bins_of(bands, bank) @ bank - bands).norm() < 0.05 * bands.norm(), "as many rounds as are usual"


def test_loudness_as_bytes_and_back():
    loud = np.linspace(-90, 0, 50, dtype=np.float32)
    levels = levels_of(loud, 0.0)
    assert levels.min() == SILENT
    assert levels.max() == LOUD
    np.testing.assert_allclose(decibels_of(levels, 0.0), loud.clip(-80), atol=STEP / 2 + 1e-4)
    assert decibels_of(np.zeros(1, np.uint8), 5.0)[0] == pytest.approx(-75)


def test_lengths_are_read_off_also_where_a_drawing_is_unclear():
    rng = np.random.default_rng(0)
    clear = np.zeros((4, 12, 30), np.float32)
    for row, length in enumerate((1, 7, 20, 30)):
        clear[row, :, :length] = SILENT if row % 2 else 120
    assert lengths(clear).tolist() == [1, 7, 20, 30]
    noisy = (clear + rng.normal(0, 12, clear.shape)).clip(0, 255).round().astype(np.uint8)
    assert np.abs(lengths(noisy) - [1, 7, 20, 30]).max() <= 1
    noisy[1, :, 25] = 255  # a click behind the end is no sound of 25 frames
    assert abs(int(lengths(noisy)[1]) - 7) <= 1
    assert lengths(np.zeros((1, 3, 5), np.uint8)).tolist() == [1]


def test_warping_is_that_of_plain_loops():
    rng = np.random.default_rng(1)
    cost = rng.random((6, 9, 7))
    a, b = np.array([9, 1, 4, 9, 2, 6]), np.array([7, 7, 1, 3, 2, 6])

    def plain(one: np.ndarray) -> float:
        best: dict[tuple[int, int], tuple[float, int]] = {}
        for i in range(one.shape[0]):
            for j in range(one.shape[1]):
                before = [best[at] for at in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if at in best]
                total, steps = min(before, key=lambda pair: pair[0]) if before else (0.0, 0)
                best[i, j] = total + one[i, j], steps + 1
        total, steps = best[one.shape[0] - 1, one.shape[1] - 1]
        return total / steps

    expected = [plain(one[:m, :n]) for one, m, n in zip(cost, a, b)]
    np.testing.assert_allclose(warped(cost, a, b), expected)
    np.testing.assert_allclose(warped(np.stack([1 - np.eye(5)]), np.array([5]), np.array([5])), 0, atol=0)
