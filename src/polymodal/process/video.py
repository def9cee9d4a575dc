"""Films: files, animated pictures or lists of frames to a few square frames each, with their times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.values import check_range
from polymodal.data.media.film import Film, read_film
from polymodal.data.media.stretch import Stretch, shorter
from polymodal.process.base import Processor
from polymodal.process.image import WORKING_SIDE, ImageProcessor, noisy

SAMPLINGS = ("even", "cuts")
FRAMES = 16  # of a film, unless more or fewer are asked for
SIDE = 64  # pixels, at most, when the side is chosen: a film has many frames


class _Frames(ImageProcessor):
    largest = SIDE


class FilmReader(Processor):
    """Abstract: what processors of films share, reading a number of frames of each.

    `sampling`: `even` takes the frames shown in the middle of equal stretches of the film, `cuts` those in the middle
    of its shots. `start` and `seconds` keep to a stretch of it; `seconds` None: to its end.
    """

    kind = "video"

    def __init__(self, frames: int, sampling: str, start: float, seconds: float | None):
        check_range("[1, 1024]", frames=frames)
        check_range("[0, 86400]", "seconds", start=start)
        check_range("[0.01, 86400]", seconds=seconds)
        if sampling not in SAMPLINGS:
            raise BadArgument(f"Unknown sampling {sampling!r}.{suggest(sampling, SAMPLINGS)}")
        self.count, self.sampling, self.start, self.seconds = frames, sampling, start, seconds

    def film(self, cell: Any, least: int) -> Film:
        """A path, a folder's path, bytes, a list or an array of pictures, or a `Stretch` of one, whose times count from
        its beginning; frames with a shorter side of at most `least`."""
        whole = cell if isinstance(cell, Stretch) else Stretch(cell, 0.0, None)
        source = Path(whole.source) if isinstance(whole.source, str) else whole.source
        start, cuts = whole.start + self.start, self.sampling == "cuts"
        seconds = shorter(whole.seconds and max(0.0, whole.seconds - self.start), self.seconds)
        film = read_film(source, self.count, least, start=start, seconds=seconds, cuts=cuts)
        return replace(film, times=film.times - np.float32(whole.start))

    def arrays(self, framed: Sequence[np.ndarray], cells: Sequence[Film]) -> dict[str, np.ndarray]:
        """Frames uint8 [T, C, H, W] of each film as `pixels` [N, frames, C, H, W], `times` and `length`."""
        pixels = np.zeros((len(cells), self.count, *framed[0].shape[1:]), np.uint8)
        times = np.zeros((len(cells), self.count), np.float32)
        for row, (frames, film) in enumerate(zip(framed, cells)):
            pixels[row, : len(frames)] = frames
            times[row, : len(frames)] = film.times
        return {"pixels": pixels, "times": times, "length": np.array([len(f) for f in framed], np.int32)}

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """White noise whose deviation is 2 · `level` times that of the film: SNR = -20 log10(2 · level) dB."""
        return {**inputs, "pixels": noisy(inputs["pixels"].float(), level, generator)}

    def show(self, cell: Film) -> dict[str, Any]:
        """Its frames, their times, and how long it is."""
        return {"kind": "video", "array": cell.frames, "times": cell.times, "seconds": cell.seconds}


class VideoProcessor(FilmReader):
    """Reads films as `data.media.film` does: `frames` of each, resized to squares.

    `size` is the side in pixels; None takes the median shorter side of the training films, at most 64. For `framing`
    see `ImageProcessor`, for the other options `FilmReader`.

    Arrays: `pixels` uint8 [N, frames, C, size, size], black where a film has fewer; `times` float32 [N, frames];
    `length` int32 [N]. Facts: `channels`, `size`, `frames`.
    """

    def __init__(
        self,
        *,
        frames: int = FRAMES,
        size: int | None = None,
        framing: str = "squash",
        sampling: str = "even",
        start: float = 0.0,
        seconds: float | None = None,
    ):
        super().__init__(frames, sampling, start, seconds)
        self.frames = frames
        self.size = size
        self.framing = framing
        self.picture = _Frames(size=size, framing=framing)

    def read(self, cell: Any) -> Film:
        """A path, bytes or a list of pictures to the film's frames, at working size. Raises `BadCell`."""
        return self.film(cell, max(WORKING_SIDE // 2, self.size or 0))

    def fit(self, cells: Iterable[Film]) -> None:
        """Choose the side and the channels from decoded training films."""
        self.picture.fit(film.frames[0] for film in cells)

    def process(self, cells: Sequence[Film]) -> dict[str, np.ndarray]:
        """Decoded films to `pixels`, `times` and `length`; see the class."""
        return self.arrays([self.picture.process(list(film.frames))["pixels"] for film in cells], cells)

    def facts(self) -> dict[str, Any]:
        return {**self.picture.facts(), "frames": self.frames}

    def state(self) -> dict[str, Any]:
        return self.picture.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.picture.load_state(state)
