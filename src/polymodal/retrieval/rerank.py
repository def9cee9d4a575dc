"""The first hits of a search put in order anew by the matching model of the space, from the cells themselves.

An index keeps one vector an item and no tokens, which are some ten to a hundred times as large. So the cells of the
candidates are read again and encoded, through the store: the first search that meets an item pays for it once, what
`align` or `fit` encoded with the same tower is there already, and the same search again encodes nothing but its query.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.types import Tokens
from polymodal.core.values import check_range, read_written
from polymodal.data.cells import Cells
from polymodal.data.items import Items
from polymodal.data.storage.store import Store, default_store
from polymodal.data.tables.source import Problem
from polymodal.retrieval.rows import rows_again

if TYPE_CHECKING:
    from polymodal.retrieval.retrieve import Hit, Query, Search


def check(search: Search, asked: Query, most: int) -> None:
    """Raise `BadArgument` where a search so asked cannot be put in order by a matching model."""
    check_range("[2, inf)", "hits", rerank=most)
    search.space.judging()
    if asked.stream is None or (asked.cell is None and asked.kind != "row"):
        raise BadArgument(
            "A vector has no tokens to be judged by, so rerank cannot be asked with one: ask with a cell."
        )


def reranked(search: Search, asked: Query, hits: Sequence[Hit], most: int) -> tuple[list[Hit], list[str]]:
    """`hits` with the first `most` in order of log-odds and, as far as it is trusted, cosine; and what is to be said.

    A hit is judged by the item by which it was found. One that cannot be judged keeps its place: the others are put in
    order among the places that are left. Hits after the first `most` stay as they are.
    """
    first = list(hits[:most])
    odds, problems = _judged(search, asked, first)
    trust = float(search.space.judging().trust)
    cosine = {place: _cosine(search, asked, hits[place]) for place in odds}
    order = sorted(odds, key=lambda place: -(odds[place] + trust * cosine[place]))  # stable among equals
    for place, taken in zip(sorted(odds), order):
        first[place] = replace(hits[taken], match=float(1 / (1 + np.exp(-odds[taken]))))
    kept, notes = f"of the first {len(first)} hits keep their places", []
    if alike := sum(hit.stream == asked.stream for hit in first):
        notes.append(
            f"{alike} {kept}: they are of {asked.stream!r} as the question is, and the matching model judges items of "
            "two streams (streams=, --streams)"
        )
    if problems:
        notes.append(f"{len(problems)} {kept}: their cells cannot be read again, as that of row {problems[0]}")
    return [replace(hit, rank=rank) for rank, hit in enumerate([*first, *hits[most:]], start=1)], notes


def _cosine(search: Search, asked: Query, hit: Hit) -> float:
    """Of the vectors as the space gives them, which trust was found for: scores of an index may have the gap out."""
    index, query = search.index, asked.vector[0] / np.linalg.norm(asked.vector[0])
    items = index.corpus.items(hit.id)[hit.stream]
    item = next(item for item in items if index.describe(item)["part"] == hit.part)
    return float(index.corpus.vectors[item] @ query)


def _judged(search: Search, asked: Query, hits: Sequence[Hit]) -> tuple[dict[int, float], list[Problem]]:
    """Log-odds by place, of hits of other streams than the question's; and the cells that cannot be read."""
    space, stream = search.space, str(asked.stream)
    places = defaultdict(list)
    for place, hit in enumerate(hits):
        if hit.stream != stream:
            places[hit.stream].append(place)
    if not places:
        return {}, []
    store = _store(search)
    question = _question(search, asked)
    odds: dict[int, float] = {}
    problems: list[Problem] = []
    for name, some in places.items():
        found = [hits[place] for place in some]
        bad: list[Problem] = []
        tokens, present = space.tokens(name, _items(search, name, found), store=store, problems=bad)
        reasons = {int(problem.row): problem.reason for problem in bad}
        there = np.flatnonzero(present)
        each = [space.odds(stream, question.select(slice(i, i + 1)), name, tokens) for i in range(len(question))]
        odds |= dict(zip((some[i] for i in there.tolist()), np.mean(each, axis=0).tolist()))
        problems += [
            Problem(hit.id, hit.part, reasons.get(i, "is missing now")) for i, hit in enumerate(found) if not present[i]
        ]
    return odds, problems


def _items(search: Search, stream: str, hits: Sequence[Hit]) -> Items:
    """The very items by which rows were found, one a hit; None where a row's cell is gone."""
    table = rows_again(search.index, search.space, [hit.id for hit in hits])
    try:
        found = search.space.items(stream, table)
    except BadData:  # no column of the stream is left
        return Items([None] * len(hits), np.arange(len(hits)), [hit.part for hit in hits])
    place = {(int(row), column): i for i, (row, column) in enumerate(zip(found.row, found.column))}
    chosen = [place.get((i, hit.part)) for i, hit in enumerate(hits)]
    cells = Cells(len(hits), lambda i: None if (at := chosen[i]) is None else found.cells[at])
    return Items(cells, np.arange(len(hits)), [hit.part for hit in hits])


def _question(search: Search, asked: Query) -> Tokens:
    """Tokens of what is asked: of the cell, or of all items that the row has of the stream. Raises `BadData`."""
    space, stream = search.space, str(asked.stream)
    given = rows_again(search.index, space, [asked.value]) if asked.kind == "row" else [asked.cell]
    problems: list[Problem] = []
    tokens, present = space.tokens(stream, given, problems=problems)
    if not present.any():
        reason = problems[0] if problems else f"{stream!r} is missing now"
        raise BadData(f"What is asked cannot be read again, so nothing can be judged beside it: {reason}")
    return tokens


def _store(search: Search) -> Store:
    """The store of the space's run where it is still there, else the user's."""
    told = search.folder and Path(search.folder) / "config.yaml"
    config = read_written(told).get("config", {}) if told and told.exists() else {}
    kept = config.get("store")
    return Store(kept) if kept and Path(kept).is_dir() else Store(default_store())
