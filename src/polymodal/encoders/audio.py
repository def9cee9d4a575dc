"""What the sound encoders share: levelling, spectrograms, augmentation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polymodal.encoders.base import Encoder
from polymodal.nn.spectral import LogMel
from polymodal.nn.warp import affine, stripes, uniform

MOST_TOKENS = 16


class SpectrogramEncoder(Encoder):
    """Abstract: `samples` int16 [B, n] and `length` [B] arrive in the subclass as a normalised log-mel picture.

    The wave is levelled to RMS 1, so loudness does not matter. Frames of 32 ms every 16 ms (the hop grows with sounds
    longer than 4 s, to at most 256 frames); `mels` bands from 50 Hz to half the rate, each band standardised.

    Options of augmentation, in training only: `shift` is the largest move in time, as a share of the whole; `stretch`
    the largest change of tempo; `warp` the largest change of the frequency scale, as another vocal tract would cause
    (Jaitly & Hinton 2013), which matters where speakers are new; `mask` the largest blanked share of bands and of
    frames (SpecAugment, Park et al. 2019); `mix` the largest amplitude of another sound of the batch laid underneath.
    """

    processor = "audio"
    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        mels: int,
        shift: float,
        stretch: float,
        warp: float,
        mask: float,
        mix: float,
    ):
        super().__init__(facts, dim)
        self.mels, self.shift, self.stretch, self.warp, self.mask, self.mix = mels, shift, stretch, warp, mask, mix
        rate, length = int(facts["rate"]), int(facts["length"])
        window = 2 ** round(math.log2(0.032 * rate))
        hop = max(window // 2, -(-length // 256))
        self.log_mel = LogMel(rate, window=window, hop=hop, mels=mels)
        self.seconds = length / rate
        self.register_buffer("mean", torch.zeros(mels, 1))
        self.register_buffer("spread", torch.ones(mels, 1))

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """Mean and spread of each band over the real frames."""
        picture = self.log_mel(levelled(inputs["samples"], inputs["length"]))
        real = self._real(inputs["length"], picture.shape[-1])[:, None]
        count = real.sum().clamp(min=1)
        mean = (picture * real).sum((0, 2)) / count
        self.mean.copy_(mean[:, None])
        self.spread.copy_((((picture - self.mean) * real).square().sum((0, 2)) / count).sqrt().clamp(min=0.1)[:, None])

    def picture(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Log-mel [B, 1, mels, frames], zero where there is no sound, and which frames are real [B, frames] bool."""
        wave = levelled(inputs["samples"], inputs["length"])
        if self.training and self.mix:
            wave = wave + wave.roll(1, 0) * torch.rand(len(wave), 1, device=wave.device) * self.mix
        x = (self.log_mel(wave) - self.mean) / self.spread
        real = self._real(inputs["length"], x.shape[-1])
        x = torch.where(real[:, None], x, x.new_zeros(()))[:, None]
        if self.training:
            x = self._changed(x)
        return x, real

    def _real(self, length: Tensor, frames: int) -> Tensor:
        return torch.arange(frames, device=length.device) < torch.as_tensor(self.log_mel.frames(length))[:, None]

    def _changed(self, x: Tensor) -> Tensor:
        if self.shift or self.stretch or self.warp:
            rows, zero = len(x), x.new_zeros(len(x))
            tempo = torch.exp(uniform(rows, math.log1p(self.stretch), x))
            tract = torch.exp(uniform(rows, math.log1p(self.warp), x))
            move = uniform(rows, 2 * self.shift, x)
            # The lowest band (y = -1) stays where it is.
            matrix = torch.stack([tempo, zero, move, zero, tract, tract - 1], 1).view(rows, 2, 3)
            x = affine(x, matrix)
        if self.mask:
            bands = stripes(len(x), x.shape[2], self.mask, x)[:, None, :, None]
            frames = stripes(len(x), x.shape[3], self.mask, x)[:, None, None, :]
            x = x.masked_fill(bands | frames, 0.0)
        return x


def levelled(samples: Tensor, length: Tensor) -> Tensor:
    """int16 [B, n] with `length` [B] real samples to floats of RMS 1 and mean 0; silence stays silent."""
    x = samples.float() / 32768
    count = length.clamp(min=1)[:, None].float()
    real = torch.arange(x.shape[1], device=x.device) < count
    x = torch.where(real, x, x.new_zeros(()))
    x = torch.where(real, x - x.sum(1, keepdim=True) / count, x.new_zeros(()))
    power = x.square().sum(1, keepdim=True) / count
    return x / power.sqrt().clamp(min=1e-4)
