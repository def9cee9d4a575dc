"""Sound: files or bytes to mono int16 samples at one rate and length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadCell
from polymodal.core.values import check_range
from polymodal.data.media.sound import Sound, read_mono
from polymodal.data.media.stretch import Stretch, shorter
from polymodal.process.base import Processor

HIGHEST_RATE = 16_000  # Hz, when the rate is chosen: speech and most events lie below 8 kHz
LONGEST = 10.0  # seconds, when the length is chosen


class AudioProcessor(Processor):
    """Reads sounds as `data.media.sound` does, mixes channels to mono, resamples, crops or pads at the end.

    `rate` in Hz; None takes the training files' commonest, at most 16 kHz. `seconds` is the length kept from the
    beginning of a file; None takes the 95th percentile of the training files, at most 10 s. Never more than that is
    read from a file, however long it is.

    Silence is allowed. Loudness is kept: levelling is the encoder's.

    Arrays: `samples` int16 [N, L], `length` int32 [N], how many of them are real. Facts: `rate`, `length`.
    """

    kind = "audio"

    def __init__(self, *, rate: int | None = None, seconds: float | None = None):
        check_range("[1000, 192000]", "Hz", rate=rate)
        check_range("[0.01, 600]", seconds=seconds)
        self.rate = rate
        self.seconds = seconds
        self.rate_ = rate or HIGHEST_RATE
        self.length_ = round((seconds or LONGEST) * self.rate_)

    def read(self, cell: Any) -> Sound:
        """A path or bytes, or a `Stretch` of them, to mono sound at the file's own rate. Raises `BadCell`."""
        whole = cell if isinstance(cell, Stretch) else Stretch(cell, 0.0, None)
        if not isinstance(whole.source, str | bytes | Path):
            raise BadCell(
                "is numbers, not a file, so that nobody knows its rate: write a file, or give the kind series"
            )
        source = Path(whole.source) if isinstance(whole.source, str) else whole.source
        return read_mono(source, shorter(whole.seconds, self.seconds or LONGEST), whole.start)

    def fit(self, cells: Iterable[Sound]) -> None:
        """Choose rate and length from decoded training sounds."""
        rates: Counter[int] = Counter()
        seconds = []
        for sound in cells:
            rates[sound.rate] += 1
            seconds.append(len(sound.samples) / sound.rate)
        if self.rate is None and rates:
            self.rate_ = min(HIGHEST_RATE, min(rates, key=lambda r: (-rates[r], r)))
        longest = self.seconds or (min(LONGEST, float(np.quantile(seconds, 0.95))) if seconds else LONGEST)
        self.length_ = max(1, round(longest * self.rate_))

    def process(self, cells: Sequence[Sound]) -> dict[str, np.ndarray]:
        """Decoded sounds to `samples` int16 [N, L] and `length` int32 [N]."""
        samples = np.zeros((len(cells), self.length_), np.int16)
        length = np.empty(len(cells), np.int32)
        for row, sound in enumerate(cells):
            wave = sound.samples[: math.ceil((self.length_ / self.rate_ + 0.1) * sound.rate)]  # a margin for the filter
            if sound.rate != self.rate_:
                wave = Sound(wave, sound.rate).at(self.rate_)
            wave = wave[: self.length_]
            length[row] = max(1, len(wave))
            samples[row, : len(wave)] = (wave.clip(-1, 1) * 32767).round()
        return {"samples": samples, "length": length}

    def facts(self) -> dict[str, Any]:
        return {"rate": self.rate_, "length": self.length_}

    def state(self) -> dict[str, Any]:
        return {"rate": self.rate_, "length": self.length_}

    def load_state(self, state: dict[str, Any]) -> None:
        self.rate_, self.length_ = int(state["rate"]), int(state["length"])

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """White noise of 2 · `level` times the sound's own RMS: SNR = -20 log10(2 · level) dB.

        0 is clean, 0.5 is 0 dB, 1 is -6 dB. The padding stays silent; where the sum exceeds 16 bits the sound is
        scaled.
        """
        samples, length = inputs["samples"].float(), inputs["length"].clamp(min=1)[:, None]
        real = torch.arange(samples.shape[1]) < length
        power = (samples.square() * real).sum(1, keepdim=True) / length
        noise = torch.randn(samples.shape, generator=generator) * real
        mixed = samples + 2 * level * power.sqrt() * noise
        mixed = mixed * (32767 / mixed.abs().amax(1, keepdim=True).clamp(min=1)).clamp(max=1)
        return {**inputs, "samples": mixed.round().to(torch.int16)}

    def show(self, cell: Sound) -> dict[str, Any]:
        """The sound at the file's own rate."""
        return {"kind": "audio", "array": cell.samples, "rate": cell.rate}
