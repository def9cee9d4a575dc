"""Stored tokens of every row, stream by stream: what fusions train on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.files import read_json, write_json
from polymodal.core.sealed import load_sealed, save_sealed
from polymodal.core.types import Tokens
from polymodal.data.storage.store import Store
from polymodal.encoders.beside import joined
from polymodal.encoders.scoring import Said
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
    def plain(
        cls, groups: str | Sequence[str], part: np.ndarray, digests: np.ndarray, present: np.ndarray
    ) -> StreamFeatures:
        """Rows as they lie in their groups, or all in one."""
        moved = np.zeros((0, 0, 0), np.float32), np.zeros((0, 0), np.float32)
        groups = (groups,) if isinstance(groups, str) else tuple(groups)
        return cls(groups, part.astype(np.int8), digests, present, *moved)

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


def save_features(
    folder: Path, name: str, parts: Sequence[StreamFeatures], says: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write where a stream's tokens lie: the direct sum of `parts`; and where they carry answers, by target."""
    names = [f"{name}+{i}" for i in range(len(parts))]
    for part, one in zip(parts, names):
        part.save(folder, one)
    write_json(folder / f"{name}.json", {"parts": names, "says": says})


class Features:
    """Tokens of all rows; where a stream has several encodings, their direct sum.

    `read` gathers a batch; `pooled_only` skips the sequences, which most fusions do not read. `says` tells where tokens
    carry answers. Batches are on `device`; so is everything, where it is little enough to be held in memory.
    """

    def __init__(
        self,
        store: Store,
        streams: Mapping[str, StreamFeatures | Sequence[StreamFeatures]],
        *,
        pooled_only: bool = False,
        device: torch.device = CPU,
        says: Mapping[str, Mapping[str, Said]] | None = None,
    ):
        self.pooled_only, self.device = pooled_only, device
        self.says = says or {}
        listed = {n: [each] if isinstance(each, StreamFeatures) else each for n, each in streams.items()}
        self._sources = {n: [_Source(store, s, pooled_only, device) for s in each] for n, each in listed.items()}
        every = [source for each in self._sources.values() for source in each]
        if sum(s.nbytes for s in every) <= IN_MEMORY:
            for source in every:
                source.load()

    @classmethod
    def open(
        cls, folder: Path, store: Store, names: Sequence[str], *, pooled_only: bool = False, device: torch.device = CPU
    ) -> Features:
        about = {n: read_json(folder / f"{n}.json") for n in names}
        streams = {n: [StreamFeatures.open(folder, part) for part in one["parts"]] for n, one in about.items()}
        says = {n: {t: Said.from_json(s) for t, s in one["says"].items()} for n, one in about.items()}
        return cls(store, streams, pooled_only=pooled_only, device=device, says=says)

    @property
    def widths(self) -> dict[str, int]:
        return {name: sum(source.width for source in each) for name, each in self._sources.items()}

    def read(self, rows: Tensor) -> dict[str, Tokens]:
        """Tokens of `rows` [b], a stream each."""
        return {name: joined([source.read(rows) for source in each]) for name, each in self._sources.items()}


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
