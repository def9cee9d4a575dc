"""A sound, such as a spoken word: what a head draws for a row, as a spectrogram."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadCell, BadData
from polymodal.core.registry import Spec
from polymodal.core.values import check_range
from polymodal.core.wav import wav_bytes
from polymodal.nn.signal.levels import decibels_of, lengths, levels_of
from polymodal.nn.signal.phase import bins_of, griffin_lim
from polymodal.nn.signal.spectral import LogMel
from polymodal.targets.drawn import DrawnTarget

HIGHEST_RATE = 16_000  # Hz, where the rate is chosen: speech lies below 8 kHz
LONGEST = 4.0  # seconds, where the length is chosen
MARGIN = 0.1  # seconds more are opened, so that a longer sound is known to be one
WINDOW = 0.05  # seconds, about: a voice's pitch shows in it
OVERLAP = 4  # frames that hold a sample: phases are found from what they share
LEAST_FRAMES = 4
QUIETEST = 1e-20  # of power, so that silence has a logarithm


class Recording(Protocol):
    """An opened sound (`data.media.sound.Sound`)."""

    rate: int

    @property
    def seconds(self) -> float:
        """How long it is."""

    def at(self, rate: int) -> np.ndarray:
        """float32 [n], -1 to 1, at another rate."""


@dataclass(frozen=True)
class SoundTarget(DrawnTarget):
    """A sound of up to `seconds`, drawn as a log-mel spectrogram of `mels` bands and made a wave of by `phase`.

    Cells are sounds, mixed to one channel. `rate` in Hz: None takes the training files' commonest, at most 16 kHz.
    `seconds`: None takes the 95th percentile of the training sounds, at most 4; of longer ones the beginning is learned
    and judged by. Frames of about 50 ms overlap by three quarters; the field [1, mels, frames] is bytes of `nn.signal.
    levels`, so that a sound's end is learned and drawn with it. A second at 16 kHz takes 63 frames, about 3 KB; while a
    table is read, all sounds are in memory as floats, at their own rate or, if that is less, 16 kHz.

    Found by fit: `hertz`, the rate; `frames`; `top`, the loudest in dB; `middle` and `spread` of the bytes.

    Raises `BadArgument` for a rate outside 4,000 to 48,000 Hz, seconds outside 0.1 to 20, bands outside 8 to 128.
    """

    hertz: int = HIGHEST_RATE
    frames: int = LEAST_FRAMES
    top: float = 0.0
    middle: float = 128.0
    spread: float = 64.0
    rate: int | None = field(default=None, kw_only=True)
    seconds: float | None = field(default=None, kw_only=True)
    mels: int = field(default=48, kw_only=True)

    form: ClassVar[str] = "sound"
    opened: ClassVar[str] = "audio"
    noun: ClassVar[str] = "sound"

    def __post_init__(self) -> None:
        check_range("[4000, 48000]", "Hz", rate=self.rate)
        check_range("[0.1, 20]", seconds=self.seconds)
        check_range("[8, 128]", "bands", mels=self.mels)

    @property
    def proposed(self) -> Spec:
        """A flow that looks at the tokens of a text in their order."""
        return {"name": "flow", "attention": True}

    @property
    def fastest(self) -> int:
        """Hz that cells need at most be opened at."""
        return self.rate or HIGHEST_RATE

    @property
    def longest(self) -> float:
        """Seconds that are opened of a cell at most."""
        return (self.seconds or LONGEST) + MARGIN

    def fit(self, values: Sequence[Recording | BadCell]) -> Self:
        known: list[Recording] = self.openable(values)
        rates = Counter(min(one.rate, self.fastest) for one in known)
        hertz = self.rate or min(rates, key=lambda rate: (-rates[rate], rate))
        seconds = self.seconds or min(LONGEST, float(np.quantile([one.seconds for one in known], 0.95)))
        found = replace(self, hertz=hertz, frames=1)
        found = replace(found, frames=max(LEAST_FRAMES, math.ceil(seconds * hertz / found.hop)))
        loudest = [float(found._decibels(one).max()) for one in known]
        if max(loudest) <= 10 * math.log10(QUIETEST):
            raise BadData(f"Target {self.name!r}: every training sound is silent, so there is nothing to learn.")
        found = replace(found, top=round(float(np.quantile(loudest, 0.99)), 2))
        total, squares = np.zeros((2, found.width))
        for one in known:
            each = found.bytes_of(one).astype(np.float64)
            total += each
            squares += each**2
        middle = total.mean() / len(known)
        spread = math.sqrt(max(squares.mean() / len(known) - middle**2, 1.0))
        mean = found.middle_of(total, len(known))
        return replace(found, mean=mean, middle=round(middle, 2), spread=round(spread, 2))

    @property
    def shape(self) -> tuple[int, int, int]:
        return 1, self.mels, self.frames

    @property
    def scale(self) -> tuple[float, float]:
        return self.middle, self.spread

    @property
    def window(self) -> int:
        """Samples of a frame."""
        return 2 ** round(math.log2(WINDOW * self.hertz))

    @property
    def hop(self) -> int:
        """Samples from frame to frame."""
        return self.window // OVERLAP

    @property
    def length(self) -> float:
        """Seconds of the longest sound that is drawn."""
        return self.frames * self.hop / self.hertz

    @property
    def summary(self) -> str:
        return f"sounds of up to {self.length:.3g} s at {self.hertz:,} Hz"

    @property
    def task(self) -> str:
        return f"a sound of up to {self.length:.3g} s"

    @property
    def metrics(self) -> tuple[Spec, ...]:
        return ("energy_sound", "mel_cepstral", "duration")

    def remarks(self, values: Sequence[Any]) -> list[str]:
        cut = [v for v in values if v is not None and not isinstance(v, BadCell) and v.seconds > self.length]
        if not cut:
            return []
        return [
            f"{self.name}: {len(cut):,} of {len(values):,} sounds are longer than {self.length:.3g} s: only their "
            "beginning is learned from and judged by. Give `seconds` to keep more."
        ]

    def bytes_of(self, cell: Recording) -> np.ndarray:
        loud = self._decibels(cell)
        found = np.zeros((self.mels, self.frames), np.uint8)
        found[:, : loud.shape[1]] = levels_of(loud, self.top)
        return found.reshape(-1)

    def wave(self, drawn: np.ndarray) -> np.ndarray:
        """float32 [n], within -1 to 1, of a spectrogram uint8 [mels, frames, 1], as long as that says."""
        levels = drawn[..., 0]
        loud = decibels_of(levels[:, : lengths(levels[None])[0]], self.top)
        loud = np.pad(loud, [(0, 0), (0, 1)], mode="edge")  # a frame more is centred at the end
        power = 10 ** (torch.from_numpy(loud.T.copy()) / 10)
        amplitude = bins_of(power, _bank(self.hertz, self.window, self.mels)).sqrt()
        samples = griffin_lim(amplitude, window=self.window, hop=self.hop).numpy()
        return samples / max(1.0, float(np.abs(samples).max()))

    def file(self, drawn: np.ndarray) -> bytes:
        return wav_bytes(self.wave(drawn), self.hertz)

    def show(self, drawn: np.ndarray) -> dict[str, Any]:
        return {"kind": "audio", "array": self.wave(drawn), "rate": self.hertz}

    def _decibels(self, cell: Recording) -> np.ndarray:
        """float32 [mels, T] of a sound's beginning, T at most `frames`."""
        log_mel = _log_mel(self.hertz, self.window, self.mels)
        samples = torch.from_numpy(cell.at(self.hertz)[: self.frames * self.hop].copy())
        count = int(log_mel.frames(torch.tensor(len(samples))))
        power = log_mel.power(samples[None])[0, :, :count].clamp(min=QUIETEST)
        return (10 * power.log10()).numpy()


@lru_cache(maxsize=8)
def _log_mel(rate: int, window: int, mels: int) -> LogMel:
    return LogMel(rate, window=window, hop=window // OVERLAP, mels=mels)


def _bank(rate: int, window: int, mels: int) -> Tensor:
    """[window // 2 + 1, mels]: the filters of `_log_mel`."""
    return _log_mel(rate, window, mels).bank[::2]
