"""Index: the vectors of a space's streams with the rows they come from, in one folder, searched in memory.

    IDX/items.journal   what was put and deleted, in order, each record checked (`journal`)
    IDX/lock            held by whoever writes
    IDX/graph           neighbours for approximate search (`graph`); can be made again at any time

What `add`, `update` and `delete` return from is on the disk, and survives a kill at any later moment. One process
writes at a time, any number read; a reader sees what was written since at its next search. An index takes 4 bytes a
number in memory. An `Index` object is for one thread; open one a thread.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, BadData, MissingExtra, UnknownName, suggest
from polymodal.core.lock import Lock
from polymodal.core.values import check_range
from polymodal.retrieval import exact
from polymodal.retrieval.calibrate import FEWEST, Calibration
from polymodal.retrieval.changes import Change, Delete, Vectors, decode, decode_head, encode, encode_head
from polymodal.retrieval.corpus import Corpus
from polymodal.retrieval.graph import Graph, rescored
from polymodal.retrieval.inputs import as_put, unique, unit
from polymodal.retrieval.journal import Journal, Replaced
from polymodal.retrieval.where import matching

FORMAT = 1
LARGE = 200_000_000  # numbers (items × width) from which `auto` builds a graph: exact search takes some 30 ms there
RECALL = 0.95  # recall@10 that a graph must reach
SELECTIVE = 0.1  # share of the items below which a filter leaves so few that exact search is faster
CHOICES = ("auto", "on", "off")
_CHUNK = 4096  # rows a record of a compacted journal


@dataclass(frozen=True, eq=False)
class Found:
    """Items [Q, k] and scores of a search, best first; -1 and -inf where fewer fulfil the filter. `approximate` says
    whether a graph was used."""

    items: np.ndarray
    scores: np.ndarray
    approximate: bool


class Index:
    """The index in `folder`. Raises `BadData` where there is none, or where acknowledged records are damaged.

    `salvage` leaves damaged records out instead. `head` holds `dim`, `mark` (of the space), `streams` (kinds by name),
    `calibrate` and what `create` was told about the index.
    """

    def __init__(self, folder: str | Path, *, salvage: bool = False):
        self.folder = Path(folder)
        self._salvage = salvage
        self._lock = Lock(self.folder / "lock")
        self._seen = (0, 0, 0)
        self._graph_notes: list[str] = []
        self._load()

    @classmethod
    def create(
        cls,
        folder: str | Path,
        *,
        dim: int,
        streams: Mapping[str, str],
        mark: str = "",
        calibrate: str = "auto",
        about: Mapping[str, Any] | None = None,
    ) -> Index:
        """A new, empty index. `calibrate` the modality gap: `auto` (where it holds several streams), `on`, `off`.

        Raises `BadArgument` when the folder holds an index already.
        """
        folder = Path(folder)
        if calibrate not in CHOICES:
            raise BadArgument(f"calibrate is one of {', '.join(CHOICES)}; got {calibrate!r}.")
        if dim < 1 or not streams:
            raise BadArgument(f"An index needs a width and a stream; got {dim} and {list(streams)}.")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "items.journal"
        with Lock(folder / "lock"):
            if path.exists():
                raise BadArgument(f"{folder} holds an index already. Open it, or give another folder.")
            head = {"format": FORMAT, "dim": dim, "mark": mark, "streams": dict(streams), "calibrate": calibrate}
            Journal.create(
                path, [encode_head({**head, "generation": secrets.token_hex(8), "about": dict(about or {})})]
            )
        return cls(folder)

    # --- what there is ---

    def __len__(self) -> int:
        return len(self.corpus)

    def __contains__(self, identifier: str) -> bool:
        return identifier in self.corpus

    @property
    def dim(self) -> int:
        return int(self.head["dim"])

    @property
    def mark(self) -> str:
        return str(self.head["mark"])

    @property
    def streams(self) -> dict[str, str]:
        """The kind of each stream."""
        return dict(self.head["streams"])

    @property
    def about(self) -> dict[str, Any]:
        """What `create` was told."""
        return dict(self.head["about"])

    @property
    def notes(self) -> list[str]:
        """What the user should know: an unfinished write that was passed over, a graph that cannot be used."""
        torn = self._journal.torn
        notes = [f"{torn:,} bytes of a write that was never finished are passed over"] if torn else []
        if self._graph is not None and self._graph.facts.calibrated != (self._calibration() is not None):
            notes.append(
                "the gap is calibrated otherwise than when the graph was built; search is exact until it is rebuilt"
            )
        return notes + self._graph_notes

    def counts(self) -> dict[str, int]:
        """Items of each stream."""
        return dict(zip(self.corpus.streams, self.corpus.counts.tolist()))

    def row(self, identifier: str) -> dict[str, Any]:
        """The columns of a row. Raises `UnknownName`."""
        self.refresh()
        return self.corpus.values(self.corpus.number(identifier))

    def vectors_of(self, identifier: str) -> dict[str, np.ndarray]:
        """The vectors [n, D] of each stream that the row has. Raises `UnknownName`."""
        self.refresh()
        return {name: self.corpus.vectors[items] for name, items in self.corpus.items(identifier).items()}

    # --- changes ---

    def add(
        self,
        ids: Sequence[str],
        vectors: Mapping[str, Vectors | np.ndarray],
        columns: Mapping[str, Sequence[Any]] | None = None,
        *,
        mark: str = "",
    ) -> None:
        """New rows: `vectors[stream]` [n, D], or `Vectors` where rows lack the stream or have several items of it.

        `columns[name]` have a value a row, for filters and result pages. Raises `BadData` for ids that are there
        already, given twice, or for vectors of another space (`mark`) or width; nothing is added then.
        """
        self._change(ids, vectors, columns, mark, new=True)

    def update(
        self,
        ids: Sequence[str],
        vectors: Mapping[str, Vectors | np.ndarray] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
        *,
        mark: str = "",
    ) -> None:
        """Rows that are there: the streams and columns given are replaced, the others stay. Raises as `add`, and
        `UnknownName` for ids that are not there."""
        self._change(ids, vectors or {}, columns, mark, new=False)

    def delete(self, ids: Sequence[str]) -> None:
        """Take rows away. Raises `UnknownName` when one is not there; nothing is deleted then."""
        with self.writing():
            for identifier in unique(ids):
                self.corpus.number(identifier)
            if len(ids):
                self._write(Delete(list(ids)))

    def compact(self) -> None:
        """Write the journal anew without what was deleted or replaced; readers change over at their next search."""
        with self.writing():
            for stale in self.folder.glob(".items.journal.*"):
                stale.unlink(missing_ok=True)  # left by a compaction that was killed; the lock says that none is on
            head = {**self.head, "generation": secrets.token_hex(8)}
            puts = map(encode, self.corpus.whole(_CHUNK))
            Journal.create(self._journal.path, chain([encode_head(head)], puts))
            self._load()

    def build_graph(self, approximate: str = "auto", *, recall: float = RECALL, seed: int = 0) -> bool:
        """Make or renew the graph for approximate search, if `approximate` says so; whether there is one afterwards.

        `auto` makes one from 200 million numbers on (items × width); `off` removes it. Needs the extra `search`.
        """
        if approximate not in CHOICES:
            raise BadArgument(f"approximate is one of {', '.join(CHOICES)}; got {approximate!r}.")
        with self.writing():
            path = self.folder / "graph"
            living = int(self.corpus.alive.sum())
            wanted = approximate == "on" or (approximate == "auto" and living * self.dim >= LARGE)
            if not wanted or not living:
                path.unlink(missing_ok=True)
                self._graph, self._graph_notes = None, []
                return False
            calibration = self._calibration()
            everything = np.arange(len(self.corpus.vectors))
            centred = self.corpus.vectors if calibration is None else calibration.items(self.corpus, everything)
            self._graph = Graph.build(
                centred,
                self.corpus.alive,
                generation=self.head["generation"],
                calibrated=calibration is not None,
                recall=recall,
                seed=seed,
            )
            self._graph.save(path)
            self._graph_notes = []
            return True

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the writer's lock over several changes; each of them takes it by itself otherwise."""
        with self._lock:
            self.refresh()
            yield

    def refresh(self) -> None:
        """Take what other processes wrote since; every search and change does so by itself."""
        state = self._state()
        if state == self._seen:
            return
        try:
            for payload in self._journal.read(salvage=self._salvage):
                self.corpus.apply(decode(payload, self.dim))
            self._seen = state
        except Replaced:
            self._load()

    # --- search ---

    def nearest(
        self,
        queries: np.ndarray,
        k: int = 10,
        *,
        stream: str | None = None,
        mark: str = "",
        where: str | Mapping[str, Any] | None = None,
        among: Sequence[str] | None = None,
        without: Sequence[str] = (),
        approximate: bool | None = None,
    ) -> Found:
        """The k nearest items to each of `queries` [Q, D], vectors of `stream` in the space `mark`.

        `where` filters by columns (see `where`), `among` by stream, `without` leaves rows out. `approximate` True or
        False demands or forbids the graph; None uses it where there is one and the filter lets enough pass. Raises
        `BadData` for vectors of another space or width, `BadArgument` or `UnknownName` for a filter that does not fit.
        """
        self.refresh()
        self._check_mark(mark)
        queries = unit(queries, self.dim, "queries")
        check_range("[1, inf)", k=k)
        allowed = self._allowed(where, among, without)
        calibration = self._calibration()
        adjust = None
        if calibration is not None:
            queries = calibration.query(queries, stream)
            adjust = calibration.scorer(queries)
        if not self._use_graph(approximate, allowed, calibration is not None):
            return Found(*exact.search(queries, self.corpus.vectors, allowed, k, adjust), False)
        assert self._graph is not None
        held = self._graph.facts.items
        candidates = self._graph.search(queries, k, allowed[:held])
        hits = rescored(queries, self.corpus.vectors, candidates, k, adjust)
        if held < len(allowed):  # what came after the graph was built
            fresh = allowed.copy()
            fresh[:held] = False
            hits = exact.merge(hits, exact.search(queries, self.corpus.vectors, fresh, k, adjust), k)
        return Found(*hits, True)

    def describe(self, item: int) -> dict[str, Any]:
        """`id`, `stream` and `part` (the column it comes from) of an item."""
        corpus = self.corpus
        return {
            "id": corpus.ids[int(corpus.row[item])],
            "stream": corpus.streams[int(corpus.stream[item])],
            "part": corpus.parts[int(corpus.part[item])],
        }

    @property
    def graph(self) -> Graph | None:
        """The graph of approximate search, if there is one for the index as it is."""
        return self._graph

    # --- parts ---

    def _load(self) -> None:
        self._journal = Journal(self.folder / "items.journal")
        if not self._journal.path.exists():
            raise BadData(
                f"{self.folder} holds no index. Make one with `polymodal index RUN DATA --out {self.folder}`."
            )
        state = self._state()
        payloads = self._journal.read(salvage=self._salvage)
        head = next(map(decode_head, payloads), None)
        if head is None or head.get("format") != FORMAT:
            raise BadData(
                f"{self._journal.path} is no index that this version reads (format {FORMAT}). Index the data again."
            )
        self.head = head
        self.corpus = Corpus(list(head["streams"]), int(head["dim"]))
        for payload in payloads:
            self.corpus.apply(decode(payload, self.dim))
        self._seen = state
        self._centre: tuple[int, Calibration] | None = None
        self._graph = self._read_graph()

    def _read_graph(self) -> Graph | None:
        self._graph_notes = []
        path = self.folder / "graph"
        if not path.exists():
            return None
        try:
            graph = Graph.load(path, self.head["generation"])
        except MissingExtra as error:
            self._graph_notes = [f"search is exact: {error}"]
            return None
        if graph is None:
            self._graph_notes = ["the graph does not belong to the index as it is; search is exact until it is rebuilt"]
        return graph

    def _state(self) -> tuple[int, int, int]:
        status = (self.folder / "items.journal").stat()
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _change(
        self,
        ids: Sequence[str],
        vectors: Mapping[str, Vectors | np.ndarray],
        columns: Mapping[str, Sequence[Any]] | None,
        mark: str,
        *,
        new: bool,
    ) -> None:
        if vectors:
            self._check_mark(mark)
        change = as_put(ids, vectors, columns or {}, self.corpus)
        names = change.ids
        with self.writing():
            if new:
                there = [name for name in names if name in self.corpus]
                if there:
                    raise BadData(
                        f"{len(there)} of {len(names)} ids are in the index already, among them {there[0]!r}. Change "
                        "rows with update, or delete them first."
                    )
            else:
                for name in names:
                    self.corpus.number(name)
            if names:
                self._write(change)

    def _write(self, change: Change) -> None:
        self._journal.append(encode(change))
        self.corpus.apply(change)
        self._seen = self._state()

    def _check_mark(self, mark: str) -> None:
        if mark != self.mark:
            raise BadData(
                f"These vectors are of another space ({mark or 'none'}) than those of {self.folder} "
                f"({self.mark or 'none'}), so that no score would mean anything. Embed with the run that the index was "
                "made of, or index the data again."
            )

    def _allowed(
        self, where: str | Mapping[str, Any] | None, among: Sequence[str] | None, without: Sequence[str]
    ) -> np.ndarray:
        allowed = self.corpus.alive.copy()
        if among is not None:
            for name in among:
                if name not in self.streams:
                    raise UnknownName(f"The index has no stream {name!r}.{suggest(name, self.streams)}")
            wanted = [self.corpus.streams.index(name) for name in among]
            allowed &= np.isin(self.corpus.stream, wanted)
        if where is not None:
            allowed &= matching(where, self.corpus)[self.corpus.row]
        for identifier in without:
            allowed[self.corpus.row == self.corpus.number(identifier)] = False
        return allowed

    def _calibration(self) -> Calibration | None:
        choice = self.head["calibrate"]
        held = self.corpus.counts[self.corpus.counts > 0]
        if choice == "off" or (choice == "auto" and (len(held) < 2 or held.min() < FEWEST)):
            return None
        if self._centre is None or self._centre[0] != self.corpus.version:
            self._centre = self.corpus.version, Calibration(self.corpus, 1 if choice == "on" else FEWEST)
        return self._centre[1]

    def _use_graph(self, approximate: bool | None, allowed: np.ndarray, calibrated: bool) -> bool:
        usable = self._graph is not None and self._graph.facts.calibrated == calibrated
        if approximate and not usable:
            raise BadArgument(f"{self.folder} has no graph for approximate search; make one with build_graph('on').")
        if approximate is not None or not usable:
            return bool(approximate)
        return bool(np.count_nonzero(allowed) >= SELECTIVE * len(allowed))
