"""One stream through its processor into the store: digests, fitting, and what the store lacks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np

from polymodal.core.digest import SIZE, digest_cells, fingerprint
from polymodal.core.errors import BadData
from polymodal.core.registry import options_of
from polymodal.data.storage.decode import (
    CHUNK,
    Broken,
    CellProcessor,
    Chunk,
    at_once,
    fetch,
    in_chunks,
    in_order,
    process_chunk,
    read,
)
from polymodal.data.storage.segment import Layout, layout_of
from polymodal.data.storage.store import Store

FIT_CELLS = 20_000  # training cells that a processor is fitted on at most
KEPT = 256 << 20  # bytes of cells decoded for fitting that are kept for processing
SEGMENT = 32 << 20  # bytes of arrays written at a time …
PATIENCE = 20.0  # … or seconds of work: the less of both is what a kill can lose
REASON = 512  # bytes of a reason that are remembered
AHEAD = 8  # chunks that threads may be ahead of the writer
READERS = 3  # what decoders can open; one more when they learn a form, so that cells broken until then are tried anew
_STATE = np.zeros((1, SIZE), np.uint8)  # the one key of a group that holds a fitted state


@dataclass(frozen=True, eq=False)
class Stream:
    """One stream of processed rows: where its arrays lie in the store.

    `group` names processor and state; `digests` uint8 [N, 16] the cells' content (zero where missing); `present` bool
    [N] which cells are usable; `layout` dtype and trailing shape of each array.
    """

    group: str
    digests: np.ndarray
    present: np.ndarray
    layout: Layout


class StreamWork:
    """Takes one stream's cells through a processor: `run` does all of it once.

    `tell` is called with a number of cells whenever so many more are settled; `pool` decodes beside the writing thread.
    `noted` is then what readers said of cells that are used all the same, or are missing, by row.
    """

    def __init__(
        self,
        name: str,
        cells: Sequence[Any],
        processor: CellProcessor,
        store: Store,
        *,
        pool: Executor | None = None,
        tell: Callable[[int], None] | None = None,
    ):
        self.name, self.cells, self.processor, self.store = name, cells, processor, store
        self.pool, self.tell = pool, tell or (lambda cells: None)
        self.broken: dict[int, Broken] = {}
        self.noted: dict[int, str] = {}
        self._decoded: dict[int, Any] = {}

    def run(self, fit_rows: np.ndarray | None, seed: int) -> tuple[Stream, dict[int, str]]:
        """The processed stream, and the reason of each broken cell by row.

        Raises `BadData` when the processor is to be fitted and no training cell is usable.
        """
        digests, given = self._digests()
        if fit_rows is not None:
            self._fit(digests, fit_rows[given[fit_rows]], seed)
        group = processor_group(self.processor)
        self._process(group, digests, given)
        present = given.copy()
        present[list(self.broken)] = False
        layout = self.store.layout(group) or layout_of(self.processor.process([]))
        self.noted |= {row: one.reason for row, one in self.broken.items() if one.absent}
        bad = {row: one.reason for row, one in sorted(self.broken.items()) if not one.absent}
        return Stream(group, digests, present, layout), bad

    # --- content ---

    def _digests(self) -> tuple[np.ndarray, np.ndarray]:
        """Digests [N, 16] and whether there is a cell [N]; no more than a few chunks of cells are held."""
        rows = np.arange(len(self.cells))
        parts = list(in_order(self.pool, self._digest_chunk, in_chunks(rows, CHUNK), AHEAD))
        digests = np.concatenate([np.zeros((0, SIZE), np.uint8), *(part for part, _ in parts)])
        for _, broken in parts:
            self.broken.update(broken)
        given: np.ndarray = np.any(digests, axis=1)
        self.tell(int((~given).sum()))
        return digests, given

    def _digest_chunk(self, rows: np.ndarray) -> tuple[np.ndarray, dict[int, Broken]]:
        cells = {row: fetch(self.cells, row) for row in rows.tolist()}
        broken = {row: cell for row, cell in cells.items() if isinstance(cell, Broken)}
        return digest_cells(None if row in broken else cell for row, cell in cells.items()), broken

    # --- fitting ---

    def _fit(self, digests: np.ndarray, rows: np.ndarray, seed: int) -> None:
        """Fit on training cells, or recall the state that the same processor learned from the same cells before."""
        if not len(rows):
            first = next((one.reason for one in self.broken.values()), "")
            why = f"none can be had; the first: {first}" if first else "all are missing"
            raise BadData(f"No training row has a cell of {self.name!r}: {why}. Leave the field out.")
        if len(rows) > FIT_CELLS:
            rows = np.sort(np.random.default_rng(seed).choice(rows, FIT_CELLS, replace=False))
        learned = {"fit": type(self.processor), "options": options_of(self.processor), "cells": digests[rows]}
        memory = fingerprint(learned)
        if not len(self.store.missing(memory, _STATE)):
            packed = self.store.view(memory, _STATE).load()["state"][0]
            self.processor.load_state(json.loads(packed.tobytes()))
            return
        cells = _TrainingCells(self, rows, self._decoded)
        self.processor.fit(cells)
        if not cells.fleeting:
            packed = np.frombuffer(json.dumps(self.processor.state()).encode(), np.uint8)
            self.store.write(memory, _STATE, {"state": packed[None]})
            self.store.describe(memory, kind="fitted state", stream=self.name, made_by=type(self.processor).__name__)

    # --- processing ---

    def _process(self, group: str, digests: np.ndarray, given: np.ndarray) -> None:
        """Fill the store with what it lacks; remember cells that are broken for good, so that none is tried twice."""
        memory, sayings = fingerprint({"broken cells": group, "readers": READERS}), fingerprint({"remarks": group})
        rows = np.flatnonzero(given)
        known = self.store.has(memory, digests[rows])
        for row, reason in self._recall(memory, rows[known], digests):
            self.broken[row] = Broken(reason, lasting=True)
        rows = rows[~known]
        lacking = rows[self.store.missing(group, digests[rows])]
        self.tell(int(given.sum()) - len(lacking))
        arrays, reasons = _Writer(self.store, group), _Writer(self.store, memory)
        broken: dict[bytes, Broken] = {}
        for chunk in in_order(self.pool, self._process_chunk, in_chunks(lacking, CHUNK), AHEAD):
            if len(chunk.rows):
                arrays.add(digests[chunk.rows], chunk.arrays)
            for row, fault in chunk.broken.items():
                broken[digests[row].tobytes()] = fault
                if fault.lasting:
                    reasons.add(digests[row : row + 1], {"reason": _packed(fault.reason)})
            self.noted |= chunk.noted
            self.tell(len(chunk.rows) + len(chunk.broken))
        self._decoded.clear()
        remarks, said = _Writer(self.store, sayings), np.array(list(self.noted), np.int64)
        for row in said[self.store.missing(sayings, digests[said])].tolist():
            remarks.add(digests[row : row + 1], {"reason": _packed(self.noted[row])})
        for writer, kind in ((arrays, "cells"), (reasons, "broken cells"), (remarks, "remarks")):
            if writer.close():
                self.store.describe(writer.group, kind=kind, stream=self.name, made_by=type(self.processor).__name__)
        for row in rows[~self.store.has(group, digests[rows])].tolist():
            self.broken[row] = broken[digests[row].tobytes()]
        told = rows[self.store.has(sayings, digests[rows])]
        self.noted = {row: said for row, said in self._recall(sayings, told, digests) if row not in self.broken}

    def _process_chunk(self, rows: np.ndarray) -> Chunk:
        return process_chunk(self.processor, self.cells, rows.tolist(), self._decoded)

    def _recall(self, group: str, rows: np.ndarray, digests: np.ndarray) -> Iterator[tuple[int, str]]:
        """What `group` remembers in words of the cells at `rows`."""
        if len(rows):
            for row, packed in zip(rows.tolist(), self.store.view(group, digests[rows]).load()["reason"]):
                yield row, packed.tobytes().rstrip(b"\0").decode("utf-8", "ignore")


def processor_group(processor: CellProcessor) -> str:
    """The store's group of what a processor makes: its class, its options and what it learned."""
    return fingerprint({"processor": type(processor), "options": options_of(processor), "state": processor.state()})


class _TrainingCells:
    """A stream's decoded training cells, decoded as they are asked for; broken ones are passed over.

    Those that fit in `KEPT` bytes are kept for processing. `fleeting` says that a cell could not be read for reasons of
    the moment, so that what is learned without it should not be remembered.
    """

    def __init__(self, work: StreamWork, rows: np.ndarray, kept: dict[int, Any]):
        self.work, self.rows, self.kept = work, rows, kept
        self.room = KEPT
        self.fleeting = False

    def __iter__(self) -> Iterator[Any]:
        usable, reason = 0, ""
        some = in_chunks(self.rows, at_once(self.work.processor))
        for chunk in in_order(self.work.pool, self._read, some, AHEAD):
            for row, value in chunk:
                self._keep(row, value)
                if isinstance(value, Broken):
                    reason = reason or value.reason
                    self.fleeting |= not value.lasting
                else:
                    usable += 1
                    yield value
        if not usable:
            raise BadData(
                f"No training cell of {self.work.name!r} is usable; the first of {len(self.rows)}: {reason}. "
                "Look with `polymodal inspect`, or leave the field out."
            )

    def _read(self, rows: np.ndarray) -> list[tuple[int, Any]]:
        work = self.work
        return [
            (r, self.kept[r] if r in self.kept else read(work.processor, work.cells, r, work.noted))
            for r in rows.tolist()
        ]

    def _keep(self, row: int, value: Any) -> None:
        if row not in self.kept and (size := _weight(value)) <= self.room:
            self.kept[row] = value
            self.room -= size


class _Writer:
    """Gathers rows for one group and writes them in segments of a reasonable size."""

    def __init__(self, store: Store, group: str):
        self.store, self.group = store, group
        self._keys: list[np.ndarray] = []
        self._arrays: list[dict[str, np.ndarray]] = []
        self._bytes, self._since, self._wrote = 0, time.monotonic(), False

    def add(self, keys: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
        self._keys.append(keys)
        self._arrays.append(arrays)
        self._bytes += sum(array.nbytes for array in arrays.values())
        if self._bytes >= SEGMENT or time.monotonic() - self._since > PATIENCE:
            self._flush()

    def close(self) -> bool:
        """Write what is left; whether anything was written at all."""
        if self._keys:
            self._flush()
        return self._wrote

    def _flush(self) -> None:
        names = self._arrays[0]
        arrays = {name: np.concatenate([part[name] for part in self._arrays]) for name in names}
        self.store.write(self.group, np.concatenate(self._keys), arrays)
        self._keys, self._arrays = [], []
        self._bytes, self._since, self._wrote = 0, time.monotonic(), True


def _packed(reason: str) -> np.ndarray:
    """A reason as uint8 [1, REASON], cut or padded with zeros."""
    return np.frombuffer(reason.encode("utf-8", "replace")[:REASON].ljust(REASON, b"\0"), np.uint8)[None]


def _weight(value: Any) -> int:
    """Bytes of a decoded cell in memory, roughly; a megabyte for what cannot be looked into."""
    if isinstance(value, np.ndarray):
        return value.nbytes + 100
    if isinstance(value, str | bytes):
        return 4 * len(value) + 50
    if value is None or isinstance(value, bool | int | float):
        return 32
    if isinstance(value, dict | list | tuple):
        return 64 + sum(map(_weight, value.values() if isinstance(value, dict) else value))
    return _weight(vars(value)) if is_dataclass(value) else 1 << 20
