"""Hand-made features of sound: cepstra, spectral shape, pitch, and how they change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from polymodal.core.values import check_range
from polymodal.encoders.audio import levelled
from polymodal.encoders.features import FeatureEncoder, moments, quantiles, stretches
from polymodal.nn.signal.cepstra import cosine_matrix
from polymodal.nn.signal.spectral import mel_bank

FLOOR = 1e-4  # of power, as in `nn.signal.spectral`
MOST_FRAMES = 512
LOWEST = 200.0  # Hz, the upper edge of the first band of the spectral contrast
LOUD = 35.0  # dB below its loudest frame: where a sound counts as begun
ROLLOFF = 0.85
PITCH = (75.0, 500.0)  # Hz; longer periods would wrap around in the frame
SHARES = (0.1, 0.5, 0.9)


class AudioMFCC(FeatureEncoder):
    """Statistics of frames of some 32 ms every 16 ms or more (at most 512): what shallow learners read of a sound.

    Of every frame: `count` mel-frequency cepstral coefficients (Davis & Mermelstein 1980) of `mels` bands, and their
    first and second slopes (Furui 1986); spectral contrast in octaves (Jiang et al. 2002); centroid, bandwidth,
    rolloff, flatness, rate of zero crossings, level, the highest peak of the autocorrelation and the pitch that it
    tells. Of each: mean, spread, skewness and three quantiles over the sound; of slopes the spread and mean size. Then
    the cepstra in `parts` equal stretches between the first and the last loud frame, and how long that is.

    The wave is levelled to RMS 1; its level is one feature.
    """

    processor = "audio"
    bank: Tensor
    cosines: Tensor
    taper: Tensor

    def __init__(self, facts: Mapping[str, Any], dim: int, *, count: int = 20, mels: int = 40, parts: int = 6):
        super().__init__(facts, dim)
        check_range("[1, inf)", mels=mels, parts=parts)
        check_range(f"[1, {mels}]", count=count)
        self.count, self.mels, self.parts = count, mels, parts
        rate, length = int(facts["rate"]), int(facts["length"])
        self.rate = rate
        self.window = 2 ** round(math.log2(0.032 * rate))
        self.hop = max(self.window // 2, -(-length // MOST_FRAMES))
        self.octaves = _octaves(rate, self.window)
        self.register_buffer("bank", mel_bank(rate, self.window, mels, 50.0, rate / 2), persistent=False)
        self.register_buffer("cosines", cosine_matrix(mels, count), persistent=False)
        self.register_buffer("taper", torch.hann_window(self.window), persistent=False)
        blank = {"samples": torch.zeros(1, length, dtype=torch.int16), "length": torch.ones(1, dtype=torch.int32)}
        self._measured(blank)

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        samples, length = inputs["samples"], inputs["length"].clamp(min=1)
        wave = levelled(samples, length)
        frames = F.pad(wave, (self.window // 2, self.window // 2)).unfold(1, self.window, self.hop)
        count = (length.long() - 1) // self.hop + 1
        real = torch.arange(frames.shape[1], device=wave.device) < count[:, None]
        spectrum = torch.view_as_real(torch.fft.rfft(frames * self.taper)).square().sum(-1)  # [B, T, bins]
        bands = (spectrum @ self.bank).clamp(min=FLOOR).log()
        cepstra = bands @ self.cosines
        shape = self._shape(frames, spectrum)
        level = shape[..., :1]
        start, end = _loud(level[..., 0], real)
        slopes = _slopes(cepstra, count)
        curves = _slopes(slopes, count)
        whole = torch.cat([cepstra, shape], 2)
        told = [*moments(whole, real), quantiles(whole, real, SHARES).flatten(1)]
        for change in (slopes, curves):
            told += [moments(change, real)[1], moments(change.abs(), real)[0]]
        told += [moments(bands, real)[1]]
        mean = told[0][:, : self.count]
        told += [(stretches(cepstra, start, end, self.parts) - mean[:, None]).flatten(1)]
        told += [stretches(shape, start, end, self.parts).flatten(1)]
        told += [((end - start) / frames.shape[1])[:, None], (start / frames.shape[1])[:, None]]
        told += [_level(samples, length)]
        return torch.cat(told, 1)

    def _shape(self, frames: Tensor, spectrum: Tensor) -> Tensor:
        """[B, T, K] of each frame: level first, then the shape of its spectrum and its pitch."""
        bins = torch.linspace(0, 1, spectrum.shape[2], device=frames.device)
        power = spectrum + FLOOR
        share = power / power.sum(2, keepdim=True)
        centre = share @ bins
        width = ((share * (bins - centre[..., None]).square()).sum(2)).sqrt()
        rolloff = (share.cumsum(2) < ROLLOFF).float().mean(2)
        flatness = power.log().mean(2) - power.mean(2).log()
        level = power.mean(2).log()
        crossings = ((frames[..., 1:] >= 0) != (frames[..., :-1] >= 0)).float().mean(2)
        told = [level, centre, width, rolloff, flatness, crossings, *self._pitch(spectrum)]
        return torch.stack([*told, *self._contrast(power)], 2)

    def _pitch(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """How periodic each frame is, 0 to 1, and the logarithm of its pitch in kHz times that."""
        likeness = torch.fft.irfft(spectrum)
        # The taper's own autocorrelation is taken out, which else makes short periods win.
        own = torch.fft.irfft(torch.fft.rfft(self.taper, 2 * self.window).abs().square())
        low, high = max(1, round(self.rate / PITCH[1])), min(round(self.rate / PITCH[0]), self.window // 2)
        lags = torch.arange(low, high + 1, device=spectrum.device)
        share = likeness[..., lags] / (likeness[..., :1] + FLOOR) * (own[0] / own[lags].clamp(min=1e-3))
        peak, place = share.clamp(0, 1).max(2)
        return peak, peak * (self.rate / 1000 / lags[place]).log()

    def _contrast(self, power: Tensor) -> list[Tensor]:
        """Peak less valley and valley of each octave, in logarithms; both are means of a fifth of its bins."""
        told = []
        for first, last in self.octaves:
            band = power[..., first:last].sort(2).values
            few = max(1, (last - first) // 5)
            valley, peak = band[..., :few].mean(2).log(), band[..., -few:].mean(2).log()
            told += [peak - valley, valley]
        return told


def _octaves(rate: int, window: int) -> list[tuple[int, int]]:
    """First bin and the one after the last of the bands of the spectral contrast."""
    spacing = rate / window
    edges = [1]
    hertz = LOWEST
    while hertz < rate / 2:
        edges.append(round(hertz / spacing))
        hertz *= 2
    edges.append(window // 2 + 1)
    kept = sorted({edge for edge in edges if edge >= 1})
    return list(pairwise(kept))


def _slopes(x: Tensor, count: Tensor) -> Tensor:
    """Least-squares slope over five frames of x [B, T, K]; beyond its `count` [B] frames the last one goes on."""
    place = torch.arange(x.shape[1], device=x.device)[None]
    steps = [torch.minimum((place + move).clamp(min=0), (count - 1)[:, None]) for move in (-2, -1, 1, 2)]
    a, b, c, d = (x.gather(1, step[..., None].expand(-1, -1, x.shape[2])) for step in steps)
    return (2 * (d - a) + c - b) / 10


def _loud(level: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """First loud frame of each row, and the one after the last, float [B], by level [B, T] in nepers of power."""
    hushed = torch.where(real, level, -torch.inf)
    loud = hushed >= hushed.amax(1, keepdim=True) - LOUD * math.log(10) / 10
    place = torch.arange(level.shape[1], device=level.device)
    start = torch.where(loud, place, level.shape[1]).amin(1)
    return start.float(), torch.where(loud, place + 1, 0).amax(1).float()


def _level(samples: Tensor, length: Tensor) -> Tensor:
    """Logarithm of the RMS, of full scale, [B, 1]."""
    real = torch.arange(samples.shape[1], device=samples.device) < length[:, None]
    x = torch.where(real, samples.float() / 32768, 0.0)
    power = x.square().sum(1, keepdim=True) / length[:, None]
    return power.clamp(min=1e-10).log() / 2
