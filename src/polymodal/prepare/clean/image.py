"""Cleaning pictures: broken ones, turned ones, empty ones, blurred ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from polymodal.core.errors import BadArgument
from polymodal.prepare.base import CellOp
from polymodal.prepare.rows import Row, SetAside

_ORIENTATION = 0x0112  # the EXIF tag


class Readable(CellOp):
    """Sets aside what cannot be opened: absent, empty, truncated, of another kind, or too large to decode."""

    kinds = ("image", "audio", "series")

    def __init__(self, *, columns: Sequence[str] | str | None = None):
        super().__init__(columns=columns)

    def mend(self, value: Any, row: Row) -> Any:
        return value


class Upright(CellOp):
    """Turns a picture as its EXIF tag says, so that readers that ignore the tag see it upright."""

    kinds = ("image",)

    def __init__(self, *, columns: Sequence[str] | str | None = None):
        super().__init__(columns=columns)

    def mend(self, value: Image.Image, row: Row) -> Image.Image:
        return value if value.getexif().get(_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(value)


class Uniform(CellOp):
    """Sets aside pictures of nearly one colour: grey values whose standard deviation (0..255) is below `below`."""

    kinds = ("image",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, below: float = 4.0):
        super().__init__(columns=columns)
        self.below = below
        if below <= 0:
            raise BadArgument(f"below must be above 0; got {below}.")

    def mend(self, value: Image.Image, row: Row) -> Image.Image:
        spread = float(np.asarray(value.convert("L"), dtype=np.float32).std())
        if spread < self.below:
            raise SetAside(f"is of nearly one colour (grey values spread by {spread:.1f}, below {self.below:g})")
        return value
