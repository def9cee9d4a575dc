"""Cleaning video: frames to look at, and where a shot ends."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from polymodal.core.errors import require
from polymodal.core.values import check_range
from polymodal.data.media.containers import container
from polymodal.data.media.sound import Sound, soundtrack
from polymodal.ops.base import RowOp
from polymodal.ops.rows import Row


class Frames(RowOp):
    """`count` frames, evenly over the film, each a picture in a column of its own: `NAME_frame1` … ; and the sound.

    Frames are those shown in the middles of equal stretches of time, so that a black first frame is not among them,
    turned as the film says that it was held. With `sound`
    the first audio stream goes to `NAME_sound` as one channel, missing where there is none (PyAV, BSD; FFmpeg, LGPL).
    """

    kinds = ("video",)

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        count: int = 4,
        sound: bool = True,
    ):
        super().__init__(columns=columns)
        self.count = count
        self.sound = sound
        check_range("[1, 64]", "frames", count=count)
        require("av", "video")

    def adds(self) -> dict[str, str]:
        frames = {f"{c}_frame{i + 1}": "image" for c in self.chosen for i in range(self.count)}
        return frames | ({f"{c}_sound": "audio" for c in self.chosen} if self.sound else {})

    def edit(self, row: Row) -> None:
        for column in self.chosen:
            content = row.get(column)
            if content is None:
                continue
            for i, picture in enumerate(sample_frames(content, self.count)):
                row.put(f"{column}_frame{i + 1}", picture)
            if self.sound:
                track = soundtrack(io.BytesIO(content))
                row.put(f"{column}_sound", None if track is None else Sound(track.mono(), track.rate))


class Shots(RowOp):
    """Where shots end: seconds of the cuts, in the column `NAME_cuts`, and how many shots there are, in `NAME_shots`.

    A cut is where the colour histogram of a frame (8 x 8 x 8 bins, at 32 x 32 pixels) differs from that of the one
    before by more than `above` (half the sum of absolute differences, 0..1; Zhang, Kankanhalli & Smoliar 1993) and by
    three times the median of the frames around it; shots shorter than `shortest` seconds are none.
    """

    kinds = ("video",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, above: float = 0.35, shortest: float = 0.3):
        super().__init__(columns=columns)
        self.above = above
        self.shortest = shortest
        check_range("(0, 1)", above=above)
        check_range("[0, inf)", shortest=shortest)
        require("av", "video")

    def adds(self) -> dict[str, str]:
        return {f"{c}_cuts": "other" for c in self.chosen} | {f"{c}_shots": "number" for c in self.chosen}

    def edit(self, row: Row) -> None:
        for column in self.chosen:
            content = row.get(column)
            if content is not None:
                starts = cuts(content, self.above, self.shortest)
                row.put(f"{column}_cuts", "|".join(f"{t:.2f}" for t in starts))
                row.put(f"{column}_shots", len(starts) + 1)


def decoded(content: bytes) -> Iterator[Any]:
    """Frames of the first video stream; ends quietly where the file is cut short."""
    av = require("av", "video")
    with container(io.BytesIO(content)) as held:
        held.streams.video[0].thread_type = "NONE"  # one film a process: threads only fight
        try:
            yield from held.decode(video=0)
        except av.error.FFmpegError:
            return


def sample_frames(content: bytes, count: int) -> list[Any]:
    """`count` PIL pictures, shown in the middles of equal stretches of time, upright; a short film repeats frames."""
    start, seconds, rate = _span(content)
    wanted = [start + (i + 0.5) / count * seconds for i in range(count)]
    kept: list[Any] = []
    shown: Any = None
    for number, frame in enumerate(decoded(content)):
        time = number / rate if frame.time is None else float(frame.time)
        while shown is not None and len(kept) < count and time > wanted[len(kept)]:
            kept.append(_picture(shown))
        shown = frame
        if len(kept) == count:
            break
    return kept + [_picture(shown)] * (count - len(kept))


def _span(content: bytes) -> tuple[float, float, float]:
    """When the first frame is shown and how long all are, in seconds, and how many a second: without decoding them."""
    av = require("av", "video")
    begins, ends, count = [], [], 0
    with container(io.BytesIO(content)) as held:
        stream = held.streams.video[0]
        rate = float(stream.average_rate or stream.base_rate or 25)
        with suppress(av.error.FFmpegError):  # cut short: what there is counts
            for packet in held.demux(stream):
                count += packet.size > 0
                if packet.pts is not None:
                    begins.append(float(packet.pts * packet.time_base))
                    ends.append(begins[-1] + float((packet.duration or 0) * packet.time_base))
    if not begins:
        return 0.0, count / rate, rate
    return min(begins), max(ends) - min(begins), rate


def _picture(frame: Any) -> Any:
    """A frame as a PIL picture, turned as the film says: telephones write how they were held."""
    picture = frame.to_image()
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture


def cuts(content: bytes, above: float, shortest: float) -> list[float]:
    """Seconds at which a new shot begins."""
    from scipy.ndimage import median_filter

    times, histograms = [], []
    for frame in decoded(content):
        small = frame.reformat(32, 32, "rgb24").to_ndarray() >> 5
        code = (small[..., 0].astype(int) << 6) + (small[..., 1].astype(int) << 3) + small[..., 2]
        histograms.append(np.bincount(code.ravel(), minlength=512) / code.size)
        times.append(float(frame.time or 0))
    if len(times) < 2:
        return []
    change = np.abs(np.diff(np.array(histograms), axis=0)).sum(1) / 2
    usual = median_filter(change, 11, mode="nearest")  # a pan changes every frame a little
    starts: list[float] = []
    for i in np.flatnonzero((change > above) & (change > 3 * usual)):
        start = times[i + 1]
        if start - (starts[-1] if starts else times[0]) >= shortest:
            starts.append(start)
    return starts
