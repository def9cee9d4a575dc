"""What need not be done again and again in training.

What an encoder does to a cell that no training changes is done once and kept. Cells that several rows hold, as the
photo of five captions or of ten questions, are encoded once a batch, if they meet. A batch of rows drawn one by one
meets few of them, so rows that share a costly cell are drawn together, a few at a time: more of them would make batches
of one kind.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.data.storage.dataset import IN_MEMORY, Dataset
from polymodal.encoders.base import Encoder
from polymodal.nn.place import device_of_module, in_use, to_device

CHUNK = 128  # cells settled at a time
MOST = 4  # rows of one cell that are drawn together
WORTH = 1.1  # times as many cells as a batch meets when they are drawn together: below it, that saves nothing


class Inputs:
    """What `encoder` reads of a stream, row by row; settled, and kept so for `rows` [n], where that fits into memory.

    No other rows are asked for then.
    """

    def __init__(self, encoder: Encoder, dataset: Dataset, stream: str, rows: np.ndarray):
        self.dataset, self.stream = dataset, stream
        self.cells = dataset.cells(stream)
        cells, first = np.unique(self.cells[rows], return_index=True)
        self._place = np.zeros(self.cells.max(initial=0) + 1, np.int64)
        self._place[cells] = np.arange(len(cells))
        self._kept = self._settled(encoder, rows[first])

    @torch.no_grad()
    def _settled(self, encoder: Encoder, rows: np.ndarray) -> dict[str, Tensor]:
        parts: list[dict[str, Tensor]] = []
        for chunk in np.array_split(rows, max(1, -(-len(rows) // CHUNK))):
            inputs = self.dataset.tensors(self.stream, chunk)
            parts.append(in_use(encoder.once, inputs, device_of_module(encoder)))
            if not parts[0] or sum(v.nbytes for v in parts[0].values()) * len(rows) > IN_MEMORY * len(chunk):
                return {}
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def tensors(self, rows: np.ndarray) -> dict[str, Tensor]:
        """As of `Dataset.tensors`, or, settled, what takes their place."""
        if not self._kept:
            return self.dataset.tensors(self.stream, rows)
        at = torch.from_numpy(self._place[self.cells[rows]])
        there = torch.from_numpy(self.dataset.present[self.stream][rows])
        return {**{name: value[at] for name, value in self._kept.items()}, "present": there}


def encode_once(encoder: nn.Module, inputs: Inputs, rows: np.ndarray, device: torch.device) -> Tokens:
    """Tokens of `rows` [b], each cell among them encoded once; rows that share it share augmentation and dropout."""
    _, first, back = np.unique(inputs.cells[rows], return_index=True, return_inverse=True)
    if len(first) == len(rows):
        return encoder(to_device(inputs.tensors(rows), device))
    tokens = encoder(to_device(inputs.tensors(rows[first]), device))
    return tokens.select(to_device(torch.from_numpy(back), device))


def spared(dataset: Dataset, stream: str, rows: np.ndarray, batch: int) -> float:
    """How many cells fewer an average batch of `rows` [n] encodes when they are drawn together."""
    apart, together = _met(_apart(dataset, stream, rows), batch)
    return apart - together


def _apart(dataset: Dataset, stream: str, rows: np.ndarray) -> np.ndarray:
    """Numbers of the cells of `rows` [n], a missing one unlike all others: batches meet it however they are drawn."""
    cells, there = dataset.cells(stream)[rows], dataset.present[stream][rows]
    return np.where(there, cells, cells.max(initial=0) + 1 + np.arange(len(rows)))


def _met(cells: np.ndarray, batch: int) -> tuple[float, float]:
    """How many cells an average batch of the rows that hold `cells` [n] meets: drawn one by one, and together."""
    held = np.unique(cells, return_counts=True)[1]
    share = min(1.0, batch / max(1, len(cells)))
    return float((1 - (1 - share) ** held).sum()), float((1 - (1 - share) ** -(-held // MOST)).sum())


def drawn_together(dataset: Dataset, stream: str, rows: np.ndarray, batch: int) -> Tensor | None:
    """Of each of `rows` [n], which others it is drawn with: numbers [n], alike for up to `MOST` rows of one cell.

    None where that saves next to nothing: where nearly all cells are different, or so few that every batch of `batch`
    rows meets them all.
    """
    cells = _apart(dataset, stream, rows)
    apart, together = _met(cells, batch)
    if apart < WORTH * together:
        return None
    order = np.argsort(cells, kind="stable")
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    place = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))  # within the cell's rows
    numbers = np.empty(len(rows), np.int64)
    numbers[order] = np.cumsum(place % MOST == 0) - 1
    return torch.from_numpy(numbers)
