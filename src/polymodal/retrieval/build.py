"""index: the rows of a table into an index, a piece at a time; the same call goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.digest import digest_cells, fingerprint
from polymodal.core.errors import BadArgument, BadCell, BadData, UnknownName, suggest
from polymodal.core.runtime import device_of
from polymodal.data.items import Items
from polymodal.data.tables.source import Problem, Table, read_table
from polymodal.data.tables.table import Lazy
from polymodal.inference.space import Space, load_space
from polymodal.retrieval.changes import ASIDE, BASE, DIGEST, NUMBER, Vectors, told_from
from polymodal.retrieval.index import CHOICES, Index
from polymodal.retrieval.retrieve import Search
from polymodal.runs.folder import set_aside
from polymodal.runs.progress import Progress

PIECE = 256  # rows embedded and written at a time


def index(
    run: Any,
    data: Any,
    *,
    out: str | Path,
    streams: Sequence[str] | None = None,
    approximate: str = "auto",
    calibrate: str = "auto",
    trust: str | Sequence[str] = (),
    device: str = "auto",
    quiet: bool = False,
) -> Search:
    """Embed `streams` (default: all that `data` have) of every row and keep them, with the row's columns, in `out`.

    `run` is the folder of an `align` run, or its `Space`. If `out` holds an index of the same space already, rows that
    it has are left as they are, rows whose cells or columns changed are brought up to date, and new ones are added; so
    the same call after an interruption goes on, and nothing is embedded twice. `approximate`: a graph for approximate
    search, `auto` from 200 million numbers on, `on`, `off`. `calibrate`: see `Index.create`. `trust`: modules of own
    parts that the run may use. `device`: see `device_of`.

    Cells that cannot be used are missing in the index, in `problems` of the result and in `out/set_aside.jsonl`. Raises
    `BadData` when `out` holds an index of another space or other streams, `UnknownName` for an unknown stream.
    """
    if approximate not in CHOICES:
        raise BadArgument(f"approximate is one of {', '.join(CHOICES)}; got {approximate!r}.")
    if Path(out).exists() and not Path(out).is_dir():
        raise BadArgument(f"{out} is a file; --out names a folder.")
    space, folder = space_of(run, trust, device)
    table = space.schema.read(read_table(data))
    names = streams_of(space, table, streams)
    source = data if isinstance(data, str | Path) else None
    about = {n: told_from(Path(out), p) for n, p in (("run", folder), ("source", source)) if p is not None}
    held = _opened(Path(out), space, names, calibrate, about)
    with Progress(quiet=quiet) as progress, held.writing():
        stage = progress.stage("index", len(table))
        told = dict.fromkeys(("added", "changed", "unchanged"), 0)
        for piece in _pieces(table):
            _put(held, space, names, piece, told)
            stage.advance(steps=len(piece))
        stage.end(", ".join(f"{count:,} {what}" for what, count in told.items()))
        graph = held.build_graph(approximate)
        if graph and held.graph is not None:
            progress.say(f"graph: recall@10 {held.graph.facts.recall:.3f} on items that it had not seen")
    problems = [*table.problems, *lacking(space, table, streams or space.streams), *_set_aside(held, table.ids)]
    set_aside(Path(out), problems)
    return Search(held, space, problems, folder, read=table.records)


def _put(held: Index, space: Space, names: Sequence[str], piece: Table, told: dict[str, int]) -> None:
    """Bring the rows of `piece` up to date."""
    items = {name: space.items(name, piece) for name in names}
    digests = _digests(piece, items)
    known = [held.row(i).get(DIGEST) if i in held else None for i in piece.ids]
    changed = [i for i, old in enumerate(known) if old is not None and old != digests[i]]
    rows = [i for i, old in enumerate(known) if old != digests[i]]
    told["changed"] += len(changed)
    told["added"] += len(rows) - len(changed)
    told["unchanged"] += len(piece) - len(rows)
    if not rows:
        return
    some = piece.select(rows)
    vectors: dict[str, Vectors] = {}
    problems: list[Problem] = []
    for name in names:
        embedded, present = space.embed(name, some, problems=problems)
        which = space.items(name, some)
        there = np.flatnonzero(present)
        vectors[name] = Vectors(which.row[there], embedded[there], [which.column[i] for i in there.tolist()])
    held.delete([piece.ids[i] for i in changed])
    columns = {name: [_kept(value) for value in values] for name, values in some.data.items()}
    bases = {base: told_from(held.folder, base) for base in set(some.bases)}
    columns[BASE] = [bases[base] for base in some.bases]
    columns[NUMBER] = some.rows.tolist()
    columns[DIGEST] = [digests[i] for i in rows]
    columns[ASIDE] = [[[p.column, p.reason] for p in problems if p.row == i] or None for i in some.ids]
    held.add(some.ids, vectors, columns, mark=space.mark)


def _opened(out: Path, space: Space, names: Sequence[str], calibrate: str, about: Mapping[str, Any]) -> Index:
    kinds = {name: space.streams[name] for name in names}
    if not (out / "items.journal").exists():
        return Index.create(out, dim=space.dim, streams=kinds, mark=space.mark, calibrate=calibrate, about=about)
    held = Index(out)
    for what, given, there in (
        ("of another space", space.mark, held.mark),
        (f"of the streams {', '.join(held.streams)}", kinds, held.streams),
        (f"made with calibrate={held.head['calibrate']!r}", calibrate, held.head["calibrate"]),
    ):
        if given != there:
            raise BadData(f"{out} holds an index {what}. Give another folder, or delete it first.")
    return held


def space_of(run: Any, trust: str | Sequence[str], device: str) -> tuple[Space, str | None]:
    """The space of a run (its folder, what `align` gave, or a `Space`) on a device, and its folder if it has one."""
    if isinstance(run, str | Path):
        return load_space(run, trust=trust, device=device), str(Path(run).absolute())
    folder = getattr(run, "folder", None)
    return getattr(run, "space", run).to(device_of(device)), None if folder is None else str(Path(folder).absolute())


def streams_of(space: Space, table: Table, asked: Sequence[str] | None) -> list[str]:
    """The streams to take: those asked for, or those of which the table has a column. Raises `UnknownName`."""
    if asked is not None:
        for name in asked:
            if name not in space.streams:
                raise UnknownName(f"The run has no stream {name!r}.{suggest(name, space.streams)}")
        if len(set(asked)) < len(asked) or not asked:
            raise BadArgument(f"streams names each stream once, at least one; got {', '.join(asked) or 'none'}.")
        return list(asked)
    fields = {name: space.field(name) for name in space.streams}
    streams = [n for n, one in fields.items() if "array" in one.options or set(one.columns) & set(table.data)]
    if not streams:
        absent = " ".join(map(str, lacking(space, table, space.streams)))
        raise BadData(f"{table.name} has no column of the run's streams. {absent}")
    return streams


def lacking(space: Space, table: Table, streams: Iterable[str]) -> list[Problem]:
    """The columns of streams that the table has not, so that nothing of them can be found."""
    absent = [(name, c) for name in streams for c in space.field(name).columns if c not in table.data]
    return [Problem(table.name, name, f"has no column {c!r}.{suggest(c, table.data)}") for name, c in absent]


def _pieces(table: Table) -> Iterator[Table]:
    for start in range(0, len(table), PIECE):
        yield table.select(range(start, min(start + PIECE, len(table))))


def _digests(table: Table, items: Mapping[str, Items]) -> list[str]:
    """A digest of each row's columns and of the cells of its streams, files by their content."""
    columns = [{name: _kept(values[i]) for name, values in table.data.items()} for i in range(len(table))]
    contents: list[list[str]] = [[] for _ in columns]
    for stream in items.values():
        for row, digest in zip(stream.row.tolist(), digest_cells(_cell(stream, i) for i in range(len(stream)))):
            contents[row].append(digest.tobytes().hex())
    return [fingerprint([row, cells]) for row, cells in zip(columns, contents)]


def _cell(items: Items, place: int) -> Any:
    """The cell, or, where it cannot even be handed over, the reason."""
    try:
        return items.cells[place]
    except BadCell as error:
        return error.reason


def _kept(value: Any) -> Any:
    """A raw cell as the index keeps it: media in bytes, arrays or archives stay where they are."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and len(value) <= 64:
        return [_kept(v) for v in value]
    return None if isinstance(value, bytes | dict | list | tuple | np.ndarray | Lazy) else str(value)


def _set_aside(held: Index, ids: Sequence[str]) -> list[Problem]:
    """The cells of these rows that could not be used, whenever they were met."""
    said = {identifier: held.row(identifier).get(ASIDE) or [] for identifier in ids}
    return [Problem(row, column, reason) for row, cells in said.items() for column, reason in cells]
