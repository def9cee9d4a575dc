"""Pictures: files or bytes to square uint8 arrays."""

from __future__ import annotations

import io
import statistics
import struct
import threading
import warnings
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from polymodal.core.errors import BadArgument, BadCell, suggest
from polymodal.process.base import Processor

FRAMINGS = ("squash", "crop", "pad")
LARGEST_DEFAULT = 96  # pixels; what an encoder trained from scratch on a CPU can afford
WORKING_SIDE = 256  # pixels; `read` never keeps a shorter side above this (or above `size`)
MOST_PIXELS = 50_000_000  # decoded at once: 150 MB as RGB
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    KeyError,
    IndexError,
    OverflowError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
_HEADER = threading.Lock()


class ImageProcessor(Processor):
    """Reads pictures as PIL does, turns them upright by EXIF, and resizes them to squares.

    `size` is the side in pixels; None takes the median shorter side of the training pictures, at most 96. `framing`
    makes the square: `squash` keeps everything and changes proportions, `crop` keeps the middle, `pad` adds black
    margins.

    Pictures stay grey (one channel) when every training picture is; otherwise all become RGB. Transparent pixels are
    laid on white. Sixteen-bit pictures are scaled by the bits they use, since many hold ten or twelve; other deep
    ones by their own range.

    A JPEG of any usual size is decoded at a fraction of it. Other formats must be decoded whole, so a picture of more
    than `MOST_PIXELS` pixels is refused with `BadCell`: a few kilobytes can unpack to gigabytes.

    Arrays: `pixels` uint8 [N, C, size, size]. Facts: `channels`, `size`.
    """

    kind = "image"

    def __init__(self, *, size: int | None = None, framing: str = "squash"):
        if framing not in FRAMINGS:
            raise BadArgument(f"Unknown framing {framing!r}.{suggest(framing, FRAMINGS)}")
        if size is not None and not 4 <= size <= 2048:
            raise BadArgument(f"size is a side in pixels between 4 and 2048; got {size}.")
        self.size = size
        self.framing = framing
        self.size_ = size or LARGEST_DEFAULT
        self.channels_ = 3

    def read(self, cell: Any) -> np.ndarray:
        """A path or bytes to uint8 [H, W, C], C 1 or 3, at working size. Raises `BadCell`."""
        try:
            if isinstance(cell, bytes):
                return self._decode(io.BytesIO(cell))
            with Path(cell).open("rb") as stream:
                return self._decode(stream)
        except BadCell:
            raise
        except FileNotFoundError as error:
            raise BadCell(f"the file {Path(cell).name!r} does not exist") from error
        except _BROKEN as error:
            raise BadCell(f"not a readable picture: {_plain(error)}") from error

    def fit(self, cells: Iterable[np.ndarray]) -> None:
        """Choose the side and the channels from decoded training pictures."""
        sides, channels = [], {1}
        for picture in cells:
            sides.append(min(picture.shape[:2]))
            channels.add(picture.shape[2])
        if self.size is None and sides:
            self.size_ = max(4, min(int(statistics.median(sides)), LARGEST_DEFAULT))
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
        pixels = inputs["pixels"].float()
        spread = pixels.flatten(1).std(1).clamp(min=1.0)[:, None, None, None]
        noise = torch.randn(pixels.shape, generator=generator)
        return {**inputs, "pixels": (pixels + 2 * level * spread * noise).round().clamp(0, 255).to(torch.uint8)}

    def show(self, cell: np.ndarray) -> dict[str, Any]:
        """The picture at working size."""
        return {"kind": "image", "array": cell}

    def _decode(self, stream: Any) -> np.ndarray:
        image = _open(stream)
        width, height = image.size
        least = max(WORKING_SIDE, self.size or 0)
        scale = min(1.0, least / min(width, height), 16 * least / max(width, height))
        wanted = max(1, round(width * scale)), max(1, round(height * scale))
        image.draft(image.mode, wanted)
        if image.size[0] * image.size[1] > MOST_PIXELS:
            raise BadCell(
                f"a picture of {width} x {height} pixels is above the {MOST_PIXELS // 1_000_000} million that are "
                "decoded at once; store it smaller or as JPEG"
            )
        image.load()
        sixteen = image.mode.startswith("I;16")
        image = _averageable(image)
        image.thumbnail((max(wanted), max(wanted)), reducing_gap=2.0)
        image = _upright(_eight_bit(image, sixteen=sixteen))
        array = np.asarray(image)
        if array.ndim == 3 and (array == array[..., :1]).all():
            array = array[..., :1]  # grey stored as colour
        return array if array.ndim == 3 else array[..., None]

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


def _open(stream: Any) -> Image.Image:
    """PIL's `open` without its warning about large pictures: `_decode` has its own limit, after `draft`."""
    with _HEADER, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Image.open(stream)
        except Image.DecompressionBombError as error:
            raise BadCell(f"the picture claims too many pixels to be decoded safely: {_plain(error)}") from error


def _averageable(image: Image.Image) -> Image.Image:
    """A mode whose pixels can be averaged: L, LA, RGB, RGBA, I or F. Only then is the picture made smaller."""
    if image.mode in ("L", "LA", "RGB", "RGBA", "I", "F") and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        return image.convert("I")
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")


def _eight_bit(image: Image.Image, *, sixteen: bool) -> Image.Image:
    """Any averageable mode to L or RGB."""
    if image.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", image.size, "white")
        opaque = Image.alpha_composite(white, image.convert("RGBA"))
        return opaque.convert("L" if image.mode == "LA" else "RGB")
    if image.mode not in ("I", "F"):
        return image
    values = np.asarray(image).astype(np.float64)
    known = values[np.isfinite(values)]
    if not known.size:
        raise BadCell("the picture holds no finite value")
    low, high = known.min(), known.max()
    if sixteen:
        low, high = 0, 2.0 ** max(8, int(high).bit_length()) - 1
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    return Image.fromarray(((values - low) * (255 / max(high - low, 1e-12))).round().astype(np.uint8))


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says; a picture whose EXIF is broken is still a picture."""
    try:
        return ImageOps.exif_transpose(image)
    except _BROKEN:
        return image


def _plain(error: BaseException) -> str:
    """The error's words without an object's address or a path."""
    text = str(error).split("\n")[0].strip()
    return text.split(" <")[0][:160] if text else type(error).__name__
