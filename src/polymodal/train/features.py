"""Stored tokens of every row, stream by stream: what fusions train on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polymodal.core.files import read_json, write_json
from polymodal.core.sealed import load_sealed, save_sealed
from polymodal.core.types import Tokens
from polymodal.data.storage.store import Store
from polymodal.nn.place import CPU, to_device

IN_MEMORY = 1 << 30  # bytes of tokens that are held in memory rather than read from the maps at every step


@dataclass(frozen=True)
class StreamFeatures:
    """Where one stream's tokens lie.

    `groups[p]` is a group of the store; row r is in group `part[r]`, under `digests[r]`, if `present[r]`. Under
    cross-fitting a training row's group is that of the encoder which did not see it. Tokens of group p are turned by
    `rotations[p]` [D, D] and moved by `shifts[p]` [D] into the space of the last group; both are empty when
    nothing needs it.
    """

    groups: tuple[str, ...]
    part: np.ndarray
    digests: np.ndarray
    present: np.ndarray
    rotations: np.ndarray
    shifts: np.ndarray

    @classmethod
    def plain(cls, group: str, part: np.ndarray, digests: np.ndarray, present: np.ndarray) -> StreamFeatures:
        """All rows from one group, as they are."""
        return cls((group,), part, digests, present, np.zeros((0, 0, 0), np.float32), np.zeros((0, 0), np.float32))

    def save(self, folder: Path, name: str) -> None:
        write_json(folder / f"{name}.json", {"groups": self.groups})
        arrays = {
            "part": self.part,
            "digests": self.digests,
            "present": self.present,
            "rotations": self.rotations,
            "shifts": self.shifts,
        }
        save_sealed(folder / f"{name}.safetensors", arrays)

    @classmethod
    def open(cls, folder: Path, name: str) -> StreamFeatures:
        arrays, _ = load_sealed(folder / f"{name}.safetensors")
        return cls(tuple(read_json(folder / f"{name}.json")["groups"]), **arrays)


class Features:
    """Tokens of all rows. `read` gathers a batch; `pooled_only` skips the sequences, which most fusions do not read.

    Batches are on `device`; so is everything, where it is little enough to be held in memory.
    """

    def __init__(
        self,
        store: Store,
        streams: Mapping[str, StreamFeatures],
        *,
        pooled_only: bool = False,
        device: torch.device = CPU,
    ):
        self.pooled_only, self.device = pooled_only, device
        self._sources = {name: _Source(store, s, pooled_only, device) for name, s in streams.items()}
        if sum(s.nbytes for s in self._sources.values()) <= IN_MEMORY:
            for source in self._sources.values():
                source.load()

    @classmethod
    def open(
        cls, folder: Path, store: Store, names: Sequence[str], *, pooled_only: bool = False, device: torch.device = CPU
    ) -> Features:
        streams = {n: StreamFeatures.open(folder, n) for n in names}
        return cls(store, streams, pooled_only=pooled_only, device=device)

    @property
    def widths(self) -> dict[str, int]:
        return {name: source.width for name, source in self._sources.items()}

    def read(self, rows: Tensor) -> dict[str, Tokens]:
        """Tokens of `rows` [b], a stream each."""
        return {name: source.read(rows) for name, source in self._sources.items()}


class _Source:
    def __init__(self, store: Store, features: StreamFeatures, pooled_only: bool, device: torch.device):
        self.features, self.device = features, device
        self.pooled_only = pooled_only
        self.tokens: Tokens | None = None
        self.views = []
        self.position = np.zeros(len(features.part), dtype=np.int64)
        for p, group in enumerate(features.groups):
            rows = np.flatnonzero((features.part == p) & features.present)
            self.position[rows] = np.arange(len(rows))
            self.views.append(store.view(group, features.digests[rows], ("pooled",) if pooled_only else None))
        last = self.views[-1]
        self.shape = last.shape("pooled" if pooled_only else "x")
        self.placed = "where" in last.names
        self.width = self.shape[-1]

    @property
    def nbytes(self) -> int:
        tokens = 1 if self.pooled_only else self.shape[0]
        return len(self.features.part) * tokens * self.width * 4

    def load(self) -> None:
        self.tokens = to_device(self._gather(np.arange(len(self.features.part))), self.device)

    def read(self, rows: Tensor) -> Tokens:
        if self.tokens is None:
            return to_device(self._gather(rows.numpy()), self.device)
        rows = to_device(rows, self.device)
        if self.pooled_only:
            return Tokens.of_pooled(self.tokens.pooled.index_select(0, rows), self.tokens.mask.index_select(0, rows))
        return self.tokens.select(rows)

    def _gather(self, rows: np.ndarray) -> Tokens:
        count = 1 if self.pooled_only else self.shape[0]
        mask = torch.zeros(len(rows), count, dtype=torch.bool)
        pooled = torch.zeros(len(rows), self.width)
        x = torch.zeros(len(rows), 0 if self.pooled_only else count, self.width)
        where = None
        for p, view in enumerate(self.views):
            chosen = np.flatnonzero((self.features.part[rows] == p) & self.features.present[rows])
            if not len(chosen):
                continue
            at = torch.from_numpy(chosen)
            arrays = view.read(self.position[rows[chosen]])
            pooled[at] = self._moved(arrays["pooled"], p)
            if self.pooled_only:
                mask[at] = True
                continue
            x[at], mask[at] = self._moved(arrays["x"], p), torch.from_numpy(arrays["mask"])
            if self.placed:
                if where is None:
                    where = torch.zeros(len(rows), *view.shape("where"))
                where[at] = torch.from_numpy(arrays["where"]).float()
        return Tokens.of_pooled(pooled, mask) if self.pooled_only else Tokens(x, mask, pooled, where)

    def _moved(self, values: np.ndarray, p: int) -> Tensor:
        tensor = torch.from_numpy(values).float()
        if not len(self.features.rotations):
            return tensor
        return tensor @ torch.from_numpy(self.features.rotations[p]) + torch.from_numpy(self.features.shifts[p])
