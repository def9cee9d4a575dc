"""A picture: what a head draws for a row."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
from PIL import Image

from polymodal.core.errors import BadCell, BadData
from polymodal.core.registry import Spec
from polymodal.core.values import check_range
from polymodal.targets.base import Target

WHITE = 255.0


@dataclass(frozen=True)
class PictureTarget(Target):
    """A picture of `size` x `size` pixels: grey where every training picture is, else red, green and blue.

    Cells come opened (`data.answers`): uint8 [H, W], [H, W, 1] or [H, W, 3], or the `BadCell` that says why one cannot
    be opened, whose row then has no target. Pictures that are no squares are stretched, so that nothing of them is
    lost. `channels`, 1 or 3, and `mean`, the mean training picture [size · size · channels], are found by fit.

    Encoded as uint8 [N, 1 + C · size²]: 1 where the picture is known, else 0, then its pixels, channel by channel. All
    are in memory at once: 100,000 colour pictures of 32 pixels take 0.3 GB, of 64 pixels 1.2 GB.

    Raises `BadArgument` for a side that is not between 4 and 64 pixels.
    """

    channels: int = 3
    mean: tuple[int, ...] = ()
    size: int = field(default=32, kw_only=True)

    head: ClassVar[str] = "flow"
    form: ClassVar[str] = "picture"
    gives: ClassVar[tuple[str, ...]] = ("pictures",)
    opened: ClassVar[str] = "image"
    drawn: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_range("[4, 64]", "pixels", size=self.size)

    def fit(self, values: Sequence[Any]) -> Self:
        if not (known := [value for value in values if isinstance(value, np.ndarray)]):
            reason = next((f": it {value.reason}" for value in values if isinstance(value, BadCell)), "")
            raise BadData(f"Target {self.name!r}: no training picture can be opened{reason}.")
        found = replace(self, channels=1 if all(map(_is_grey, known)) else 3)
        total = np.zeros(found.width, np.float64)
        for value in known:
            total += found._squared(value)
        middle = (total / len(known)).round().astype(int).reshape(found.channels, self.size, self.size)
        return replace(found, mean=tuple(middle.transpose(1, 2, 0).flatten().tolist()))

    @property
    def width(self) -> int:
        """How many numbers a picture holds."""
        return self.channels * self.size**2

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, S, S."""
        return self.channels, self.size, self.size

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        encoded = np.zeros((len(values), 1 + self.width), np.uint8)
        for row, value in enumerate(values):
            if isinstance(value, np.ndarray):
                encoded[row, 0], encoded[row, 1:] = 1, self._squared(value)
        return encoded

    def known(self, encoded: Any) -> Any:
        return encoded[:, 0] > 0

    def pixels(self, encoded: Any) -> Any:
        """[N, C, size, size] uint8 of encoded rows, an array or a tensor; 0 where none is known."""
        return encoded[:, 1:].reshape(len(encoded), *self.shape)

    def unseen(self, values: Sequence[Any]) -> dict[str, int]:
        return dict(Counter(value.reason for value in values if isinstance(value, BadCell)))

    def survey(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[int, str]]:
        return {}, {row: value.reason for row, value in enumerate(values) if isinstance(value, BadCell)}

    @property
    def summary(self) -> str:
        return f"pictures of {self.size} x {self.size} pixels, {'grey' if self.channels == 1 else 'in colour'}"

    @property
    def task(self) -> str:
        return f"a picture of {self.size} x {self.size} pixels"

    @property
    def metrics(self) -> tuple[Spec, ...]:
        return ("energy",)

    def truth(self, encoded: np.ndarray) -> np.ndarray:
        """[N, size, size, C]: uint8, or float32 with NaN for rows without a picture where there is one."""
        pixels, known = self.pixels(encoded).transpose(0, 2, 3, 1), self.known(encoded)
        return pixels if known.all() else np.where(known[:, None, None, None], pixels, np.nan).astype(np.float32)

    def prediction(self, decoded: Mapping[str, np.ndarray]) -> np.ndarray:
        """[N, M, size, size, C] uint8: M pictures a row, drawn by itself each."""
        return decoded["drawn"]

    def chance(self) -> np.ndarray:
        """The mean training picture, [1, size, size, C]."""
        return np.array(self.mean, np.uint8).reshape(1, self.size, self.size, self.channels)

    @property
    def usual(self) -> str:
        return "the mean picture"

    def columns(self, decoded: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        """The first picture of each row, as the bytes of a PNG file."""
        return {self.name: [png(pictures[0]) for pictures in decoded["drawn"]]}

    def column_names(self) -> list[str]:
        return [self.name]

    def written(self, values: Sequence[Any]) -> list[Any]:
        """The file's name where the cell holds one, else what is there in words."""
        return [None if value is None else value if isinstance(value, str) else "a picture" for value in values]

    def answer(self, decoded: Mapping[str, np.ndarray], row: int) -> tuple[str | float, float | None]:
        return self.task, None

    def told(self, truth: Any, prediction: Any) -> dict[str, Any]:
        return {"truth": self.task, "prediction": self.task, "probability": None}

    def mistakes(self, truth: np.ndarray, predictions: np.ndarray, labelled: np.ndarray, most: int) -> np.ndarray:
        """None: a picture that is not the true one is no mistake."""
        return np.zeros(0, np.int64)

    def explained(self, predictions: np.ndarray) -> np.ndarray:
        """[2^K, N] how much a drawn picture is like that from all streams: 1 less the mean difference of pixels."""
        away = np.abs(predictions[:, :, 0].astype(np.float32) - predictions[-1, :, 0].astype(np.float32)) / WHITE
        return 1 - away.mean((2, 3, 4), dtype=np.float64)

    @property
    def unit(self) -> str:
        return "likeness of the picture"

    def _squared(self, picture: np.ndarray) -> np.ndarray:
        """uint8 [H, W] or [H, W, C] to [C · size²]."""
        picture = picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
        image = Image.fromarray(picture).convert("L" if self.channels == 1 else "RGB")
        if image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR, reducing_gap=2.0)
        array = np.asarray(image)
        return (array if array.ndim == 2 else array.transpose(2, 0, 1)).reshape(-1)


def png(picture: np.ndarray) -> bytes:
    """uint8 [H, W, 1] or [H, W, 3] as the bytes of a PNG file."""
    held = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(held, "PNG")
    return held.getvalue()


def _is_grey(picture: np.ndarray) -> bool:
    return picture.ndim == 2 or picture.shape[2] == 1 or bool((picture == picture[..., :1]).all())
