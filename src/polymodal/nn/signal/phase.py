"""From spectrograms back to waves: bands to bins, and phases that fit (Griffin & Lim 1984)."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-10  # of amplitudes and powers that are divided by


def bins_of(bands: Tensor, bank: Tensor, *, rounds: int = 50) -> Tensor:
    """Power of bins [..., K] that a filter bank [K, M] makes `bands` [..., M] of: least squares, none below 0.

    By multiplicative updates (Lee & Seung 2001), from the bands spread over their own filters; bins that no filter sees
    are 0.
    """
    whole = bank @ bank.T
    wanted = bands @ bank.T
    power = wanted / bank.sum(1).clamp(min=LEAST)
    for _ in range(rounds):
        power = power * wanted / (power @ whole).clamp(min=LEAST)
    return power


def griffin_lim(
    amplitude: Tensor, *, window: int, hop: int, rounds: int = 60, momentum: float = 0.99, seed: int = 0
) -> Tensor:
    """A wave [(T - 1) · hop] whose short-time Fourier transform has nearly these amplitudes [T, window // 2 + 1].

    Frames under a Hann window are centred at multiples of `hop`, as those of `spectral.LogMel`. By turns phases are
    taken from the nearest wave and amplitudes put back (Griffin & Lim 1984); `momentum` carries each step on
    (Perraudin, Balazs & Søndergaard 2013; 0: the first algorithm). It starts from random phases by `seed`, so that the
    same amplitudes always sound alike.
    """
    amplitude = amplitude.float().T
    taper = torch.hann_window(window, device=amplitude.device)
    length = (amplitude.shape[1] - 1) * hop

    def wave(spectrum: Tensor) -> Tensor:
        return torch.istft(spectrum, window, hop, window=taper, length=length)

    angles = torch.rand(amplitude.shape, generator=torch.Generator().manual_seed(seed)) * (2 * torch.pi)
    spectrum, before = torch.polar(amplitude, angles.to(amplitude.device)), torch.zeros((), dtype=torch.complex64)
    for turn in range(rounds):
        fits = torch.stft(wave(spectrum), window, hop, window=taper, pad_mode="constant", return_complex=True)
        ahead = fits + momentum * (fits - before) if turn else fits
        spectrum, before = amplitude * ahead / ahead.abs().clamp(min=LEAST), fits
    return wave(spectrum)
