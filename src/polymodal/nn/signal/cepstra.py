"""Cepstra of speech in plain torch: of the mel spectrum (MFCC), and of a linear predictor (LPCC)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_range
from polymodal.nn.precision import autocast_type
from polymodal.nn.signal.spectral import mel_bank

LEAST = 1e-10  # of power: below the rounding of 16 bits
BLOCK = 4096  # frames worked on at once, so that memory does not grow with ten copies of a long sound


class _Cepstra(nn.Module):
    """What both share: pre-emphasis, frames under a Hamming window. Subclasses write `of_frames`."""

    taper: Tensor

    def __init__(self, *, window: int, hop: int, count: int, emphasis: float, dtype: torch.dtype):
        super().__init__()
        check_range("[2, inf)", "samples", window=window)
        check_range("[1, inf)", hop=hop, count=count)
        check_range("[0, 1)", emphasis=emphasis)
        self.window, self.hop, self.count, self.emphasis = window, hop, count, emphasis
        self.register_buffer("taper", torch.hamming_window(window, periodic=False, dtype=dtype), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """Waves [B, n] to cepstra [B, frames, count], frames = 1 + max(0, n - window) // hop; short waves are
        padded."""
        with torch.autocast(autocast_type(wave), enabled=False):
            wave = wave.to(self.taper.dtype)
            wave = torch.cat([wave[:, :1], wave[:, 1:] - self.emphasis * wave[:, :-1]], 1)
            if wave.shape[1] < self.window:
                wave = nn.functional.pad(wave, (0, self.window - wave.shape[1]))
            blocks = wave.unfold(1, self.window, self.hop).split(BLOCK, 1)  # views: frames overlap, and are many
            return torch.cat([self.of_frames(frames * self.taper) for frames in blocks], 1)

    def of_frames(self, frames: Tensor) -> Tensor:
        """Tapered frames [B, frames, window] to cepstra [B, frames, count]."""
        raise NotImplementedError


class MFCC(_Cepstra):
    """Mel-frequency cepstral coefficients (Davis & Mermelstein 1980).

    Frames of `window` samples every `hop`, pre-emphasis 1 - a/z, Hamming window, power spectrum, `mels` triangular
    bands between `low` and `high` Hz (None: half the rate), natural logarithm, orthonormal DCT-II, the first `count`
    coefficients (the first is the frame's level), liftered by 1 + L/2 sin(pi n / L) where `lifter` L is above 0.
    """

    bank: Tensor
    cosines: Tensor

    def __init__(
        self, rate: int, *, window: int, hop: int, count: int = 13, mels: int = 26, low: float = 50.0,
        high: float | None = None, emphasis: float = 0.97, lifter: int = 22, dtype: torch.dtype = torch.float32,
    ):  # fmt: skip
        super().__init__(window=window, hop=hop, count=count, emphasis=emphasis, dtype=dtype)
        if count > mels:
            raise BadArgument(f"count must be at most mels; got {count} of {mels}.")
        self.register_buffer("bank", mel_bank(rate, window, mels, low, high or rate / 2, dtype), persistent=False)
        cosines = cosine_matrix(mels, count, dtype)
        if lifter:
            cosines = cosines * (1 + lifter / 2 * torch.sin(math.pi * torch.arange(count, dtype=dtype) / lifter))
        self.register_buffer("cosines", cosines, persistent=False)

    def of_frames(self, frames: Tensor) -> Tensor:
        power = torch.fft.rfft(frames).abs().square()
        return (power @ self.bank).clamp(min=LEAST).log() @ self.cosines


class LPCC(_Cepstra):
    """Cepstra of a linear predictor (Atal 1974): autocorrelation, Levinson-Durbin, recursion to the cepstrum.

    The first coefficient is the logarithm of the prediction error, the others describe the all-pole envelope of
    `order` poles; order None takes 2 and one for each kHz of the rate.
    """

    def __init__(
        self, rate: int, *, window: int, hop: int, count: int = 13, order: int | None = None, emphasis: float = 0.97,
        dtype: torch.dtype = torch.float32,
    ):  # fmt: skip
        super().__init__(window=window, hop=hop, count=count, emphasis=emphasis, dtype=dtype)
        self.order = order if order is not None else 2 + rate // 1000
        if not 1 <= self.order < window:
            raise BadArgument(f"order must be at least 1 and below the window ({window}); got {self.order}.")

    def of_frames(self, frames: Tensor) -> Tensor:
        predictor, error = levinson(autocorrelation(frames, self.order))
        return predictor_cepstrum(predictor, error, self.count)


def cosine_matrix(size: int, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The first `count` vectors of the orthonormal DCT-II of `size` values, [size, count]."""
    n, k = torch.arange(size, dtype=dtype)[:, None], torch.arange(count, dtype=dtype)
    matrix = torch.cos(math.pi / size * (n + 0.5) * k) * math.sqrt(2 / size)
    matrix[:, 0] /= math.sqrt(2)
    return matrix


def autocorrelation(frames: Tensor, order: int) -> Tensor:
    """[..., n] to [..., order + 1]: the sums of x[i] x[i + k], by the Fourier transform."""
    size = 2 ** math.ceil(math.log2(frames.shape[-1] + order))
    return torch.fft.irfft(torch.fft.rfft(frames, size).abs().square(), size)[..., : order + 1]


def levinson(r: Tensor) -> tuple[Tensor, Tensor]:
    """Levinson-Durbin (Levinson 1947; Durbin 1960): autocorrelation [..., p + 1] to predictor and error.

    The predictor [..., p] has x[n] = sum of a[k] x[n - 1 - k] + e[n]; the error [...] is the power of e, at least
    `LEAST`. Silent frames predict nothing: all zeros.
    """
    error = r[..., 0].clamp(min=LEAST)
    a = r[..., :0]
    for i in range(r.shape[-1] - 1):
        reflection = (r[..., i + 1] - (a * r[..., 1 : i + 1].flip(-1)).sum(-1)) / error
        reflection = reflection.clamp(-1, 1)[..., None]
        a = torch.cat([a - reflection * a.flip(-1), reflection], -1)
        error = (error * (1 - reflection[..., 0].square())).clamp(min=LEAST)
    return a, error


def predictor_cepstrum(a: Tensor, error: Tensor, count: int) -> Tensor:
    """Predictor [..., p] to `count` cepstral coefficients of the all-pole model (Atal 1974).

    c[0] = ln error, c[n] = a[n] + sum over k < n of k/n c[k] a[n - k], with a[n] = 0 beyond p.
    """
    order = a.shape[-1]
    cepstrum = [error.log()]
    for n in range(1, count):
        c = a[..., n - 1] if n <= order else torch.zeros_like(error)
        for k in range(max(1, n - order), n):
            c = c + k / n * cepstrum[k] * a[..., n - k - 1]
        cepstrum.append(c)
    return torch.stack(cepstrum, -1)
