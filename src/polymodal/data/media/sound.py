"""The one way to open a sound, and what a sound is once it is open."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from polymodal.core.errors import BadCell, MissingExtra, require
from polymodal.data.media.files import AGAIN, DAMAGE, head_of, looks_like, missing_bytes, opened

FASTEST = 1_000_000  # Hz: recorders of bats take half of it; beyond, a few kilobytes claim gigabytes
MOST_VALUES = 1 << 29  # samples times channels that are read at once: 2 GB, three hours of one channel at 48 kHz


@dataclass(frozen=True)
class Sound:
    """`samples` float32 [n] or [n, channels], within -1..1 unless the file says more, at `rate` samples a second."""

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def mono(self) -> np.ndarray:
        """float32 [n]: the mean of the channels."""
        return self.samples if self.samples.ndim == 1 else self.samples.mean(1, dtype=np.float32)

    def at(self, rate: int) -> np.ndarray:
        """One channel at another rate, float32 [m] (soxr); of a sound, however short, a sample is left."""
        samples = np.nan_to_num(self.mono().astype(np.float32, copy=False))
        if self.rate == rate:
            return samples
        import soxr

        resampled = soxr.resample(samples, self.rate, rate)
        return resampled if len(resampled) else samples[:1]


def read_sound(source: Path | bytes, seconds: float | None = None) -> Sound:
    """A sound as libsndfile reads it (wav, flac, ogg, mp3 …), else, in a container of films (m4a), as PyAV does.

    No more than `seconds` from its beginning are read. Raises `BadCell`, also for a file that lacks what was asked for
    of what its header promises, and for one that claims more samples than are opened.
    """
    with opened(source) as stream:
        try:
            sound = _by_sndfile(stream, source, seconds)
        except DAMAGE as error:
            if isinstance(error, BadCell):
                raise
            sound = _by_av(stream, seconds, error)
        if not len(sound.samples):
            raise BadCell(f"holds no sample: {AGAIN}")
        if not np.isfinite(sound.samples).all():
            raise BadCell(f"holds samples that are no numbers (NaN or infinite): {AGAIN}")
    return sound


def _by_sndfile(stream: BinaryIO, source: Path | bytes, seconds: float | None) -> Sound:
    import soundfile

    with soundfile.SoundFile(str(source) if isinstance(source, Path) else stream) as file:
        rate, frames = file.samplerate, -1 if seconds is None else math.ceil(seconds * file.samplerate)
        if rate > FASTEST:
            raise BadCell(f"says that it has {rate:,} samples a second, above the {FASTEST:,} that are opened: {AGAIN}")
        there = file.frames if frames < 0 else min(frames, file.frames)
        if there * file.channels > MOST_VALUES:
            raise BadCell(
                f"says that it has {there / rate:,.0f} seconds of {file.channels} channels, more than the "
                f"{MOST_VALUES / 1e6:.0f} million values that are opened: cut it into pieces, or it is damaged"
            )
        samples = file.read(frames, dtype="float32")
        if (frames < 0 or len(samples) < frames) and (missing := missing_bytes(stream)):
            raise BadCell(f"is cut short: the last {missing:,} bytes that its header promises are missing; {AGAIN}")
    return Sound(samples, rate)


def _by_av(stream: BinaryIO, seconds: float | None, error: BaseException) -> Sound:
    head = head_of(stream)
    unknown = BadCell(f"is no sound of a known form, or is cut short{looks_like(head)}")
    if head[4:8] != b"ftyp":
        raise unknown from error
    try:
        av = require("av", "video")
    except MissingExtra:
        raise unknown from error
    try:
        sound = soundtrack(stream, seconds)
    except (av.error.FFmpegError, *DAMAGE):
        raise unknown from error
    if sound is None:
        raise unknown from error
    return sound


def soundtrack(stream: BinaryIO, seconds: float | None = None) -> Sound | None:
    """The first audio stream of a film or an m4a as one channel, as far as it can be decoded; None where there is none.

    Raises `MissingExtra` without PyAV (extra `video`), and PyAV's own errors for what is no such file.
    """
    av = require("av", "video")
    with av.open(stream) as container:
        if not container.streams.audio:
            return None
        rate = container.streams.audio[0].rate
        most = MOST_VALUES if seconds is None else math.ceil(seconds * rate)
        turn = av.AudioResampler(format="flt", layout="mono", rate=rate)
        parts, count = [], 0
        for part in _decoded(av, container, turn):
            parts.append(part)
            count += len(part)
            if count >= most:
                break
    return Sound(np.concatenate(parts)[:most].astype(np.float32), rate) if parts else None


def _decoded(av: Any, container: Any, turn: Any) -> Iterator[np.ndarray]:
    with suppress(av.error.FFmpegError):  # cut short: what there is counts
        for frame in container.decode(audio=0):
            yield from (made.to_ndarray()[0] for made in turn.resample(frame))
    with suppress(ValueError, av.error.FFmpegError):  # of no frame there is no rest
        yield from (made.to_ndarray()[0] for made in turn.resample(None))
