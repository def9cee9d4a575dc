"""Cleaning video: frames to look at, and where a shot ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from polymodal.core.errors import require
from polymodal.core.values import check_range
from polymodal.data.media.film import even, read_film, read_shots, sounds
from polymodal.data.media.sound import Sound, read_sound
from polymodal.ops.base import RowOp
from polymodal.ops.rows import Row

WHOLE = 1 << 16  # pixels: no shorter side is longer


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
            film = read_film(content, self.count, WHOLE)
            # Of a short film frames are shown several times.
            shown = np.searchsorted(film.times, even(0.0, film.seconds, self.count), side="right") - 1
            for i, place in enumerate(shown.clip(0)):
                frame = film.frames[place]
                row.put(f"{column}_frame{i + 1}", Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame))
            if self.sound:
                track = read_sound(content) if sounds(content) else None
                row.put(f"{column}_sound", track and Sound(track.mono(), track.rate))


class Shots(RowOp):
    """Where shots end: seconds of the cuts, in the column `NAME_cuts`, and how many shots there are, in `NAME_shots`.

    For `above` and `shortest` see `data.media.film.read_shots` (Zhang, Kankanhalli & Smoliar 1993).
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
                shots = read_shots(content, self.above, self.shortest)
                row.put(f"{column}_cuts", "|".join(f"{begin:.2f}" for begin, _ in shots[1:]))
                row.put(f"{column}_shots", len(shots))
