"""A picture: what a head draws for a row."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
from PIL import Image

from polymodal.core.registry import Spec
from polymodal.core.values import check_range
from polymodal.targets.drawn import DrawnTarget


@dataclass(frozen=True)
class PictureTarget(DrawnTarget):
    """A picture of `size` x `size` pixels: grey where every training picture is, else red, green and blue.

    Cells are uint8 [H, W], [H, W, 1] or [H, W, 3]. Pictures that are no squares are stretched, so that nothing of them
    is lost. `channels`, 1 or 3, is found by fit. 100,000 colour pictures of 32 pixels take 0.3 GB, of 64 pixels 1.2 GB.

    Raises `BadArgument` for a side that is not between 4 and 64 pixels.
    """

    channels: int = 3
    size: int = field(default=32, kw_only=True)

    head: ClassVar[str] = "flow"
    form: ClassVar[str] = "picture"
    opened: ClassVar[str] = "image"
    noun: ClassVar[str] = "picture"

    def __post_init__(self) -> None:
        check_range("[4, 64]", "pixels", size=self.size)

    def fit(self, values: Sequence[Any]) -> Self:
        known = self.openable(values)
        found = replace(self, channels=1 if all(map(_is_grey, known)) else 3)
        total = np.zeros(found.width, np.float64)
        for value in known:
            total += found.bytes_of(value)
        return replace(found, mean=found.middle_of(total, len(known)))

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.size, self.size

    @property
    def summary(self) -> str:
        return f"pictures of {self.size} x {self.size} pixels, {'grey' if self.channels == 1 else 'in colour'}"

    @property
    def task(self) -> str:
        return f"a picture of {self.size} x {self.size} pixels"

    @property
    def metrics(self) -> tuple[Spec, ...]:
        return ("energy",)

    def bytes_of(self, cell: np.ndarray) -> np.ndarray:
        """uint8 [H, W] or [H, W, C] to [C · size²]."""
        picture = cell[..., 0] if cell.ndim == 3 and cell.shape[2] == 1 else cell
        image = Image.fromarray(picture).convert("L" if self.channels == 1 else "RGB")
        if image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR, reducing_gap=2.0)
        array = np.asarray(image)
        return (array if array.ndim == 2 else array.transpose(2, 0, 1)).reshape(-1)

    def file(self, drawn: np.ndarray) -> bytes:
        """A PNG file."""
        held = io.BytesIO()
        Image.fromarray(drawn[..., 0] if drawn.shape[-1] == 1 else drawn).save(held, "PNG")
        return held.getvalue()

    def show(self, drawn: np.ndarray) -> dict[str, Any]:
        return {"kind": "image", "array": drawn}


def _is_grey(picture: np.ndarray) -> bool:
    return picture.ndim == 2 or picture.shape[2] == 1 or bool((picture == picture[..., :1]).all())
