"""Search: ask an index with words, a picture, a sound or one of its own rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, BadData, UnknownName, suggest
from polymodal.core.shown import many
from polymodal.data.kinds import KINDS
from polymodal.data.tables.source import Problem, Table
from polymodal.inference.keyed import place_of
from polymodal.inference.space import Space, evidence_of, load_space
from polymodal.metrics.random_order import NOT_ABOVE
from polymodal.retrieval.changes import place_from
from polymodal.retrieval.index import Found, Index
from polymodal.retrieval.rerank import check, reranked

_OPTIONS = ("k", "where", "streams", "by", "approximate", "rerank")  # of a search, beside what is asked


@dataclass(frozen=True)
class Hit:
    """A row that was found: by which `stream` and column, how near (cosine, -1 to 1), and its columns; `match` is the
    chance, against near misses, that it belongs to the question, of hits that a matching model has judged."""

    rank: int
    id: str
    stream: str
    part: str
    score: float
    columns: Mapping[str, Any]
    match: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "match" or value is not None}


@dataclass(frozen=True, eq=False)
class Query:
    """What was asked: `kind` row, vector or that of a stream; its value, and the cell; the stream that embedded it."""

    kind: str
    value: Any
    stream: str | None
    vector: np.ndarray
    cell: Any = None


@dataclass(frozen=True, eq=False)
class Results(Sequence[Hit]):
    """Hits, best first. `notes` say what the user should know; `page` needs the `search` they come from."""

    query: Query
    hits: Sequence[Hit]
    seconds: float
    approximate: bool
    searched: int
    notes: Sequence[str]
    search: Search = field(repr=False)
    where: str | Mapping[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, place: Any) -> Any:
        return self.hits[place]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        value = self.query.value if isinstance(self.query.value, str | int) else str(self.query.value)
        return {
            "query": {"kind": self.query.kind, "value": value, "stream": self.query.stream},
            "hits": [hit.to_json() for hit in self.hits],
            "seconds": self.seconds,
            "approximate": self.approximate,
            "searched": self.searched,
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """A line a hit, for a terminal."""
        lines = [
            f"{h.rank:>3}  {h.score:+.3f}{_chance(h.match)}  {h.id}  [{h.part}]  {_line(h.columns)}".rstrip()
            for h in self.hits
        ]
        return "\n".join(lines or ["nothing found"])

    def page(self, path: str | Path) -> Path:
        """Write a page with pictures and players; returns its path."""
        from polymodal.retrieval.pages import write_page

        return write_page(self, Path(path))


class Search:
    """An index and the space of its vectors.

    After `index`: `problems` are the records and cells that could not be used, `read` counts the records of the data.
    """

    def __init__(
        self, index: Index, space: Space, problems: Sequence[Problem] = (), folder: str | Path | None = None, *,
        read: int = 0,
    ):  # fmt: skip
        if space.mark != index.mark:
            raise BadData(
                f"{index.folder} was made in another space ({index.mark}) than this run's ({space.mark}): the run was "
                "trained again. Index the data again with `polymodal index`."
            )
        self.index = index
        self.space = space
        self.problems = list(problems)
        self.read = read
        self.folder = folder  # of the run, where its test is told

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {name}" for name, count in self.index.counts().items())
        return f"Search({self.index.folder}: {many(len(self.index), 'row')}, {counts})"

    def __len__(self) -> int:
        return len(self.index)

    def search(
        self,
        text: str | None = None,
        *,
        row: str | None = None,
        vector: np.ndarray | None = None,
        k: int = 10,
        where: str | Mapping[str, Any] | None = None,
        streams: Sequence[str] | None = None,
        by: str | None = None,
        approximate: bool | None = None,
        rerank: int | None = None,
        **asked_with: Any,
    ) -> Results:
        """The k rows nearest to a text, a row (its id or key), a vector, or a cell of any kind of stream of the run.

        The cell is given by its kind, as in `image=` or `audio=`: a path, bytes or an array.

        A row counts once, by its nearest item. `by` names the stream that embeds the query, or the row's stream to go
        by; it is told from the kind where it is left out. `streams` are those to find; `where` filters by columns, as
        in `search.where`. `rerank` is how many of the first hits the run's matching model puts in order, from their
        cells (see `retrieval.rerank`); 50 is a good number. Raises `BadArgument` unless one thing is asked and the run
        can do it, `BadData` for a query that cannot be read.
        """
        asked = self.query({"text": text, **asked_with, "row": row, "vector": vector}, by)
        notes = [*self.index.notes, *self._choices(asked, by), *self._evidence(asked.stream, streams)]
        without = [asked.value] if asked.kind == "row" else []
        if rerank is not None:
            check(self, asked, rerank)
        started = time.perf_counter()
        most = max(k, rerank or 0)
        wanted, hits = most, []
        while True:
            nearest = self.index.nearest(
                asked.vector,
                wanted,
                stream=asked.stream,
                mark=self.space.mark,
                where=where,
                among=streams,
                without=without,
                approximate=approximate,
            )
            hits = self._hits(nearest, most)
            if len(hits) == most or (nearest.items[0] < 0).any():
                break
            wanted *= 4
        if rerank is not None:
            hits, told = reranked(self, asked, hits, rerank)
            notes += told
        seconds = time.perf_counter() - started
        return Results(asked, hits[:k], seconds, nearest.approximate, len(self.index), notes, self, where)

    def query(self, asked: Mapping[str, Any], by: str | None = None) -> Query:
        """The vector [1, D] of what is asked. Raises as `search`."""
        given = {kind: value for kind, value in asked.items() if value is not None}
        allowed = [*KINDS.of(asked=True), "row", "vector"]
        for kind in given:
            if kind not in allowed:
                raise BadArgument(
                    f"A search has no option {kind!r} and is not asked with one.{suggest(kind, [*allowed, *_OPTIONS])}"
                )
        if len(given) != 1:
            raise BadArgument(f"Ask one thing: {', '.join(allowed)}; got {', '.join(given) or 'nothing'}.")
        kind, value = next(iter(given.items()))
        if kind not in KINDS.of(asked=True):
            return {"row": self._like, "vector": self._as_given}[kind](value, by)
        stream = self.stream_for(kind, by)
        cell = Path(value).absolute() if KINDS[kind].media and isinstance(value, str | Path) else value
        problems: list[Problem] = []
        vectors, present = self.space.embed(stream, [cell], problems=problems)
        if not present[0]:
            reason = problems[0].reason if problems else "is empty"
            raise BadData(f"The {kind} {_short(value)} cannot be asked: {reason}.")
        return Query(kind, value, stream, vectors, cell)

    def stream_for(self, kind: str, by: str | None = None) -> str:
        """The stream that embeds a query of this kind: `by`, or the first of the kind. Raises `BadArgument`."""
        if by is not None:
            if by not in self.space.streams:
                raise UnknownName(f"The run has no stream {by!r}.{suggest(by, self.space.streams)}")
            return by
        fitting = self._fitting(kind)
        if not fitting:
            there = ", ".join(f"{name} ({k})" for name, k in self.space.streams.items())
            said = f"The run has no stream of kind {kind}, so it cannot be asked with one. It has {there}."
            unread = self.space.schema.unread(map(self.space.field, self.space.streams)) if KINDS[kind].words else []
            raise BadArgument(" ".join([said, *unread]))
        return fitting[0]

    def _fitting(self, kind: str) -> list[str]:
        return [name for name, k in self.space.streams.items() if k == kind]

    def _choices(self, asked: Query, by: str | None) -> list[str]:
        """Say which stream was taken where several would do."""
        others = [name for name in self._fitting(asked.kind) if name != asked.stream] if by is None else []
        return [f"asked by {asked.stream!r}; {', '.join(others)} would do too (by=, --by)"] if others else []

    def _evidence(self, stream: str | None, among: Sequence[str] | None) -> list[str]:
        """Say where the run's own test could not tell from chance what this search rests on."""
        told = []
        for other in among or self.index.streams:
            known = evidence_of(self.folder, stream, other) if stream is not None else None
            if known is not None and known["verdict"] != "above":
                told.append(f"The run's own test, {stream} to {other}: {NOT_ABOVE[known['verdict']]}")
        return told

    def _as_given(self, vector: Any, by: str | None) -> Query:
        return Query("vector", "a vector", by, np.atleast_2d(np.asarray(vector, np.float32)))

    def _like(self, row: Any, by: str | None) -> Query:
        identifier = self._named(str(row))
        vectors = self.index.vectors_of(identifier)
        if by is not None and by not in vectors:
            has = f"it has {', '.join(vectors)}" if vectors else "it has none"
            raise BadArgument(f"Row {identifier!r} has no {by!r} in the index; {has}.")
        if not vectors:
            raise BadArgument(f"Row {identifier!r} has no vector in the index, so nothing is like it.")
        stream = by or next(iter(vectors))
        return Query("row", identifier, stream, vectors[stream].mean(0, keepdims=True))

    def _named(self, row: str) -> str:
        """The id of the row of this id, or of the one that a key names so. Raises `UnknownName`."""
        index = self.index
        index.refresh()
        if row in index:
            return row
        ids, columns = index.corpus.names, index.corpus.columns
        places = [index.corpus.number(name) for name in ids]
        cells = {n: [column[place] for place in places] for n, column in columns.items() if not n.startswith(":")}
        return ids[place_of(row, Table.build(cells, ids=ids, name=str(index.folder)), self.space.schema)]

    def _hits(self, nearest: Found, k: int) -> list[Hit]:
        hits: dict[str, Hit] = {}
        for item, score in zip(nearest.items[0].tolist(), nearest.scores[0].tolist()):
            if item < 0 or len(hits) == k:
                break
            said = self.index.describe(item)
            if said["id"] not in hits:
                columns = {n: v for n, v in self.index.row(said["id"]).items() if not n.startswith(":")}
                hits[said["id"]] = Hit(len(hits) + 1, score=score, columns=columns, **said)
        return list(hits.values())


def open_index(
    folder: str | Path,
    run: Any = None,
    *,
    salvage: bool = False,
    trust: str | Sequence[str] = (),
    device: str = "auto",
) -> Search:
    """The index in `folder`, with the space it was made in: that of `run`, or the one that was named when indexing.

    `trust` names modules of own parts that the run may use; `device` is where questions are embedded (see `device_of`).
    Raises `BadData` where there is no index, where it is damaged (unless `salvage`), where the run was trained again or
    names parts that are not trusted.
    """
    index = Index(folder, salvage=salvage)
    if run is None:
        told = index.about.get("run")
        run = None if told is None else place_from(index.folder, told)
        if run is None or not run.exists():
            lost = "does not know its run" if run is None else f"was made of the run {run}, which is not there"
            raise BadArgument(f"{folder} {lost}. Name the run's folder (--run, or the second argument).")
    space = load_space(run, trust=trust, device=device) if isinstance(run, str | Path) else getattr(run, "space", run)
    return Search(index, space, folder=run if isinstance(run, str | Path) else getattr(run, "folder", None))


def kind_of(path: Path, streams: Mapping[str, str], by: str | None = None) -> str | None:
    """The kind that a file, or a folder of a film's frames, is asked as; None where nothing tells it.

    Of `streams`, the run's and their kinds, it is that of `by`; else the one that the suffix tells, or where there is
    no such stream, one that reads such files too, as films are animated pictures.
    """
    if by is not None and by in streams:
        return streams[by]
    told = KINDS.of_file(path.name)
    if path.is_dir():
        return next((kind for kind in streams.values() if KINDS[kind].cell == "files"), None)
    return next((kind for kind in streams.values() if told in KINDS[kind].also and told not in streams.values()), told)


def _short(value: Any) -> str:
    return repr(str(value)) if isinstance(value, str | Path) else f"({type(value).__name__})"


def _chance(match: float | None) -> str:
    return "" if match is None else f"  match {match:.2f}"


def _line(columns: Mapping[str, Any]) -> str:
    """The columns on one line, cut where it grows long."""
    line = "  ".join(f"{name}={' '.join(str(value).split())}" for name, value in columns.items())
    return line if len(line) <= 160 else f"{line[:159]}…"
