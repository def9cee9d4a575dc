"""Noise reduction: what of a sound does not rise above its noise is turned down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_range
from polymodal.data.media.sound import Sound
from polymodal.ops.base import CellOp
from polymodal.ops.rows import Row

SMOOTH = (3, 5)  # bins, frames
FREEDOM = 5.0  # shape of the gamma law of white noise's power so smoothed: mean² / variance, measured
WEIGHT = 0.96  # of the frame before, in the decision-directed estimate


class Gate(CellOp):
    """Spectral gating: frequencies that do not rise above the noise are turned down, by at most `most` dB.

    The noise of each frequency is a low quantile of its power over time, the quietest `quiet` share, raised by what
    such a quantile lies below the mean in noise alone (Stahl, Fischer & Bippus 2000; bias as in Martin 2001). The gain
    is Wiener's, its signal-to-noise ratio decision-directed (Ephraim & Malah 1984) and refined in a second step
    (Plapous, Marro & Scalart 2006). Sounds that stand `below` dB or more over their noise, as estimated, stay as they
    are. The noise is taken to be steady: babble is turned down little. Digital silence is no pause: the noise is read
    off the rest.
    """

    kinds = ("audio",)

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        most: float = 18.0,
        quiet: float = 0.1,
        below: float = 25.0,
    ):
        super().__init__(columns=columns)
        self.most = most
        self.quiet = quiet
        self.below = below
        check_range("(0, inf)", "dB", most=most)
        check_range("(0, 1)", quiet=quiet)
        if np.isnan(below):
            raise BadArgument("below must be a number of dB; got nan.")

    def mend(self, value: Sound, row: Row, column: str) -> Sound:
        from scipy.signal import ShortTimeFFT
        from scipy.signal.windows import hann

        size = 2 ** round(np.log2(max(32, 0.032 * value.rate)))
        if len(value.samples) < 4 * size:
            return value
        transform = ShortTimeFFT(hann(size, sym=False), size // 4, value.rate)
        whole = np.atleast_2d(value.samples.T)
        spectrum = transform.stft(whole)
        power = np.abs(spectrum) ** 2
        floor = noise_power(power, self.quiet)
        if power.sum() - floor.sum() * power.shape[-1] >= 10 ** (self.below / 10) * floor.sum() * power.shape[-1]:
            return value
        gain = np.maximum(wiener(power, floor), 10 ** (-self.most / 20))
        cleaned = transform.istft(spectrum * gain, k1=whole.shape[1]).T.astype(np.float32)
        return Sound(cleaned.reshape(value.samples.shape), value.rate)


def noise_power(power: np.ndarray, quiet: float) -> np.ndarray:
    """[channels, bins]: the mean power of the noise in `power` [channels, bins, frames]."""
    from scipy.ndimage import uniform_filter
    from scipy.special import gammaincinv

    frames = power.sum((0, 1))
    usable = power[..., frames > 1e-10 * frames.max()]  # digital silence tells nothing of the noise
    if not usable.shape[-1]:
        return np.zeros(power.shape[:-1])
    low = np.quantile(uniform_filter(usable, (0, *SMOOTH)), quiet, axis=-1)
    return low * FREEDOM / gammaincinv(FREEDOM, quiet)


def wiener(power: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Gains [channels, bins, frames] in 0..1 of `power` over `noise` [channels, bins], in two steps."""
    over = np.minimum(power / np.maximum(noise, 1e-20)[..., None], 1e6)
    signal = np.empty_like(over)
    before = np.maximum(over[..., 0] - 1, 0)
    for t in range(over.shape[-1]):
        now = over[..., t]
        ratio = WEIGHT * before + (1 - WEIGHT) * np.maximum(now - 1, 0)
        before = (ratio / (1 + ratio)) ** 2 * now
        signal[..., t] = before
    return signal / (1 + signal)
