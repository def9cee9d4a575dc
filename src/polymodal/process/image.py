"""Pictures: files or bytes to square uint8 arrays."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.values import check_range
from polymodal.data.media.picture import read_picture
from polymodal.process.base import Processor

FRAMINGS = ("squash", "crop", "pad")
LARGEST_DEFAULT = 96  # pixels; what an encoder trained from scratch on a CPU can afford
WORKING_SIDE = 256  # pixels; `read` never keeps a shorter side above this (or above `size`)


class ImageProcessor(Processor):
    """Reads pictures as `data.media.picture` does and resizes them to squares.

    `size` is the side in pixels; None takes the median shorter side of the training pictures, at most 96. `framing`
    makes the square: `squash` keeps everything and changes proportions, `crop` keeps the middle, `pad` adds black
    margins.

    Pictures stay grey (one channel) when every training picture is; otherwise all become RGB.

    Arrays: `pixels` uint8 [N, C, size, size]. Facts: `channels`, `size`.
    """

    kind = "image"
    largest: ClassVar[int] = LARGEST_DEFAULT

    def __init__(self, *, size: int | None = None, framing: str = "squash"):
        if framing not in FRAMINGS:
            raise BadArgument(f"Unknown framing {framing!r}.{suggest(framing, FRAMINGS)}")
        check_range("[4, 2048]", "pixels", size=size)
        self.size = size
        self.framing = framing
        self.size_ = size or self.largest
        self.channels_ = 3

    def read(self, cell: Any) -> np.ndarray:
        """A path, bytes or an array to uint8 [H, W, C], C 1 or 3, at working size. Raises `BadCell`."""
        source = cell if isinstance(cell, bytes | np.ndarray) else Path(cell)
        array = np.asarray(read_picture(source, max(WORKING_SIDE, self.size or 0)))
        if array.ndim == 3 and (array == array[..., :1]).all():
            array = array[..., :1]  # grey stored as colour
        return array if array.ndim == 3 else array[..., None]

    def fit(self, cells: Iterable[np.ndarray]) -> None:
        """Choose the side and the channels from decoded training pictures."""
        sides, channels = [], {1}
        for picture in cells:
            sides.append(min(picture.shape[:2]))
            channels.add(picture.shape[2])
        if self.size is None and sides:
            self.size_ = max(4, min(int(statistics.median(sides)), self.largest))
        self.channels_ = max(channels)

    def process(self, cells: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Decoded pictures to `pixels` uint8 [N, C, size, size]."""
        pixels = np.empty((len(cells), self.channels_, self.size_, self.size_), np.uint8)
        for row, picture in enumerate(cells):
            pixels[row] = self._square(picture)
        return {"pixels": pixels}

    def facts(self) -> dict[str, Any]:
        return {"channels": self.channels_, "size": self.size_}

    def state(self) -> dict[str, Any]:
        return {"channels": self.channels_, "size": self.size_}

    def load_state(self, state: dict[str, Any]) -> None:
        self.channels_, self.size_ = int(state["channels"]), int(state["size"])

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """White noise whose deviation is 2 · `level` times that of the picture: SNR = -20 log10(2 · level) dB.

        0 is clean, 0.5 is 0 dB, 1 is -6 dB.
        """
        return {**inputs, "pixels": noisy(inputs["pixels"].float(), level, generator)}

    def show(self, cell: np.ndarray) -> dict[str, Any]:
        """The picture at working size."""
        return {"kind": "image", "array": cell}

    def _square(self, picture: np.ndarray) -> np.ndarray:
        """uint8 [H, W, C] to [channels_, size_, size_]."""
        image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
        image = image.convert("L" if self.channels_ == 1 else "RGB")
        side = (self.size_, self.size_)
        if image.size != side:
            match self.framing:
                case "squash":
                    image = image.resize(side, Image.Resampling.BILINEAR, reducing_gap=2.0)
                case "crop":
                    image = ImageOps.fit(image, side, Image.Resampling.BILINEAR)
                case _:
                    image = ImageOps.pad(image, side, Image.Resampling.BILINEAR)
        array = np.asarray(image)
        return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def noisy(pixels: Tensor, level: float, generator: torch.Generator) -> Tensor:
    """uint8 of pixels [N, ...] with white noise whose deviation is 2 · `level` times that of the row."""
    spread = pixels.flatten(1).std(1).clamp(min=1.0).view(-1, *[1] * (pixels.ndim - 1))
    noise = torch.randn(pixels.shape, generator=generator)
    return (pixels + 2 * level * spread * noise).round().clamp(0, 255).to(torch.uint8)
