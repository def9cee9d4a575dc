"""The one way to open a film: a few frames of it, with their times, whatever its form and however long it is.

A film is a file of moving pictures (PyAV), an animated picture (Pillow), or its frames as pictures of their own, in a
list or a folder. What is kept in memory are the frames that were asked for, so two hours take no more than a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from polymodal.core.errors import BadCell, MissingExtra, require
from polymodal.data.media.containers import EARLIER, FAR, container
from polymodal.data.media.files import AGAIN, DAMAGE, head_of, looks_like, opened, told
from polymodal.data.media.picture import MOST_PIXELS, flat, read_picture
from polymodal.data.media.remarks import remark
from polymodal.data.paths import resolve
from polymodal.data.tables.table import Lazy

CUT = "it is cut short or damaged: the frames that could be decoded are used"
USUAL = 1 / 25  # seconds a frame, where a file says nothing
SMALL = 32  # pixels a side, at which shots are told apart
ABOVE, SHORTEST = 0.35, 0.3  # how far two frames differ where a shot ends, and how many seconds it has at least
FOLDER_RATE = 1.0  # frames a second of a list or folder of pictures, whose times nobody knows
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")

_DIGITS = re.compile(r"(\d+)")

# A frame's time in seconds, and what makes a picture of it whose shorter side has at most so many pixels.
Still = tuple[float, Callable[[int], Image.Image]]
Source = Path | bytes | np.ndarray | Sequence[Any]  # a file, a folder of pictures, or the frames themselves


@dataclass(frozen=True)
class Film:
    """`frames` uint8 [T, H, W, 1|3] shown at `times` float32 [T], in seconds from the beginning; `seconds` in all."""

    frames: np.ndarray
    times: np.ndarray
    seconds: float


def read_film(
    source: Source, count: int, least: int, *,
    start: float = 0.0, seconds: float | None = None, cuts: bool = False,
) -> Film:  # fmt: skip
    """At most `count` frames, upright, their shorter side at most `least` pixels.

    `source` is a file, a folder of pictures, a list of them, or the frames as one array (see `framed`).
    Frames are those shown in the middle of equal stretches; of a film that has fewer in all, each once. They come from
    the `seconds` after `start` (None: all of them), and with `cuts` from the middle of the shots: of the longest where
    there are too many, several of the longer ones where there are too few. A folder's pictures are taken in the order
    of their names, 2 before 10. Raises `BadCell`, also where nothing lies in that window; `MissingExtra` without PyAV
    for a file that needs it.
    """
    with _reel(source) as reel:
        return _chosen(reel, count, least, start, seconds, cuts)


def framed(array: np.ndarray | Sequence[Any]) -> Sequence[Any]:
    """The frames of a film that is uint8 [T, H, W] or [T, H, W, 1|3|4]; of a picture [H, W, 3|4], that alone.

    A list of frames is itself. Raises `BadCell` for any other array, and for an empty list.
    """
    if not isinstance(array, np.ndarray):
        if not array:
            raise BadCell("is an empty list, where the frames of a film were expected")
        return array
    coloured = array.shape[-1] in (1, 3, 4) if array.ndim > 2 else False
    if array.dtype != np.uint8 or not (array.ndim == 3 or (array.ndim == 4 and coloured)):
        shape = " x ".join(map(str, array.shape))
        raise BadCell(
            f"is an array of {shape} values of {array.dtype.name}, where a film is uint8 [frames, height, width] or "
            "[frames, height, width, 1, 3 or 4]"
        )
    return [array] if array.ndim == 3 and coloured else list(array)


def pictures_in(folder: Path) -> list[Path]:
    """The frames of a film that is a folder of pictures, in order. Raises `BadCell` where it holds none."""
    names = sorted((path for path in folder.iterdir() if path.suffix.lower() in PICTURES), key=counted)
    if not names:
        raise BadCell(f"{told(folder)} is a folder that holds no picture")
    return names


def read_shots(source: Source, above: float = ABOVE, shortest: float = SHORTEST) -> list[tuple[float, float]]:
    """Beginning and end of each shot, in seconds.

    One ends where the colour histogram of a frame (8 x 8 x 8 bins, at 32 x 32 pixels) differs from that of the one
    before by more than `above` (half the sum of absolute differences, 0..1; Zhang, Kankanhalli & Smoliar 1993) and by
    three times the median of the frames around it; shots shorter than `shortest` seconds are none. `source` as in
    `read_film`. Raises `BadCell`.
    """
    with _reel(source) as reel:
        return _shots(reel, above=above, shortest=shortest)


def has_sound(value: Any, base: Path) -> bool:
    """Whether the film that a table's cell holds or names, relative to `base`, has sound; False where none opens."""
    try:
        held = value.load() if isinstance(value, Lazy) else value
        return sounds(resolve(base, held) if isinstance(held, str) else held)
    except DAMAGE:
        return False


def sounds(source: Source) -> bool:
    """Whether a film has sound; False where none opens, and of frames and animated pictures."""
    if not isinstance(source, Path | bytes):
        return False
    try:
        av = require("av", "video")
    except MissingExtra:
        return False
    try:
        with opened(source) as stream:
            head = head_of(stream)
            if _is_animation(head):
                return False
            with container(stream) as held:
                return bool(held.streams.audio)
    except (av.error.FFmpegError, *DAMAGE):
        return False


class _Reel:
    """Abstract: a film that can be run through, as often as need be."""

    length: float | None = None  # seconds, as its file says; None: it does not

    def run(self, start: float = 0.0) -> Iterator[Still]:
        """Frames in order of time, from the one shown at `start`, or from any before it."""
        raise NotImplementedError

    def once(self, times: np.ndarray) -> Iterator[Still]:
        """The frames shown at `times`, each once."""
        return _shown(self.run(float(times[0])), times)


class _Listed(_Reel):
    def __init__(self, pictures: Sequence[Any]):
        self.pictures = pictures
        self.length = len(pictures) / FOLDER_RATE

    def run(self, start: float = 0.0) -> Iterator[Still]:
        for place in range(int(start * FOLDER_RATE), len(self.pictures)):
            yield place / FOLDER_RATE, partial(read_picture, self.pictures[place])


class _Animated(_Reel):
    def __init__(self, image: Image.Image):
        self.image = image

    def run(self, start: float = 0.0) -> Iterator[Still]:
        time = 0.0
        for number in range(getattr(self.image, "n_frames", 1)):
            self.image.seek(number)
            yield time, partial(_smaller, flat(self.image.copy()))
            time += max(self.image.info.get("duration") or 0.0, 20.0) / 1000  # browsers take 0 for a tenth, or less
        self.length = time


class _Coded(_Reel):
    """A container's first film. Times count from its first frame, whatever the clock of the file says."""

    def __init__(self, stream: BinaryIO):
        self.stream = stream
        with self._opened() as (held, film):
            clock = film.time_base
            self.first = float(film.start_time * clock) if film.start_time is not None else 0.0
            self.shape = float(film.sample_aspect_ratio or 1)
            if film.duration is not None:
                self.length = float(film.duration * clock)
            elif held.duration is not None:
                self.length = held.duration / 1e6

    def run(self, start: float = 0.0) -> Iterator[Still]:
        with self._opened() as (held, film):
            yield from self._from(held, film, start)

    def once(self, times: np.ndarray) -> Iterator[Still]:
        if len(times) < 2 or float(np.diff(times).min()) < FAR:
            yield from super().once(times)
            return
        with self._opened() as (held, film):
            last = -np.inf
            for time in times.tolist():
                for still in _shown(self._from(held, film, time), np.array([time])):
                    if still[0] > last:  # else one that is shown for so long
                        yield still
                    last = still[0]

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        self.stream.seek(0)
        with container(self.stream) as held:
            if not held.streams.video:
                raise BadCell(
                    "holds no video stream, only sound or data: give its column the kind audio, or leave it out"
                )
            held.streams.video[0].thread_type = "NONE"  # films are opened side by side: threads would only fight
            yield held, held.streams.video[0]

    def _from(self, held: Any, film: Any, start: float) -> Iterator[Still]:
        av = require("av", "video")
        if start >= FAR:
            with suppress(av.error.FFmpegError):  # of a form without an index: then from where it stands
                held.seek(int((start - EARLIER + self.first) / film.time_base), stream=film)
        last, gap = -USUAL, 0.0
        try:
            for frame in held.decode(film):
                if frame.width * frame.height > MOST_PIXELS:
                    raise BadCell(f"has frames of {frame.width} x {frame.height} pixels, more than are opened")
                time = last + USUAL if frame.time is None else max(last, frame.time - self.first)
                last, gap = time, time - last
                yield last, partial(self._picture, frame)
        except av.error.FFmpegError:
            remark(CUT)
        self.length = self.length or last + gap

    def _picture(self, frame: Any, least: int) -> Image.Image:
        """Upright, its pixels square."""
        width, height = frame.width * (self.shape if 0.1 < self.shape < 10 else 1.0), frame.height
        shrink = min(1.0, least / min(width, height))
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        image = Image.fromarray(frame.reformat(*size, "rgb24", interpolation="AREA").to_ndarray())
        turn = round(frame.rotation / 90) % 4
        return image.rotate(90 * turn, expand=True) if turn else image


@contextmanager
def _reel(source: Source) -> Iterator[_Reel]:
    if isinstance(source, Path) and source.is_dir():
        source = pictures_in(source)
    if isinstance(source, Path | bytes):
        with opened(source) as stream, _unreeled(stream) as reel:
            yield reel
    else:
        yield _Listed(framed(source))


@contextmanager
def _unreeled(stream: BinaryIO) -> Iterator[_Reel]:
    head = head_of(stream)
    if _is_animation(head):
        try:
            with Image.open(stream, formats=("GIF", "PNG", "WEBP")) as image:
                yield _Animated(image)
        except DAMAGE as error:
            if isinstance(error, BadCell):
                raise
            raise BadCell(f"is an animated picture that is cut short or damaged: {AGAIN}") from error
        return
    av = require("av", "video")
    try:
        yield _Coded(stream)
    except (av.error.FFmpegError, *DAMAGE) as error:
        if isinstance(error, BadCell):
            raise
        raise BadCell(f"is no film of a known form, or is cut short{looks_like(head)}") from error


def _is_animation(head: bytes) -> bool:
    return head.startswith((b"GIF8", b"\x89PNG")) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _chosen(reel: _Reel, count: int, least: int, start: float, seconds: float | None, cuts: bool) -> Film:
    length = reel.length
    if cuts:
        times = _middles(_shots(reel, start, seconds), count)
    elif length and length > 0:
        end = length if seconds is None else min(length, start + seconds)
        times = even(start, end, count) if end > start else np.empty(0)
    else:  # nobody knows how long it is before it is over
        start, end = _ends(reel, start, seconds)
        times = even(start, end, count) if end > start else np.empty(0)
    if not len(times):
        raise BadCell(f"has no frame in the {_window(start, seconds)}")
    shown: list[float] = []
    frames = np.empty((0, 0, 0, 3), np.uint8)
    for time, picture in reel.once(times):
        frame = np.asarray(picture(least).convert("RGB"))
        if not shown:
            frames = np.empty((len(times), *frame.shape), np.uint8)  # where each goes at once, for they may be many
        frames[len(shown)] = _as(frame, *frames.shape[1:3])
        shown.append(time)
    if not shown:
        raise BadCell(f"holds no frame that can be decoded: {AGAIN}")
    frames = frames[: len(shown)]
    if all((frame == frame[..., :1]).all() for frame in frames):
        frames = np.ascontiguousarray(frames[..., :1])
    return Film(frames, np.array(shown, np.float32), max(float(reel.length or 0.0), shown[-1]))


def counted(path: Path) -> list[tuple[int, str]]:
    """By what names sort as one counts: each run of digits by its number."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in _DIGITS.split(path.name)]


def even(start: float, end: float, count: int) -> np.ndarray:
    """The middles of `count` equal stretches."""
    return start + (np.arange(count) + 0.5) * (end - start) / count


def _ends(reel: _Reel, start: float, seconds: float | None) -> tuple[float, float]:
    end = np.inf if seconds is None else start + seconds
    for time, _ in reel.run():
        if time >= end:
            return start, end
    return start, min(end, reel.length or 0.0)


def _shown(stills: Iterable[Still], times: np.ndarray) -> Iterator[Still]:
    """The frames that are shown at `times`, which rise: each the last one not after its time. None comes twice."""
    wanted = iter(times.tolist())
    time, before = next(wanted), None
    for still in stills:
        taken = False
        while before is not None and still[0] > time + 1e-6:
            if not taken:
                yield before
                taken = True
            time = next(wanted, None)
            if time is None:
                return
        before = still
    if before is not None:
        yield before


def _shots(
    reel: _Reel, start: float = 0.0, seconds: float | None = None, above: float = ABOVE, shortest: float = SHORTEST
) -> list[tuple[float, float]]:
    from scipy.ndimage import median_filter

    times, histograms = [], []
    for time, picture in reel.run(start):
        if time < start:
            continue
        if seconds is not None and time >= start + seconds:
            break
        small = np.asarray(picture(SMALL).convert("RGB").resize((SMALL, SMALL))) >> 5
        code = (small[..., 0].astype(int) << 6) + (small[..., 1].astype(int) << 3) + small[..., 2]
        histograms.append(np.bincount(code.ravel(), minlength=512) / code.size)
        times.append(time)
    if not times:
        return []
    begins = [times[0]]
    if len(times) > 1:
        change = np.abs(np.diff(np.array(histograms), axis=0)).sum(1) / 2
        usual = median_filter(change, 11, mode="nearest")  # a pan changes every frame a little
        for place in np.flatnonzero((change > above) & (change > 3 * usual)):
            if times[place + 1] - begins[-1] >= shortest:
                begins.append(times[place + 1])
    return [*zip(begins, [*begins[1:], times[-1] + 1e-3])]


def _middles(shots: Sequence[tuple[float, float]], count: int) -> np.ndarray:
    """`count` times, one in each of the longest shots, and more of them in the longer where shots are fewer."""
    longest = sorted(shots, key=lambda shot: shot[0] - shot[1])[:count]
    each = [1] * len(longest)
    for _ in range(count - len(longest)) if longest else ():
        most = max(range(len(longest)), key=lambda i: (longest[i][1] - longest[i][0]) / (each[i] + 1))
        each[most] += 1
    return np.sort(np.concatenate([even(*shot, some) for shot, some in zip(longest, each)] or [np.empty(0)]))


def _smaller(image: Image.Image, least: int) -> Image.Image:
    shrink = least / min(image.size)
    if shrink >= 1:
        return image
    size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _as(frame: np.ndarray, high: int, wide: int) -> np.ndarray:
    """A frame in the shape of the first: pictures of a list may differ."""
    if frame.shape[:2] == (high, wide):
        return frame
    return np.asarray(Image.fromarray(frame).resize((wide, high), Image.Resampling.BILINEAR))


def _window(start: float, seconds: float | None) -> str:
    return f"{seconds:g} seconds after {start:g}" if seconds is not None else f"time after {start:g} seconds"
