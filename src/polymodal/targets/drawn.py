"""What a head draws for a row: a field of bytes, such as a picture or the spectrogram of a sound."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from polymodal.core.errors import BadCell, BadData
from polymodal.targets.base import Target

WHITE = 255.0
HALF = 127.5  # of the values of a byte


@dataclass(frozen=True)
class DrawnTarget(Target):
    """A field of bytes [C, H, W], its `shape`, found by fit, drawn for each row.

    Cells come opened (`data.answers`): an array or a sound, or the `BadCell` that says why one cannot be opened, whose
    row then has no target. Encoded as uint8 [N, 1 + C · H · W]: 1 where the field is known, else 0, then its bytes,
    channel by channel. All are in memory at once.

    An author writes `fit`, `bytes_of` a cell, `shape`, the `mean` training field [H · W · C], `file` and `show`; and
    `middle` and `spread`, where a head should not see bytes on a scale from -1 to 1.
    """

    gives: ClassVar[tuple[str, ...]] = ("drawn",)
    drawn: ClassVar[bool] = True

    mean: tuple[int, ...] = ()

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """C, H, W."""

    @abstractmethod
    def bytes_of(self, cell: Any) -> np.ndarray:
        """uint8 [C · H · W] of an opened cell."""

    @abstractmethod
    def file(self, drawn: np.ndarray) -> bytes:
        """What was drawn, uint8 [H, W, C], as the bytes of a file."""

    @abstractmethod
    def show(self, drawn: np.ndarray) -> dict[str, Any]:
        """The same as a report shows it: as `Processor.show` gives a cell."""

    @property
    def scale(self) -> tuple[float, float]:
        """The byte that a head sees as 0, and how many more it sees as 1."""
        return HALF, HALF

    def openable(self, values: Sequence[Any]) -> list[Any]:
        """The cells that could be opened. Raises `BadData` where there is none."""
        if found := [value for value in values if _there(value)]:
            return found
        reason = next((f": it {value.reason}" for value in values if isinstance(value, BadCell)), "")
        raise BadData(f"Target {self.name!r}: no training {self.noun} can be opened{reason}.")

    def middle_of(self, total: np.ndarray, count: int) -> tuple[int, ...]:
        """`mean` from the sum [C · H · W] of `count` fields."""
        mean = (total / count).round().astype(int).reshape(self.shape)
        return tuple(mean.transpose(1, 2, 0).flatten().tolist())

    @property
    def width(self) -> int:
        """How many bytes a field holds."""
        return int(np.prod(self.shape))

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        encoded = np.zeros((len(values), 1 + self.width), np.uint8)
        for row, value in enumerate(values):
            if _there(value):
                encoded[row, 0], encoded[row, 1:] = 1, self.bytes_of(value)
        return encoded

    def known(self, encoded: Any) -> Any:
        return encoded[:, 0] > 0

    def fields(self, encoded: Any) -> Any:
        """[N, C, H, W] uint8 of encoded rows, an array or a tensor; 0 where none is known."""
        return encoded[:, 1:].reshape(len(encoded), *self.shape)

    def unseen(self, values: Sequence[Any]) -> dict[str, int]:
        return dict(Counter(value.reason for value in values if isinstance(value, BadCell)))

    def survey(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[int, str]]:
        return {}, {row: value.reason for row, value in enumerate(values) if isinstance(value, BadCell)}

    def truth(self, encoded: np.ndarray) -> np.ndarray:
        """[N, H, W, C]: uint8, or float32 with NaN for rows without a field where there is one."""
        fields, known = self.fields(encoded).transpose(0, 2, 3, 1), self.known(encoded)
        return fields if known.all() else np.where(known[:, None, None, None], fields, np.nan).astype(np.float32)

    def prediction(self, decoded: Mapping[str, np.ndarray]) -> np.ndarray:
        """[N, M, H, W, C] uint8: M a row, drawn by itself each."""
        return decoded["drawn"]

    def chance(self) -> np.ndarray:
        """The mean training field, [1, H, W, C]."""
        channels, high, wide = self.shape
        return np.array(self.mean, np.uint8).reshape(1, high, wide, channels)

    @property
    def usual(self) -> str:
        return f"the mean {self.noun}"

    def columns(self, decoded: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        """The first that was drawn of each row, as the bytes of a file."""
        return {self.name: [self.file(drawn[0]) for drawn in decoded["drawn"]]}

    def column_names(self) -> list[str]:
        return [self.name]

    def written(self, values: Sequence[Any]) -> list[Any]:
        """The file's name where the cell holds one, else what is there in words."""
        return [None if value is None else value if isinstance(value, str) else f"a {self.noun}" for value in values]

    def answer(self, decoded: Mapping[str, np.ndarray], row: int) -> tuple[str | float, float | None]:
        return self.task, None

    def told(self, truth: Any, prediction: Any) -> dict[str, Any]:
        return {"truth": self.task, "prediction": self.task, "probability": None}

    def mistakes(self, truth: np.ndarray, predictions: np.ndarray, labelled: np.ndarray, most: int) -> np.ndarray:
        """None: what is drawn and is not the true one is no mistake."""
        return np.zeros(0, np.int64)

    def explained(self, predictions: np.ndarray) -> np.ndarray:
        """[2^K, N] how much a drawing is like that from all streams: 1 less the mean difference of its bytes."""
        away = np.abs(predictions[:, :, 0].astype(np.float32) - predictions[-1, :, 0].astype(np.float32)) / WHITE
        return 1 - away.mean((2, 3, 4), dtype=np.float64)

    @property
    def unit(self) -> str:
        return f"likeness of the {self.noun}"


def _there(value: Any) -> bool:
    return value is not None and not isinstance(value, BadCell)
