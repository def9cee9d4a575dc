"""Dataset: a table's cells, processed once into the store and read back as tensors."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.digest import fingerprint
from polymodal.core.errors import BadData, UnknownName, suggest
from polymodal.core.files import read_json, write_json
from polymodal.core.sealed import load_sealed, save_sealed
from polymodal.core.types import Batch, numbered
from polymodal.data.storage.decode import CellProcessor, fetch
from polymodal.data.storage.decode import read_cells as read_cells
from polymodal.data.storage.store import Store, View
from polymodal.data.storage.stream import Stream, StreamWork
from polymodal.data.tables.table import Problem

IN_MEMORY = 256 << 20  # bytes of one stream that are read into memory rather than from the maps at every batch
MOST_THREADS = 4


def process_table(
    cells: Mapping[str, Sequence[Any]],
    processors: Mapping[str, CellProcessor],
    store: Store,
    *,
    ids: Sequence[str],
    fit_rows: np.ndarray | None = None,
    fitted: Collection[str] = (),
    targets: Mapping[str, np.ndarray] | None = None,
    progress: Callable[[str, int], None] | None = None,
    workers: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Read and process what the store lacks of every stream; media are held a few chunks at a time.

    `cells[stream]` are N raw cells, None where missing. With `fit_rows`, training row numbers, each processor is fitted
    first, on at most 20,000 of their cells, drawn with `seed`, but for the streams `fitted`; without, processors are
    used as they are. `targets` are
    encoded, N rows each. `progress(stream, n)` hears that n more cells are settled. `workers` threads decode files and
    bytes; None takes one a core, at most four.

    A cell that cannot be used is missing in the result and listed in its `bad`; `noted` says what its user should know
    of one that is used all the same, as of a picture that is cut short, or that has no value, as a silent film of its
    sound. Raises `BadData` when rows do not match or when no training cell of a stream is usable.
    """
    _check_rows(cells, processors, ids, targets or {})
    threads = min(MOST_THREADS, os.cpu_count() or 1) if workers is None else workers
    streams: dict[str, Stream] = {}
    bad: list[Problem] = []
    noted: list[Problem] = []
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(threads, "decode")) if threads > 1 else None
        for name, column in cells.items():
            tell = partial(progress, name) if progress else None
            some = pool if _is_media(column) else None
            work = StreamWork(name, column, processors[name], store, pool=some, tell=tell)
            fit = None if fit_rows is None or name in fitted else np.asarray(fit_rows)
            streams[name], broken = work.run(fit, seed)
            bad += [Problem(ids[row], name, reason) for row, reason in broken.items()]
            noted += [Problem(ids[row], name, said) for row, said in sorted(work.noted.items())]
    return Dataset(store, list(ids), streams, targets=dict(targets or {}), bad=bad, noted=noted)


class Dataset:
    """Processed rows. Arrays lie in `store`; a stream of up to 256 MB is read into memory when first asked for.

    `streams` are their names, `ids` [N] the rows' identifiers, `targets[name]` encoded [N, ...], `bad` the cells that
    could not be used, `noted` remarks on cells that are; `digests[stream]` uint8 [N, 16] names each cell's content,
    `groups[stream]` the processor that read it, `present[stream]` bool [N] says which cells are there and usable.
    """

    def __init__(
        self,
        store: Store,
        ids: Sequence[str],
        streams: Mapping[str, Stream],
        *,
        targets: Mapping[str, np.ndarray],
        bad: Sequence[Problem] = (),
        noted: Sequence[Problem] = (),
    ):
        self.store = store
        self.ids = list(ids)
        self.targets = dict(targets)
        self.bad = list(bad)
        self.noted = list(noted)
        self.streams = tuple(streams)
        self.digests = {name: stream.digests for name, stream in streams.items()}
        self.present = {name: stream.present for name, stream in streams.items()}
        self.groups = {name: stream.group for name, stream in streams.items()}
        self._layouts = {name: stream.layout for name, stream in streams.items()}
        self._several: tuple[Dataset, Mapping[str, Sequence[str]]] | None = None  # streams of another, side by side
        self._readers: dict[str, _Reader] = {}
        self._cells: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def tensors(self, stream: str, rows: np.ndarray | Tensor) -> dict[str, Tensor]:
        """What the stream's processor made of `rows` [b], and `present` bool [b]; absent rows are zero.

        Raises `UnknownName` for an unknown stream, `BadData` when the store was cleared meanwhile.
        """
        if stream not in self.groups:
            raise UnknownName(f"There is no stream {stream!r}.{suggest(stream, self.streams)}")
        if self._several and stream in self._several[1]:
            other, names = self._several
            each = [other.tensors(one, rows) for one in names[stream]]
            present = torch.stack([arrays.pop("present") for arrays in each]).all(0)
            return {**numbered(each), "present": present}
        if stream not in self._readers:
            view = self.store.view(self.groups[stream], self.digests[stream][self.present[stream]])
            self._readers[stream] = _Reader(view, self.present[stream], self._layouts[stream])
        return self._readers[stream].tensors(np.asarray(rows))

    def cells(self, stream: str) -> np.ndarray:
        """Numbers int64 [N] of the stream's cells: rows that hold the same one have the same."""
        if stream not in self._cells:
            self._cells[stream] = np.unique(self.digests[stream], axis=0, return_inverse=True)[1].reshape(-1)
        return self._cells[stream]

    def batch(self, rows: np.ndarray | Tensor) -> Batch:
        """Inputs of every stream, targets and ids of `rows` [b]."""
        rows = np.asarray(rows)
        return Batch(
            inputs={name: self.tensors(name, rows) for name in self.streams},
            targets={name: torch.from_numpy(values[rows]) for name, values in self.targets.items()},
            ids=[self.ids[row] for row in rows.tolist()],
        )

    def beside(self, other: Dataset) -> Dataset:
        """The streams of both, of the same rows; the targets are this one's."""
        streams = {
            n: Stream(d.groups[n], d.digests[n], d.present[n], d._layouts[n]) for d in (self, other) for n in d.streams
        }
        told = {"bad": [*self.bad, *other.bad], "noted": [*self.noted, *other.noted]}
        return Dataset(self.store, self.ids, streams, targets=self.targets, **told)

    def read_as(self, reads: Mapping[str, Sequence[str]]) -> Dataset:
        """The same rows, where a stream of `reads` has the arrays of another stream, made of the same cells.

        Of several it has those of each, as the processor `several` names them.
        """
        streams = {n: Stream(self.groups[n], self.digests[n], self.present[n], self._layouts[n]) for n in self.streams}
        for name, others in reads.items():
            group = self.groups[others[0]]
            if len(others) > 1:
                group = fingerprint({"several": [self.groups[one] for one in others]})
            there = np.all([self.present[one] for one in others], axis=0)
            streams[name] = Stream(group, self.digests[name], there, self._layouts[others[0]])
        found = Dataset(self.store, self.ids, streams, targets=self.targets, bad=self.bad, noted=self.noted)
        found._several = self, {name: others for name, others in reads.items() if len(others) > 1}
        return found

    def agree(self, readings: Mapping[str, str]) -> None:
        """Let a stream and another reading of its cells, by name, lack the same rows: those that either cannot use."""
        for name, other in readings.items():
            there = self.present[name] & self.present[other]
            self.present[name][:], self.present[other][:] = there, there
            told = {problem.row for problem in self.bad if problem.column == name}
            more = [replace(p, column=name) for p in self.bad if p.column == other and p.row not in told]
            self.bad = [p for p in self.bad if p.column != other] + more
            self.noted = [p for p in self.noted if p.column != other]

    def save(self, folder: Path) -> None:
        """Write all but the arrays, which stay in the store, so that another process can `open` it."""
        arrays = {f"digests/{name}": values for name, values in self.digests.items()}
        arrays |= {f"present/{name}": values for name, values in self.present.items()}
        arrays |= {f"targets/{name}": values for name, values in self.targets.items()}
        save_sealed(folder / "rows.safetensors", arrays)
        layouts = {
            stream: {name: [dtype.name, shape] for name, (dtype, shape) in layout.items()}
            for stream, layout in self._layouts.items()
        }
        bad = [[problem.row, problem.column, problem.reason] for problem in self.bad]
        write_json(folder / "dataset.json", {"ids": self.ids, "groups": self.groups, "layouts": layouts, "bad": bad})

    @classmethod
    def open(cls, folder: Path, store: Store) -> Dataset:
        """What `save` wrote, with its arrays in `store`."""
        about, (arrays, _) = read_json(folder / "dataset.json"), load_sealed(folder / "rows.safetensors")
        streams = {}
        for name, group in about["groups"].items():
            layout = {key: (np.dtype(dtype), tuple(shape)) for key, (dtype, shape) in about["layouts"][name].items()}
            streams[name] = Stream(group, arrays[f"digests/{name}"], arrays[f"present/{name}"], layout)
        targets = {k.removeprefix("targets/"): v for k, v in arrays.items() if k.startswith("targets/")}
        return cls(store, about["ids"], streams, targets=targets, bad=[Problem(*entry) for entry in about["bad"]])


class _Reader:
    """One stream's rows, from memory where they are few and from the maps where they are many."""

    def __init__(self, view: View, present: np.ndarray, layout: Mapping[str, tuple[np.dtype, tuple[int, ...]]]):
        self.present, self.layout = present, layout
        self.place = np.maximum(np.cumsum(present) - 1, 0)  # of each row in the view; an absent row borrows another's
        self.view = view
        self.arrays = view.load() if view.nbytes <= IN_MEMORY else None

    def tensors(self, rows: np.ndarray) -> dict[str, Tensor]:
        here = self.present[rows]
        arrays = self._read(rows)
        if not here.all():
            for array in arrays.values():
                array[~here] = 0
        return {name: torch.from_numpy(array) for name, array in {**arrays, "present": here}.items()}

    def _read(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        if not len(self.view):
            return {name: np.zeros((len(rows), *shape), dtype) for name, (dtype, shape) in self.layout.items()}
        places = self.place[rows]
        if self.arrays is None:
            return self.view.read(places)
        return {name: array.take(places, axis=0) for name, array in self.arrays.items()}


def _is_media(cells: Sequence[Any]) -> bool:
    """Whether cells are files or bytes, whose decoders let other threads run; threads only slow down pure Python."""
    return any(isinstance(fetch(cells, row), Path | bytes) for row in range(min(len(cells), 20)))


def _check_rows(
    cells: Mapping[str, Sequence[Any]],
    processors: Mapping[str, CellProcessor],
    ids: Sequence[str],
    targets: Mapping[str, np.ndarray],
) -> None:
    for name, values in (*cells.items(), *targets.items()):
        if len(values) != len(ids):
            raise BadData(f"{name!r} has {len(values)} rows, but there are {len(ids)} ids.")
    for name in cells:
        if name not in processors:
            raise BadData(f"The stream {name!r} has no processor.{suggest(name, processors)}")
