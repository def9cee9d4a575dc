"""Log-mel against an independent formula; waves with a known answer."""

import numpy as np
import pytest
import torch

from polymodal.nn.signal.spectral import LogMel, mel_bank


def test_parity_with_numpy():
    wave = np.random.default_rng(0).standard_normal(1000)
    layer = LogMel(8000, window=128, hop=50, mels=12)
    padded = np.pad(wave, 64)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(128) / 128)
    frames = np.stack([padded[i * 50 : i * 50 + 128] * taper for i in range(1000 // 50 + 1)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    expected = np.log(power @ mel_bank(8000, 128, 12, 50.0, 4000.0).numpy()).T
    found = layer(torch.from_numpy(wave)[None])[0].numpy()
    assert found.shape == (12, 21)
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize(("rate", "window", "mels"), [(8000, 256, 40), (16_000, 512, 64), (1000, 32, 40)])
def test_no_band_is_empty_and_bands_rise(rate, window, mels):
    bank = mel_bank(rate, window, mels, 50.0, rate / 2)
    assert torch.allclose(bank.sum(0), torch.ones(mels), atol=1e-5)
    centres = (bank * torch.arange(len(bank))[:, None]).sum(0)
    assert (centres.diff() >= -1e-4).all()


def test_a_tone_lights_its_band():
    time = torch.arange(4000) / 8000
    layer = LogMel(8000, window=256, hop=128, mels=40)
    bands = [int(layer(torch.sin(2 * torch.pi * f * time)[None])[0].mean(1).argmax()) for f in (300, 1000, 3000)]
    assert bands == sorted(set(bands))


def test_frames_within_a_length():
    layer = LogMel(8000, window=256, hop=100, mels=8)
    assert layer.frames(torch.tensor([0, 1, 100, 101, 1000])).tolist() == [1, 1, 1, 2, 10]
