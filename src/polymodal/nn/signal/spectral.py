"""Log-mel spectrograms in plain torch, and what is done to them in training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.nn.precision import autocast_type

FLOOR = 1e-4  # of power: 60 dB below white noise of RMS 1 in a window of 256; less is rounding of 16 bits


def mel_bank(rate: int, window: int, mels: int, low: float, high: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Triangular filters, [window // 2 + 1, mels], between `low` and `high` Hz, on the mel scale of O'Shaughnessy
    (1987).

    A filter narrower than the distance of two bins is widened to it, so that no row is empty.
    """
    first, last = (float(_mel(torch.tensor(end, dtype=dtype))) for end in (low, high))
    edges = _hertz(torch.linspace(first, last, mels + 2, dtype=dtype))
    bins = torch.linspace(0, rate / 2, window // 2 + 1, dtype=dtype)[:, None]
    spacing = rate / window
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = 1 - (centre - bins) / (centre - left).clamp(min=spacing)
    falling = 1 - (bins - centre) / (right - centre).clamp(min=spacing)
    bank = torch.minimum(rising, falling).clamp(min=0)
    return bank / bank.sum(0, keepdim=True).clamp(min=1e-6)


def mel_centres(rate: int, count: int, low: float = 50.0) -> Tensor:
    """[count] frequencies in Hz, even on the mel scale, between `low` and half the rate without the ends."""
    edges = torch.tensor([low, rate / 2])
    return _hertz(torch.linspace(float(_mel(edges)[0]), float(_mel(edges)[1]), count + 2))[1:-1]


def _mel(hertz: Tensor) -> Tensor:
    return 2595 * torch.log10(1 + hertz / 700)


def _hertz(mel: Tensor) -> Tensor:
    return 700 * (10 ** (mel / 2595) - 1)


class LogMel(nn.Module):
    """Waves [B, n] to log-mel power [B, mels, frames], frames = n // hop + 1, centred at multiples of `hop`.

    `window` and `hop` in samples, `low` and `high` in Hz (`high` None: half the rate). Always float32: powers span more
    than bfloat16 can tell apart.
    """

    bank: Tensor
    taper: Tensor

    def __init__(
        self, rate: int, *, window: int, hop: int, mels: int = 40, low: float = 50.0, high: float | None = None
    ):
        super().__init__()
        self.window, self.hop = window, hop
        bank = mel_bank(rate, window, mels, low, high or rate / 2)
        self.register_buffer("bank", bank.repeat_interleave(2, 0), persistent=False)
        self.register_buffer("taper", torch.hann_window(window), persistent=False)

    def frames(self, length: Tensor) -> Tensor:
        """How many frames have their centre within `length` [B] samples."""
        return (length.clamp(min=1) - 1) // self.hop + 1

    def forward(self, wave: Tensor) -> Tensor:
        return logarithm(self.power(wave))

    def power(self, wave: Tensor) -> Tensor:
        """The power itself, [B, mels, frames]."""
        with torch.autocast(autocast_type(wave), enabled=False):
            padded = F.pad(wave.float(), (self.window // 2, self.window // 2))
            frames = padded.unfold(1, self.window, self.hop) * self.taper
            # torch.stft takes six times as long on the CPU. Real and imaginary parts stay side by side, so that one
            # product squares, adds and filters.
            parts = torch.view_as_real(torch.fft.rfft(frames)).flatten(2)  # [B, frames, 2 bins]
            power = (parts * parts).flatten(0, 1) @ self.bank
            return power.view(*parts.shape[:2], -1).transpose(1, 2)


def logarithm(power: Tensor) -> Tensor:
    """Of power, which is at least the floor of what counts as sound."""
    return power.clamp(min=FLOOR).log()
