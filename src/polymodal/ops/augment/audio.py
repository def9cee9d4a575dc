"""More sounds from the ones there are: louder, faster, higher, later, noisier, in a room, with holes in them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_range
from polymodal.data.media.sound import Sound
from polymodal.ops.augment.base import Augment, CellAugment, share
from polymodal.ops.rows import Row

_CLOCK = re.compile(r"(?<!\d)(?:(\d{1,2}):)?(\d{1,2}):(\d{2})([.,]\d{1,3})(?!\d)")


class Volume(CellAugment):
    """Louder or softer by up to `decibels`; never so loud that it clips."""

    kinds = ("audio",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, decibels: float = 6.0):
        super().__init__(columns=columns, copies=copies)
        self.decibels = decibels
        check_range("(0, inf)", decibels=decibels)

    def varied(self, value: Sound, rng: np.random.Generator) -> Sound:
        gain = 10 ** (rng.uniform(-self.decibels, self.decibels) / 20)
        peak = float(np.abs(value.samples).max(initial=0))
        return Sound((value.samples * min(gain, 1 / max(peak, 1e-9))).astype(np.float32), value.rate)


class Speed(Augment):
    """Faster or slower by up to a share `most`, pitch and all, as a tape would run (Ko et al. 2015).

    Columns named in `times` move along: numbers of seconds, or texts with clock times in them (subtitles:
    `00:01:02,500`), which are divided by the same speed.
    """

    kinds = ("audio",)

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, copies: int = 1, most: float = 0.1,
        times: Sequence[str] = (),
    ):  # fmt: skip
        super().__init__(columns=columns, copies=copies)
        self.most = share("most", most)
        self.times = times

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        for name in self.times:
            if name not in kinds:
                raise BadArgument(f"There is no column {name!r} of times; there are {', '.join(kinds)}.")
        return super().bind(kinds)

    def vary(self, row: Row, rng: np.random.Generator) -> None:
        speed = 1 + rng.uniform(-self.most, self.most)
        for column in self.chosen:
            if (sound := row.get(column)) is not None:
                row.put(column, resped(sound, speed))
        if row.changed:
            for column in self.times:
                if (cell := row.cells.get(column)) is not None:
                    row.put(column, moved_times(cell, speed))


class Pitch(CellAugment):
    """Higher or lower by up to `semitones`, at the same length: run faster, then stretched by a phase vocoder
    (Flanagan & Golden 1966)."""

    kinds = ("audio",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, semitones: float = 2.0):
        super().__init__(columns=columns, copies=copies)
        self.semitones = semitones
        check_range("(0, inf)", semitones=semitones)

    def varied(self, value: Sound, rng: np.random.Generator) -> Sound:
        factor = 2 ** (rng.uniform(-self.semitones, self.semitones) / 12)
        faster = resped(value, factor)
        whole = np.atleast_2d(faster.samples.T)
        stretched = np.stack([stretch(channel, factor) for channel in whole], -1)
        count = len(value.samples)
        stretched = np.pad(stretched, ((0, max(0, count - len(stretched))), (0, 0)))[:count]
        return Sound(stretched.reshape(value.samples.shape).astype(np.float32), value.rate)


class Shift(CellAugment):
    """Earlier or later by up to `seconds`; what is pushed over one end is lost, the other end is silent."""

    kinds = ("audio",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, seconds: float = 0.1):
        super().__init__(columns=columns, copies=copies)
        self.seconds = seconds
        check_range("(0, inf)", seconds=seconds)

    def varied(self, value: Sound, rng: np.random.Generator) -> Sound:
        by = round(rng.uniform(-self.seconds, self.seconds) * value.rate)
        by = max(-len(value.samples) + 1, min(len(value.samples) - 1, by))
        if by == 0:
            return value
        shifted = np.zeros_like(value.samples)
        if by > 0:
            shifted[by:] = value.samples[:-by]
        else:
            shifted[:by] = value.samples[-by:]
        return Sound(shifted, value.rate)


class AddNoise(CellAugment):
    """Noise at a signal-to-noise ratio drawn between `least` and `most` dB; `color` white, pink or brown (the power
    falls by 0, 3 or 6 dB an octave)."""

    kinds = ("audio",)
    COLORS: Mapping[str, float] = {"white": 0.0, "pink": 0.5, "brown": 1.0}

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, copies: int = 1, least: float = 5.0, most: float = 30.0,
        color: str = "pink",
    ):  # fmt: skip
        super().__init__(columns=columns, copies=copies)
        self.least = least
        self.most = most
        self.color = color
        if least > most:
            raise BadArgument(f"least must not be above most; got {least} and {most} dB.")
        if color not in self.COLORS:
            raise BadArgument(f"Unknown color {color!r}; allowed: {', '.join(self.COLORS)}.")

    def varied(self, value: Sound, rng: np.random.Generator) -> Sound:
        return add_noise(value, rng.uniform(self.least, self.most), rng, self.COLORS[self.color])


class Room(CellAugment):
    """As heard in a room: convolved with an echo that dies away by 60 dB in up to `seconds` (exponentially decaying
    noise, Polack 1988), mixed with the direct sound."""

    kinds = ("audio",)

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, copies: int = 1, seconds: float = 0.5, wet: float = 0.4
    ):
        super().__init__(columns=columns, copies=copies)
        self.seconds = seconds
        self.wet = share("wet", wet)
        check_range("(0, inf)", seconds=seconds)

    def varied(self, value: Sound, rng: np.random.Generator) -> Sound:
        from scipy.signal import fftconvolve

        length = rng.uniform(0.1, 1) * self.seconds
        t = np.arange(max(2, int(length * value.rate))) / value.rate
        echo = rng.normal(0, 1, len(t)) * 10 ** (-3 * t / length)
        echo /= np.sqrt((echo**2).sum())
        whole = value.samples.reshape(len(value.samples), -1).astype(np.float64)
        heard = fftconvolve(whole, echo[:, None], axes=0)[: len(whole)]
        mixed = (1 - self.wet) * whole + self.wet * heard
        mixed *= np.sqrt((whole**2).mean() / max((mixed**2).mean(), 1e-20))
        return Sound(np.clip(mixed, -1, 1).reshape(value.samples.shape).astype(np.float32), value.rate)


class SpecAugment(CellAugment):
    """SpecAugment (Park et al. 2019), without time warping: `bands` stretches of frequency, each up to a share `high`
    of the spectrum, and `times` stretches of time, each up to a share `long` of the sound, are silenced."""

    kinds = ("audio",)

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, copies: int = 1, bands: int = 2, high: float = 0.15,
        times: int = 2, long: float = 0.1,
    ):  # fmt: skip
        super().__init__(columns=columns, copies=copies)
        self.bands = bands
        self.high = share("high", high)
        self.times = times
        self.long = share("long", long)
        if bands < 0 or times < 0 or bands + times == 0:
            raise BadArgument(f"bands and times must not be negative, and not both 0; got {bands} and {times}.")

    def varied(self, value: Sound, rng: np.random.Generator) -> Sound:
        from scipy.signal import ShortTimeFFT
        from scipy.signal.windows import hann

        size = min(512, 2 ** int(math.log2(max(32, len(value.samples) // 4))))
        if len(value.samples) < 2 * size:
            return value
        transform = ShortTimeFFT(hann(size, sym=False), size // 4, value.rate)
        whole = np.atleast_2d(value.samples.T)
        spectrum = transform.stft(whole)
        for count, most, axis in ((self.bands, self.high, 1), (self.times, self.long, 2)):
            for _ in range(count):
                size = spectrum.shape[axis]
                long = round(rng.uniform(0, most) * size)
                start = int(rng.integers(0, size - long + 1))
                spectrum[(slice(None),) * axis + (slice(start, start + long),)] = 0
        heard = transform.istft(spectrum, k1=whole.shape[1]).T
        return Sound(heard.reshape(value.samples.shape).astype(np.float32), value.rate)


def resped(sound: Sound, speed: float) -> Sound:
    """The sound at `speed` times its speed, pitch and all, at the same rate."""
    import soxr

    faster = soxr.resample(sound.samples, sound.rate, sound.rate / speed)
    return Sound(faster.astype(np.float32), sound.rate)


def stretch(samples: np.ndarray, factor: float, size: int = 1024) -> np.ndarray:
    """[n] samples at `factor` times their length, pitch kept (phase vocoder)."""
    size = min(size, 2 ** int(math.log2(max(64, len(samples) // 4))))
    hop = size // 4
    window = np.hanning(size + 1)[:-1]
    padded = np.pad(samples, (size // 2, size))
    frames = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window, axis=1)
    places = np.arange(0, len(frames) - 1, 1 / factor)
    low = places.astype(int)
    part = (places - low)[:, None]
    size_of = np.abs(frames)
    expected = 2 * np.pi * hop * np.arange(frames.shape[1]) / size
    step = np.angle(frames[1:]) - np.angle(frames[:-1]) - expected
    step = expected + step - 2 * np.pi * np.round(step / (2 * np.pi))
    phase = np.angle(frames[0]) + np.concatenate([np.zeros((1, frames.shape[1])), np.cumsum(step[low[:-1]], axis=0)])
    new = ((1 - part) * size_of[low] + part * size_of[low + 1]) * np.exp(1j * phase)
    pieces = np.fft.irfft(new, size, axis=1) * window
    out = np.zeros(hop * (len(pieces) - 1) + size)
    weight = np.zeros_like(out)
    for i, piece in enumerate(pieces):
        out[i * hop : i * hop + size] += piece
        weight[i * hop : i * hop + size] += window**2
    return (out / np.maximum(weight, 1e-3))[size // 2 : size // 2 + round(len(samples) * factor)]


def add_noise(sound: Sound, snr: float, rng: np.random.Generator, slope: float = 0.0) -> Sound:
    """The sound with noise at `snr` dB below its mean power; amplitudes fall as frequency to the power of -`slope`."""
    count = len(sound.samples)
    spectrum = np.fft.rfft(rng.normal(0, 1, count))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** slope
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, count)
    power = float((sound.mono().astype(np.float64) ** 2).mean())
    noise *= math.sqrt(power / 10 ** (snr / 10) / max(float((noise**2).mean()), 1e-20))
    noise = noise if sound.samples.ndim == 1 else noise[:, None]
    return Sound(np.clip(sound.samples + noise, -1, 1).astype(np.float32), sound.rate)


def moved_times(cell: object, speed: float) -> object:
    """Seconds divided by `speed`: a number, a list of numbers, or every clock time in a text."""
    if isinstance(cell, bool):
        return cell
    if isinstance(cell, int | float):
        return cell / speed
    if isinstance(cell, list | tuple):
        return [moved_times(x, speed) for x in cell]
    if not isinstance(cell, str):
        return cell
    try:
        return repr(float(cell) / speed)
    except ValueError:
        return _CLOCK.sub(lambda m: _clock(m, speed), cell)


def _clock(match: re.Match[str], speed: float) -> str:
    hours, minutes, seconds, part = match.groups()
    digits = len(part) - 1
    whole = (int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(part[1:]) / 10**digits) / speed
    units = round(whole * 10**digits)
    second, rest = divmod(units, 10**digits)
    told = f"{second // 60 % 60:02d}:{second % 60:02d}{part[0]}{rest:0{digits}d}"
    return f"{second // 3600:02d}:{told}" if hours is not None or second >= 3600 else told
