"""The items of an `align` run: processed and encoded once, found by the rows in which they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.aligners.pairs import Side
from polymodal.core.types import Tokens
from polymodal.data.items import Items
from polymodal.data.storage.dataset import Dataset
from polymodal.data.storage.store import Store, View
from polymodal.encoders.base import Encoder
from polymodal.nn.place import CPU, to_device
from polymodal.train.encode import store_tokens, tokens_from_arrays

IN_MEMORY = 1 << 30  # bytes of one stream's vectors that are held in memory


@dataclass(frozen=True, eq=False)
class Chosen:
    """The different items of some rows: `cells` [N] is the first cell of each, `rows` [N, M] as in `Side`.

    `first` [R + 1] and `items` tell the items of each row of the table: those of row r are items[first[r]:first[r+1]].
    """

    cells: np.ndarray
    rows: Tensor
    first: Tensor
    items: Tensor

    def __len__(self) -> int:
        return len(self.cells)

    @classmethod
    def of(cls, items: Items, digests: np.ndarray, present: np.ndarray, rows: np.ndarray, count: int) -> Chosen:
        """Items that stand in `rows`, equal content once. `count` is how many rows the table has."""
        wanted = np.zeros(count, bool)
        wanted[rows] = True
        cells = np.flatnonzero(present & wanted[items.row])
        keys = np.ascontiguousarray(digests[cells]).view("V16").ravel()
        _, place, number = np.unique(keys, return_index=True, return_inverse=True)
        order = np.argsort(place)  # items in the order of the table
        renumbered = np.empty(len(order), np.int64)
        renumbered[order] = np.arange(len(order))
        pairs = np.unique(np.stack([renumbered[number], items.row[cells]]), axis=1)
        start = np.searchsorted(pairs[0], np.arange(len(order) + 1))
        padded = np.full((len(order), max(1, int(np.diff(start).max(initial=0)))), -1)
        padded[pairs[0], np.arange(pairs.shape[1]) - start[pairs[0]]] = pairs[1]
        by_row = pairs[:, np.lexsort((pairs[0], pairs[1]))]
        first = torch.from_numpy(np.searchsorted(by_row[1], np.arange(count + 1)))
        return cls(cells[np.sort(place)], torch.from_numpy(padded), first, torch.from_numpy(by_row[0]))

    def drawn(self, rows: Tensor) -> Tensor:
        """Of each of `rows` [b], all of which have some, one item at random."""
        count = self.first[rows + 1] - self.first[rows]
        return self.items[self.first[rows] + (torch.rand(len(rows)) * count).long().clamp(max=count - 1)]

    def standing_in(self, rows: Tensor) -> Tensor:
        """Numbers of the items that stand in any of `rows` [b], each once, ascending."""
        start, count = self.first[rows], self.first[rows + 1] - self.first[rows]
        offset = torch.arange(int(count.sum())) - (count.cumsum(0) - count).repeat_interleave(count)
        return self.items[start.repeat_interleave(count) + offset].unique()


class Tower:
    """One stream's items as tokens: read from the store where the encoder is frozen (`view`), else encoded anew."""

    def __init__(self, stream: str, items: Items, dataset: Dataset, encoder: Encoder, group: str | None, store: Store):
        self.stream, self.items, self.dataset, self.encoder = stream, items, dataset, encoder
        self.stored = group is not None
        self._group = group
        self._place = np.maximum(np.cumsum(dataset.present[stream]) - 1, 0)
        self._store = store
        self._memory: Tensor | None = None
        self._whole: View | None = None
        if group is not None:
            self._view: View = self._opened(group, ("pooled",))
            if len(self._view) * encoder.dim * 4 <= IN_MEMORY:
                self._memory = torch.from_numpy(self._view.load()["pooled"]).float()

    def choose(self, rows: np.ndarray, count: int) -> Chosen:
        """The different items in `rows` of a table of `count`."""
        return Chosen.of(self.items, self.dataset.digests[self.stream], self.dataset.present[self.stream], rows, count)

    def tokens(self, cells: np.ndarray, device: torch.device = CPU) -> Tokens:
        """Tokens of the present cells numbered `cells` [n] on the encoder's device; see `inputs`."""
        inputs = to_device(self.inputs(cells), device)
        return inputs if self.stored else self.encoder(inputs)

    def sequences(self, cells: np.ndarray) -> Tokens:
        """All stored tokens of the present cells numbered `cells` [n], on the CPU.

        Where the encoder has learned they are stored now, so that it must have come to rest.
        """
        if self._group is None:
            self._group = store_tokens(self.encoder, self.dataset, self.stream, self._store, timed=False)["group"]
        if self._whole is None:
            self._whole = self._opened(self._group, ("x", "mask", "pooled"))
        return tokens_from_arrays(self._whole.read(self._place[cells]))

    def _opened(self, group: str, names: tuple[str, ...]) -> View:
        return self._store.view(group, self.dataset.digests[self.stream][self.dataset.present[self.stream]], names)

    def inputs(self, cells: np.ndarray) -> Any:
        """What the aligner reads of the present cells numbered `cells` [n], on the CPU.

        Tokens where they are stored, pooled alone; else what the encoder reads.
        """
        if not self.stored:
            return self.dataset.tensors(self.stream, cells)
        places = self._place[cells]
        if self._memory is not None:
            return Tokens.from_vector(self._memory[torch.from_numpy(places)])
        return Tokens.from_vector(torch.from_numpy(self._view.read(places)["pooled"]).float())


def sides(towers: Mapping[str, Tower], chosen: Mapping[str, Chosen]) -> dict[str, Side]:
    """All stored vectors of the chosen items, for aligners that learn by fit."""
    return {name: Side(tower.tokens(chosen[name].cells).pooled, chosen[name].rows) for name, tower in towers.items()}
