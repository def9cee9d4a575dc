"""Processor: raw cells of one field to tensors of fixed shape, fitted on the training split only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument

Decoded = Any
T = TypeVar("T")


class Processor(ABC):
    """Turns one field's raw cells into arrays that an encoder of the same kind reads.

    Three steps, so that a broken cell costs one cell and reading is done once:

    - `read(cell)` decodes one raw cell (a path, a string, a list, a dict of several columns); it raises `BadCell`.
      Missing cells never reach it.
    - `fit(cells)` sees decoded cells of the training split only, possibly a sample of them.
    - `process(cells)` turns a list of decoded cells into arrays whose first axis is the row and whose other axes do not
      depend on the rows (pad or crop to a fixed shape), so that they can be memory-mapped. Integer dtypes where they do
      (uint8 pictures, int16 sound): the encoder casts.

    Options are keyword-only constructor arguments, stored under their own names. What is learned is kept in attributes
    ending in `_` and returned by `state`, so that a processor is saved without pickling. `at_once` says how many
    decoded cells are held together: few of those that are large.
    """

    kind: str = ""
    at_once: int = 64

    @abstractmethod
    def read(self, cell: Any) -> Decoded:
        """Decode one cell. Raises `BadCell` with a plain reason."""

    def fit(self, cells: Iterable[Decoded]) -> None:
        """Learn what is needed from decoded training cells. The default learns nothing."""
        return

    @abstractmethod
    def process(self, cells: Sequence[Decoded]) -> dict[str, np.ndarray]:
        """Arrays of len(cells) rows and a fixed shape."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What an encoder must know to be built: vocabulary size, channels, length … JSON values only."""

    def state(self) -> dict[str, Any]:
        """What was learned, as JSON values; `load_state` restores it."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        return

    def fitted(self, learned: T | None) -> T:
        """What was learned. Raises `BadArgument` where nothing was so far."""
        if learned is None:
            raise BadArgument(f"This {self.kind} processor is not fitted: call fit(cells) or load_state(state) first.")
        return learned

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """The same inputs with noise of strength `level` in 0..1, for robustness curves.

        The default replaces a share `level` of the rows by other rows of the batch.
        """
        rows = len(next(iter(inputs.values())))
        swap = torch.rand(rows, generator=generator) < level
        order = torch.randperm(rows, generator=generator)
        source = torch.where(swap, order, torch.arange(rows))
        return {name: value[source] for name, value in inputs.items()}

    def strange(self, text: str) -> list[str]:
        """Words of a text that hardly stood in what this learned from, as far as its vocabulary tells. Default: none.

        Asked of the names of classes, whose script or language the stream may not know.
        """
        return []

    def show(self, cell: Decoded) -> dict[str, Any]:
        """How a report shows a decoded cell: {"kind": …} of any kind that has a card, and what this card draws.

        image: "array" uint8 [H, W, C]; audio: "array" float32 [n], "rate"; text: "text"; table: "values" dict;
        series and vector: "array".
        """
        return {"kind": "text", "text": str(cell)}
