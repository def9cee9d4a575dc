"""Rows linked to rows: an edge list beside the table (social networks, patient similarity) as cells of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadArgument, BadCell, BadData, UnknownName, suggest
from polymodal.core.numbers import as_number
from polymodal.core.shown import many, some
from polymodal.data.paths import placed
from polymodal.data.tables.delimited import read_delimited
from polymodal.data.tables.table import Table

READS = {
    "earlier": (
        "a row reads features (never labels) of rows linked to it, of its own part of the split and those before it: "
        "training rows read training rows alone, test rows read test rows too, as rows answered together would. "
        "`across: own` forbids links that cross the split; `across: all` lets training rows read test rows."
    ),
    "own": "links that cross the split are left out; a row reads features (never labels) of rows in its own part only.",
    "all": (
        "transductive: a row reads features (never labels) of all rows linked to it, so training rows read test rows' "
        "too. The figures hold for answering rows that were there in training."
    ),
}
SHOWN = 3  # examples of what is wrong


@dataclass(frozen=True)
class LinkOptions:
    """Where the edges are and which of them count.

    `path` is a CSV or TSV file of pairs of ids, sought from the table's folder, with the columns `source` and `target`
    and, if named, `weight` (above 0; the more, the nearer). Undirected edges join both ways; with `directed` a source
    reads its targets. A row keeps its `neighbours` strongest, ties broken by a draw that depends on the ids alone.

    `across` says whose features a row may read: "earlier" is its own part of the split and those before it (train,
    valid, test, new rows), which is what can be known when the row is answered, so that nothing of a test row is seen
    in training; "own" forbids links that cross splits; "all" lets training rows read test rows' features as well
    (transductive).
    """

    path: str
    source: str = "source"
    target: str = "target"
    weight: str | None = None
    directed: bool = False
    neighbours: int = 16
    across: str = "earlier"

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any]) -> LinkOptions:
        """The options of the field `name`. Raises `BadArgument`."""
        allowed = [f.name for f in fields(cls)]
        for key in options:
            if key not in allowed:
                raise BadArgument(f"Field {name!r} of kind links has no option {key!r}.{suggest(key, allowed)}")
        if not isinstance(options.get("path"), str):
            raise BadArgument(f"Field {name!r} of kind links needs `path`: the CSV file of its edges.")
        parsed = cls(**options)
        if not isinstance(parsed.neighbours, int) or isinstance(parsed.neighbours, bool) or parsed.neighbours < 1:
            raise BadArgument(f"Field {name!r}: neighbours is a whole number of at least 1; got {parsed.neighbours!r}.")
        if not isinstance(parsed.directed, bool):
            raise BadArgument(f"Field {name!r}: directed is true or false; got {parsed.directed!r}.")
        if parsed.across not in READS:
            raise BadArgument(f"Field {name!r}: across is one of {', '.join(READS)}; got {parsed.across!r}.")
        return parsed


@dataclass
class Links:
    """Edges by row id: `near[a]` maps each neighbour of a to the edge's weight. `faults` say what was left out."""

    near: dict[str, dict[str, float]] = field(default_factory=dict)
    count: int = 0
    faults: list[str] = field(default_factory=list)

    def join(self, a: str, b: str, weight: float) -> None:
        """Let a read b; of an edge that is given twice the stronger counts."""
        held = self.near.setdefault(a, {})
        held[b] = max(weight, held.get(b, 0.0))


def edge_path(table: Table, options: LinkOptions) -> Path:
    """The edge list of this table. Raises `BadData` where it lies elsewhere and cannot be fetched."""
    try:
        return placed(table.base, options.path, table.remote)
    except BadCell as error:
        raise BadData(f"The edge list {options.path}: {error.reason}.") from error


def read_links(table: Table, name: str, options: LinkOptions) -> Links:
    """The edges of the field `name`. Raises `BadData` or `UnknownName` when the file is not there or has other columns.

    Edges of a row to itself and edges whose weight is no number above 0 are left out and counted in `faults`.
    """
    path = edge_path(table, options)
    if not path.is_file():
        raise BadData(f"Field {name!r}: the edge list {path} does not exist; it is sought from the table's folder.")
    edges = read_delimited(path)
    for column in filter(None, (options.source, options.target, options.weight)):
        if column not in edges.data:
            raise UnknownName(
                f"Field {name!r}: {path.name} has no column {column!r}.{suggest(column, edges.data)} Its first line "
                "must name its columns, and `source`, `target` and `weight` of the field say which are meant."
            )
    links = Links(count=len(edges), faults=[f"{name}: {problem}" for problem in edges.problems[:SHOWN]])
    weights = edges.data[options.weight] if options.weight else ["1"] * len(edges)
    loops, unfit, lacking = [], [], 0
    for a, b, written in zip(edges.data[options.source], edges.data[options.target], weights):
        weight = as_number(written) if written is not None else None
        if a is None or b is None:
            lacking += 1
        elif a == b:
            loops.append(a)
        elif weight is None or not 0 < weight < float("inf"):
            unfit.append(f"{a}-{b} ({written})")
        else:
            links.join(a, b, weight)
            if not options.directed:
                links.join(b, a, weight)
    if lacking:
        links.faults.append(f"{name}: {lacking} edges lack an id and are left out.")
    if loops:
        links.faults.append(
            f"{name}: {len(loops)} edges join a row with itself ({some(loops, SHOWN)}) and are left out."
        )
    if unfit:
        links.faults.append(
            f"{name}: {len(unfit)} edges have no weight above 0 ({some(unfit, SHOWN)}) and are left out."
        )
    return links


def link_cells(table: Table, name: str, options: Mapping[str, Any]) -> list[dict[str, Any] | None]:
    """A row each: `ids` of all its neighbours and their `weights`, the strongest first; None where it has none.

    Whether a neighbour is known is settled where its features are (see `data.neighbours`).
    """
    links = read_links(table, name, LinkOptions.of(name, options))
    return [_cell(links.near.get(identifier)) for identifier in table.ids]


def link_findings(table: Table, name: str, options: Mapping[str, Any]) -> list[str]:
    """What a user should know of an edge list, in words. Raises as `read_links` does."""
    links = read_links(table, name, LinkOptions.of(name, options))
    known = set(table.ids)
    named = set(links.near).union(*links.near.values()) if links.near else set()
    lines = list(links.faults)
    if strange := sorted(named - known):
        lines.append(
            f"{name}: {len(strange)} of {len(named)} ids in the edge list name no row of the table "
            f"({some(strange, SHOWN)}); their edges are left out."
        )
    isolated = [i for i in table.ids if not known.intersection(links.near.get(i, ()))]
    if len(isolated) == len(table):
        lines.append(f"{name}: no edge joins two rows of the table: are the ids those of its id column?")
    elif isolated:
        lines.append(
            f"{name}: {many(len(isolated), 'row has', 'rows have')} no neighbour ({some(isolated, SHOWN)}); the stream "
            "is missing there."
        )
    return lines


def link_notes(table: Table, name: str, options: Mapping[str, Any]) -> list[str]:
    """`link_findings`, and whose features a row may read: what a plan must say."""
    return [*link_findings(table, name, options), f"{name}: {READS[LinkOptions.of(name, options).across]}"]


def _cell(near: Mapping[str, float] | None) -> dict[str, Any] | None:
    if not near:
        return None
    ordered = sorted(near.items(), key=lambda pair: (-pair[1], pair[0]))
    return {"ids": [identifier for identifier, _ in ordered], "weights": [weight for _, weight in ordered]}
