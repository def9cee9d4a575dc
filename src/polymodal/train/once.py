"""Cells that several rows hold, as the photo of five captions or of ten questions: encoded once a batch, if they meet.

A batch of rows drawn one by one meets few of them, so rows that share a costly cell are drawn together, a few at a
time: more of them would make batches of one kind.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.data.storage.dataset import Dataset
from polymodal.nn.place import to_device

MOST = 4  # rows of one cell that are drawn together
WORTH = 1.1  # times as many cells as a batch meets when they are drawn together: below it, that saves nothing


def encode_once(encoder: nn.Module, dataset: Dataset, stream: str, rows: np.ndarray, device: torch.device) -> Tokens:
    """Tokens of `rows` [b], each cell among them encoded once; rows that share it share augmentation and dropout."""
    _, first, back = np.unique(dataset.cells(stream)[rows], return_index=True, return_inverse=True)
    if len(first) == len(rows):
        return encoder(to_device(dataset.tensors(stream, rows), device))
    tokens = encoder(to_device(dataset.tensors(stream, rows[first]), device))
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
