"""Several processors that read the same cells, for encodings of one stream side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument
from polymodal.core.registry import Spec
from polymodal.core.types import numbered, part_of
from polymodal.process import PROCESSORS
from polymodal.process.base import Processor


class Several(Processor):
    """The arrays of several processors of one kind, those of the first named `0.name`, of the second `1.name`, ….

    A cell is usable where all of them can read it; a report shows it as the first does. Options: `parts`, the
    processors. Raises `BadArgument` without one, or for parts of different kinds.
    """

    def __init__(self, *, parts: Sequence[Spec] = ("vector",)):
        self.parts = parts
        self.each: list[Processor] = [PROCESSORS.build(spec) for spec in parts]
        if len(kinds := {one.kind for one in self.each}) != 1:
            raise BadArgument(f"several takes processors of one kind; got {', '.join(sorted(kinds)) or 'none'}.")
        self.kind = kinds.pop()

    def read(self, cell: Any) -> tuple[Any, ...]:
        """What every part reads. Raises `BadCell`."""
        return tuple(one.read(cell) for one in self.each)

    def fit(self, cells: Iterable[tuple[Any, ...]]) -> None:
        held = list(cells)
        for i, one in enumerate(self.each):
            one.fit([cell[i] for cell in held])

    def process(self, cells: Sequence[tuple[Any, ...]]) -> dict[str, np.ndarray]:
        return numbered([one.process([cell[i] for cell in cells]) for i, one in enumerate(self.each)])

    def facts(self) -> dict[str, Any]:
        """`parts`, the facts of each."""
        return {"parts": [one.facts() for one in self.each]}

    def state(self) -> dict[str, Any]:
        return {"parts": [one.state() for one in self.each]}

    def load_state(self, state: dict[str, Any]) -> None:
        for one, own in zip(self.each, state["parts"], strict=True):
            one.load_state(own)

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Every part's own noise."""
        return numbered([one.corrupt(part_of(inputs, i), level, generator) for i, one in enumerate(self.each)])

    def strange(self, text: str) -> list[str]:
        """Words that no part knows."""
        each = [one.strange(text) for one in self.each]
        return [word for word in each[0] if all(word in others for others in each[1:])]

    def show(self, cell: tuple[Any, ...]) -> dict[str, Any]:
        return self.each[0].show(cell[0])
