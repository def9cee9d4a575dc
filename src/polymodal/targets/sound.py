"""A sound, such as a spoken word: what a head draws for a row, as a spectrogram."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadCell, BadData
from polymodal.core.registry import Spec
from polymodal.core.values import check_range
from polymodal.core.wav import wav_bytes
from polymodal.nn.signal.levels import decibels_of, lengths, levels_of
from polymodal.nn.signal.phase import bins_of, griffin_lim
from polymodal.nn.signal.spectral import LogMel
from polymodal.nn.signal.vocoder import MelForm, Vocoder, form_of, vocoder_of
from polymodal.targets.drawn import DrawnTarget

HIGHEST_RATE = 16_000  # Hz, where the rate is chosen: speech lies below 8 kHz
LONGEST = 4.0  # seconds, where the length is chosen
MARGIN = 0.1  # seconds more are opened, so that a longer sound is known to be one
BANDS = 48  # where the number is chosen
WINDOW = 0.05  # seconds, about: a voice's pitch shows in it
OVERLAP = 4  # frames that hold a sample: phases are found from what they share
LEAST_FRAMES = 4
QUIETEST = -200.0  # dB, so that silence has a logarithm


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

    `mels`: None takes 48. `vocoder` is the folder or the hub's name of a neural vocoder, which makes the wave instead
    (`nn.signal.vocoder`): then rate, bands, window, hop and the range of the bands are those that it was trained on,
    and metrics compare such spectrograms. It stays where it is, as other pretrained parts do, known again by a mark.

    Found by fit: `hertz`, the rate; `frames`; `top`, the loudest in dB; `middle` and `spread` of the bytes; `heard` and
    `mark` of the vocoder.

    Raises `BadArgument` for a rate outside 4,000 to 48,000 Hz, seconds outside 0.1 to 20, bands outside 8 to 128, for a
    vocoder that cannot be had, and for a rate or bands that are not its own.
    """

    hertz: int = HIGHEST_RATE
    frames: int = LEAST_FRAMES
    top: float = 0.0
    middle: float = 128.0
    spread: float = 64.0
    heard: tuple[tuple[str, Any], ...] = ()
    mark: str = ""
    rate: int | None = field(default=None, kw_only=True)
    seconds: float | None = field(default=None, kw_only=True)
    mels: int | None = field(default=None, kw_only=True)
    vocoder: str = field(default="", kw_only=True)

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
    def reads(self) -> MelForm | None:
        """The spectrogram that the vocoder reads, where there is one."""
        if self.heard:
            return MelForm(**dict(self.heard))
        return form_of(self.vocoder) if self.vocoder else None

    @property
    def bands(self) -> int:
        """How many there are in a spectrogram."""
        return self.reads.bands if self.reads else self.mels or BANDS

    @property
    def fastest(self) -> int:
        """Hz that cells need at most be opened at."""
        return self.reads.rate if self.reads else self.rate or HIGHEST_RATE

    @property
    def longest(self) -> float:
        """Seconds that are opened of a cell at most."""
        return (self.seconds or LONGEST) + MARGIN

    def fit(self, values: Sequence[Recording | BadCell]) -> Self:
        known: list[Recording] = self.openable(values)
        if self.vocoder:
            spoken = self._spoken()
            hertz = spoken.fastest
        else:
            spoken, rates = self, Counter(min(one.rate, self.fastest) for one in known)
            hertz = self.rate or min(rates, key=lambda rate: (-rates[rate], rate))
        seconds = self.seconds or min(LONGEST, float(np.quantile([one.seconds for one in known], 0.95)))
        found = replace(spoken, hertz=hertz, frames=1)
        found = replace(found, frames=max(LEAST_FRAMES, math.ceil(seconds * hertz / found.hop)))
        loudest = [float(found._decibels(one).max()) for one in known]
        if max(loudest) <= QUIETEST + 1e-3:
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
        return 1, self.bands, self.frames

    @property
    def scale(self) -> tuple[float, float]:
        return self.middle, self.spread

    @property
    def window(self) -> int:
        """Samples of a frame."""
        return self.reads.window if self.reads else 2 ** round(math.log2(WINDOW * self.hertz))

    @property
    def hop(self) -> int:
        """Samples from frame to frame."""
        return self.reads.hop if self.reads else self.window // OVERLAP

    @property
    def length(self) -> float:
        """Seconds of the longest sound that is drawn."""
        return self.frames * self.hop / self.hertz

    @property
    def summary(self) -> str:
        said = f", by the vocoder {Path(self.vocoder).name}" if self.vocoder else ""
        return f"sounds of up to {self.length:.3g} s at {self.hertz:,} Hz{said}"

    @property
    def task(self) -> str:
        return f"a sound of up to {self.length:.3g} s"

    @property
    def metrics(self) -> tuple[Spec, ...]:
        return ("energy_sound", "mel_cepstral", "duration")

    def remarks(self, values: Sequence[Any]) -> list[str]:
        cut = [v for v in values if v is not None and not isinstance(v, BadCell) and v.seconds > self.length]
        said = []
        if cut:
            said.append(
                f"{self.name}: {len(cut):,} of {len(values):,} sounds are longer than {self.length:.3g} s: only their "
                "beginning is learned from and judged by. Give `seconds` to keep more."
            )
        if self.vocoder and self._vocoder().bare:
            said.append(
                f"{self.name}: the vocoder {self.vocoder} was saved without statistics (mean 0, scale 1), so it is "
                "given log-mels as they are. Where it was trained on normalised ones, its sounds will be wrong."
            )
        return said

    def bytes_of(self, cell: Recording) -> np.ndarray:
        loud = self._decibels(cell)
        found = np.zeros((self.bands, self.frames), np.uint8)
        found[:, : loud.shape[1]] = levels_of(loud, self.top)
        return found.reshape(-1)

    def wave(self, drawn: np.ndarray) -> np.ndarray:
        """float32 [n], within -1 to 1, of a spectrogram uint8 [mels, frames, 1], as long as that says."""
        levels = drawn[..., 0]
        loud = decibels_of(levels[:, : lengths(levels[None])[0]], self.top)
        if self.vocoder:
            return self._vocoder().wave(torch.from_numpy(10 ** (loud / 20))).numpy()
        loud = np.pad(loud, [(0, 0), (0, 1)], mode="edge")  # a frame more is centred at the end
        power = 10 ** (torch.from_numpy(loud.T.copy()) / 10)
        amplitude = bins_of(power, _bank(self.hertz, self.window, self.bands)).sqrt()
        samples = griffin_lim(amplitude, window=self.window, hop=self.hop).numpy()
        return samples / max(1.0, float(np.abs(samples).max()))

    def file(self, drawn: np.ndarray) -> bytes:
        return wav_bytes(self.wave(drawn), self.hertz)

    def show(self, drawn: np.ndarray) -> dict[str, Any]:
        return {"kind": "audio", "array": self.wave(drawn), "rate": self.hertz}

    def _decibels(self, cell: Recording) -> np.ndarray:
        """float32 [bands, T] of a sound's beginning, T at most `frames`."""
        samples = torch.from_numpy(cell.at(self.hertz)[: self.frames * self.hop].copy())
        if self.reads:
            power = self.reads.amplitude(samples).square()
        else:
            log_mel = _log_mel(self.hertz, self.window, self.bands)
            power = log_mel.power(samples[None])[0, :, : int(log_mel.frames(torch.tensor(len(samples))))]
        return (10 * power.clamp(min=10 ** (QUIETEST / 10)).log10()).numpy()

    def _spoken(self) -> Self:
        """With what the vocoder reads, and its mark. Raises `BadArgument` where options say otherwise."""
        found = vocoder_of(self.vocoder)
        for name, given, own in (("rate", self.rate, found.form.rate), ("mels", self.mels, found.form.bands)):
            if given not in (None, own):
                raise BadArgument(
                    f"Target {self.name!r}: {name}={given}, and the vocoder {self.vocoder!r} was trained on {own}: "
                    f"leave {name} out."
                )
        return replace(self, heard=tuple(vars(found.form).items()), mark=found.mark)

    def _vocoder(self) -> Vocoder:
        """The one that the target was fitted for. Raises `BadData` where another lies in its place."""
        found = vocoder_of(self.vocoder)
        if found.mark != self.mark:
            raise BadData(
                f"The vocoder {self.vocoder!r} is not the one that the target {self.name!r} was fitted for: its "
                "weights or settings are others. Put that one back, or let POLYMODAL_MODELS name the folder it is in."
            )
        return found


@lru_cache(maxsize=8)
def _log_mel(rate: int, window: int, mels: int) -> LogMel:
    return LogMel(rate, window=window, hop=window // OVERLAP, mels=mels)


def _bank(rate: int, window: int, mels: int) -> Tensor:
    """[window // 2 + 1, mels]: the filters of `_log_mel`."""
    return _log_mel(rate, window, mels).bank[::2]
