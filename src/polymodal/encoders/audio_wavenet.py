"""A dilated causal network on the raw wave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.audio import MOST_TOKENS, SpottedPool, coarser, levelled, mixed
from polymodal.encoders.base import Encoder
from polymodal.nn.layers.segment import segment_mean
from polymodal.nn.memory_format import channels_last
from polymodal.nn.precision import training_precision
from polymodal.nn.signal.spectral import mel_centres
from polymodal.nn.signal.warp import rolled, uniform

FLOOR = 1e-4  # of a filter's energy, in a wave of RMS 1
STEP = 0.004  # seconds between the steps that the dilated layers see
MOST_STEPS = 512


class AudioWaveNet(Encoder):
    """Gated dilated causal convolutions on the raw wave (WaveNet, van den Oord et al. 2016), used to listen.

    A learned bank of filter pairs, from whose energy the logarithm is taken, with a step of 4 ms (longer in sounds
    above 2 s) stands before the first layer, since full rate would cost thirty times as much. Layer i: z = tanh(a *
    x) . sigmoid(b * x) with dilation 2^i; x grows by a map of z, and the sum of all layers' maps is the output.
    `width` is the number of channels, `layers` the number of dilations.

    `shift` and `mix` as in the spectrogram encoders: the largest move in time and another sound underneath, in
    training.
    """

    processor = "audio"

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        width: int = 48,
        layers: int = 7,
        shift: float = 0.15,
        mix: float = 0.3,
    ):
        super().__init__(facts, dim)
        self.width, self.layers, self.shift, self.mix = width, layers, shift, mix
        rate, length = int(facts["rate"]), int(facts["length"])
        self.step = max(1, round(STEP * rate), -(-length // MOST_STEPS))
        self.bank = nn.Conv1d(1, 2 * width, 4 * self.step, stride=self.step, bias=False)
        self.bank.weight.data = _waves(rate, width, 4 * self.step)
        self.norm = nn.BatchNorm2d(width)
        self.stack = nn.ModuleList(_Layer(width, 2**i) for i in range(layers))
        self.out = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, dim))
        self.pool = SpottedPool(dim, length / rate)
        channels_last(self.stack)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        wave, length = levelled(inputs["samples"], inputs["length"]), inputs["length"]
        real = torch.arange(wave.shape[1], device=wave.device) < length[:, None]
        if self.training:
            move = uniform(wave.shape[0], self.shift * wave.shape[1], wave).round().long()
            wave, real = rolled(mixed(wave, self.mix), move), rolled(real, move)
        steps = -(-wave.shape[1] // self.step)
        padding = (3 * self.step, steps * self.step - wave.shape[1])
        real_part, imaginary = self.bank(F.pad(wave[:, None], padding)).float().chunk(2, dim=1)
        # A filter's energy spans decades, as in a spectrogram, and loses what is steady in it, as there.
        energy = (real_part * real_part + imaginary * imaginary + FLOOR).log()
        heard_at = coarser(real, steps)[:, None]
        mean = (energy * heard_at).sum(2, keepdim=True) / heard_at.sum(2, keepdim=True)
        energy = torch.where(heard_at, energy - mean, 0.0)
        # Two-dimensional, since only such convolutions are fast.
        x = self.norm(energy[:, :, None]).contiguous(memory_format=torch.channels_last)
        total = torch.zeros_like(x)
        for layer in self.stack:
            x, part = layer(x)
            total = total + part
        heard, kept, _ = segment_mean(total[:, :, 0].transpose(1, 2).relu(), heard_at[:, 0], MOST_TOKENS)
        return self.pool(self.out(heard), kept)

    def recipe(self) -> dict[str, Any]:
        return {"lr": 3e-3, "epochs": 12, "batch": 64, "weight_decay": 0.02, "precision": training_precision()}


def _waves(rate: int, count: int, taps: int) -> Tensor:
    """[2 count, 1, taps]: windowed cosines, then sines, at frequencies even on the mel scale: where learning starts."""
    hertz = mel_centres(rate, count)
    angle = 2 * torch.pi * hertz[:, None] * torch.arange(taps) / rate
    window = torch.hann_window(taps) / taps**0.5
    return torch.cat([angle.cos() * window, angle.sin() * window])[:, None]


class _Layer(nn.Module):
    """One dilation, [B, C, 1, L]: no step sees a later one."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.past = dilation
        # Two convolutions, not the halves of one: halves are not contiguous, and tanh is four times slower on them.
        self.signal = nn.Conv2d(width, width, (1, 2), dilation=dilation)
        self.gate = nn.Conv2d(width, width, (1, 2), dilation=dilation)
        self.map = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        past = F.pad(x, (self.past, 0))
        part = self.map(self.signal(past).tanh() * self.gate(past).sigmoid())
        return x + part, part
