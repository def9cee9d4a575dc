"""The one way to open a sound, and what a sound is once it is open."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from polymodal.core.errors import BadCell, MissingExtra, NoCell, require
from polymodal.data.kinds import KINDS
from polymodal.data.media.containers import EARLIER, FAR, container
from polymodal.data.media.files import AGAIN, DAMAGE, head_of, looks_like, missing_bytes, opened
from polymodal.data.media.picture import is_animated
from polymodal.data.media.remarks import remark

FASTEST = 1_000_000  # Hz: recorders of bats take half of it; beyond, a few kilobytes claim gigabytes
MOST_VALUES = 1 << 29  # samples times channels that are read at once: 2 GB, three hours of one channel at 48 kHz
# Of n channels that have nothing in common the mean has an n-th of their power; channels that cancel leave less than
# a fifth of that: of two, those whose correlation is below -0.8.
CANCELLED = 0.2
CUT = "it is cut short or damaged: what could be decoded from its beginning is used"
LOUDEST = 16.0  # times full scale: 24 dB above it, beyond any headroom of a recording
LOUD = f"it has samples beyond {LOUDEST:g} times full scale, a fault or another unit: its largest was made full scale"
OPPOSITE = "its channels are of opposite phase and cancel one another when mixed, so the loudest was taken alone"


@dataclass(frozen=True)
class Sound:
    """`samples` float32 [n] or [n, channels], within -1..1 unless the file says more, at `rate` samples a second."""

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def mono(self) -> np.ndarray:
        """float32 [n]: the mean of the channels; the loudest one where they are of opposite phase, so that their mean
        would be next to silence, as of a balanced cable taken for a pair."""
        if self.samples.ndim == 1:
            return self.samples
        mean = self.samples.mean(1, dtype=np.float32)
        power = np.square(self.samples, dtype=np.float32).mean(0, dtype=np.float64)
        if np.square(mean).mean(dtype=np.float64) < CANCELLED / self.samples.shape[1] * power.mean():
            remark(OPPOSITE)
            return np.ascontiguousarray(self.samples[:, power.argmax()])
        return mean

    def at(self, rate: int) -> np.ndarray:
        """One channel at another rate, float32 [m] (soxr); of a sound, however short, a sample is left."""
        samples = np.nan_to_num(self.mono().astype(np.float32, copy=False))
        if self.rate == rate:
            return samples
        import soxr

        resampled = soxr.resample(samples, self.rate, rate)
        return resampled if len(resampled) else samples[:1]


def read_mono(source: Path | bytes, seconds: float | None = None, start: float = 0.0) -> Sound:
    """As `read_sound`, mixed to one channel within -1 to 1."""
    sound = read_sound(source, seconds, start)
    mono = sound.mono()
    return Sound(mono / max(1.0, float(np.abs(mono).max())), sound.rate)


def read_sound(source: Path | bytes, seconds: float | None = None, start: float = 0.0) -> Sound:
    """A sound as libsndfile reads it (wav, flac, ogg, mp3 …), else as PyAV does (m4a, aac, amr, wma; films' sound).

    No more than `seconds` after `start` are read. Raises `BadCell`, also for a file that lacks what was asked for
    of what its header promises, and for one that claims more samples than are opened.
    """
    with opened(source) as stream:
        try:
            sound = _by_sndfile(stream, source, seconds, start)
        except DAMAGE as error:
            if isinstance(error, BadCell):
                raise
            sound = _by_av(stream, seconds, start, error)
        if not len(sound.samples):
            raise BadCell(f"holds no sample{f' after {start:g} seconds' if start else ''}: {AGAIN}")
        if not np.isfinite(peak := np.abs(sound.samples).max()):
            raise BadCell(f"holds samples that are no numbers (NaN or infinite): {AGAIN}")
        if peak > LOUDEST:
            remark(LOUD)
            sound = Sound(sound.samples / peak, sound.rate)
    return sound


def _by_sndfile(stream: BinaryIO, source: Path | bytes, seconds: float | None, start: float) -> Sound:
    import soundfile

    with soundfile.SoundFile(str(source) if isinstance(source, Path) else stream) as file:
        rate, frames = file.samplerate, -1 if seconds is None else math.ceil(seconds * file.samplerate)
        _check_rate(rate)
        first = min(round(start * rate), file.frames)
        if first:
            file.seek(first)
        there = file.frames - first if frames < 0 else min(frames, file.frames - first)
        if there * file.channels > MOST_VALUES:
            raise BadCell(_too_long(f"says that it has {there / rate:,.0f} seconds of {file.channels} channels"))
        samples = file.read(frames, dtype="float32")
        if (frames < 0 or len(samples) < frames) and (missing := missing_bytes(stream)):
            raise BadCell(f"is cut short: the last {missing:,} bytes that its header promises are missing; {AGAIN}")
    return Sound(samples, rate)


def _by_av(stream: BinaryIO, seconds: float | None, start: float, error: BaseException) -> Sound:
    head = head_of(stream)
    told = looks_like(head)
    try:
        av = require("av", "video")
    except MissingExtra as absent:
        also = (
            "" if "polymodal[video]" in told else " (pip install 'polymodal[video]' for AAC, AMR, WMA and films' sound)"
        )
        raise BadCell(f"is no sound that libsndfile opens{also}, or is cut short{told}") from absent
    if is_animated(stream):
        raise NoCell("a film without sound")
    unknown = BadCell(f"is no sound of a known form, or is cut short{told}")
    try:
        sound = soundtrack(stream, seconds, start)
    except BadCell:
        raise
    except (av.error.FFmpegError, *DAMAGE):
        raise unknown from error
    if sound is None and KINDS.of_bytes(head) in KINDS["audio"].also:
        raise NoCell("a film without sound")
    if sound is None or not (len(sound.samples) or start):
        raise unknown from error
    return sound


def soundtrack(stream: BinaryIO, seconds: float | None = None, start: float = 0.0) -> Sound | None:
    """The first audio stream of a film or an m4a, as far as it can be decoded; None where there is none.

    No more than `seconds` after `start` are kept, and where a film's times tell the place, little more is decoded.
    Raises `BadCell` for one that claims too much, `MissingExtra` without PyAV (extra `video`), and PyAV's own errors
    for what is no such file.
    """
    if not (rate := _rate(stream)):
        return None
    stream.seek(0)
    with container(stream) as held:
        first, last = round(start * rate), math.inf if seconds is None else math.ceil((start + seconds) * rate)
        parts, count = [], 0
        for place, part in _decoded(held, rate, _sought(held, start)):
            parts.append(part[max(0, first - place) : max(0, min(last, place + len(part)) - place)])
            count += len(parts[-1])
            if place + len(part) >= last:
                break
            if count * part.shape[1] > MOST_VALUES:
                raise BadCell(_too_long(f"has more than {count / rate:,.0f} seconds of {part.shape[1]} channels"))
    samples = np.concatenate(parts or [np.zeros((0, 1), np.float32)])
    return Sound(samples[:, 0] if samples.shape[1] == 1 else samples, rate)


def _rate(stream: BinaryIO) -> int | None:
    """Samples a second of the first audio stream, as its first frame has them where the file does not say; None where
    there is no such stream. Raises `BadCell` for more than are opened, and where nothing can be decoded."""
    stream.seek(0)
    with container(stream) as held:
        if not held.streams.audio:
            return None
        rate = held.streams.audio[0].rate or next((frame.sample_rate for frame in held.decode(audio=0)), 0)
    if not rate:
        raise BadCell(f"has a sound of which nothing can be decoded: {AGAIN}")
    _check_rate(rate)
    return rate


def _sought(held: Any, start: float) -> bool:
    """Whether decoding now begins before `start` seconds, but not at the beginning: where it is far, in a form whose
    times can be trusted. Raw AAC, MP3 and AMR have none, and those of MPEG's streams may begin anew on the way."""
    av, track = require("av", "video"), held.streams.audio[0]
    guessed = av.format.Flags.generic_index | av.format.Flags.ts_discont
    if start < FAR or held.format.flags & guessed.value:
        return False
    with suppress(av.error.FFmpegError):
        held.seek(int((start - EARLIER) / track.time_base) + (track.start_time or 0), stream=track)
        return True
    return False


def _decoded(held: Any, rate: int, sought: bool) -> Iterator[tuple[int, np.ndarray]]:
    """float32 [n, channels], a frame at a time, and the place of its first sample; of what was `sought` by its time."""
    av, track = require("av", "video"), held.streams.audio[0]
    turn = av.AudioResampler(format="flt", rate=rate)
    place = None if sought else 0
    try:
        for frame in held.decode(track):
            if place is None and frame.pts is None:
                continue
            if place is None:
                place = round((frame.pts - (track.start_time or 0)) * frame.time_base * rate)
            for part in map(_values, turn.resample(frame)):
                yield place, part
                place += len(part)
    except av.error.FFmpegError:
        remark(CUT)
    with suppress(ValueError, av.error.FFmpegError):  # of no frame there is no rest
        for part in map(_values, turn.resample(None)):
            yield place or 0, part


def _values(frame: Any) -> np.ndarray:
    return frame.to_ndarray().reshape(-1, len(frame.layout.channels)).astype(np.float32, copy=False)


def _check_rate(rate: int) -> None:
    if rate > FASTEST:
        raise BadCell(f"says that it has {rate:,} samples a second, above the {FASTEST:,} that are opened: {AGAIN}")


def _too_long(what: str) -> str:
    return f"{what}, more than the {MOST_VALUES / 1e6:.0f} million values that are opened: cut it into pieces"
