"""A page of results: what was asked, and each row that was found with its pictures, players, texts and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.core.errors import BadCell, BadData
from polymodal.core.files import writing
from polymodal.data.kinds import KINDS
from polymodal.inference.space import Space
from polymodal.report.cards import cell_card
from polymodal.report.page import cards, page
from polymodal.report.wording import clean, count, decimals, duration, is_number, joined, plain, signed
from polymodal.retrieval.rows import rows_again

if TYPE_CHECKING:
    from polymodal.retrieval.retrieve import Hit, Results

MOST_COLUMNS = 12


def write_page(results: Results, path: Path) -> Path:
    """Write the page of a search; returns its path. Needs no other file once written."""
    hits = results.hits
    shown = _shown(results, [hit.id for hit in hits])
    rows = [
        {
            "id": clean(hit.id),
            "rank": hit.rank,
            "score": signed(hit.score).lstrip("+"),
            "share": round(100 * max(0.0, hit.score), 1),
            "by": clean(hit.part),
            **_parted(shown[hit.id], hit),
            "columns": _columns(hit, results.search.space),
        }
        for hit in hits
    ]
    how = "approximate search" if results.approximate else "exact search"
    with writing(path) as temporary:
        temporary.write_text(
            page(
                "search.html.j2",
                title=_title(results),
                question=_question(results),
                rows=rows,
                facts=f"{count(results.searched)} rows, {how}, {duration(results.seconds)}",
                notes=list(results.notes),
            ),
            encoding="utf-8",
        )
    return path


def _title(results: Results) -> str:
    kind, value = results.query.kind, results.query.value
    if kind == "row":
        return f"rows like {clean(value)}"
    if KINDS[kind].words:
        return clean(value)
    return clean(Path(value).name) if isinstance(value, str | Path) else f"a given {kind}"


def _question(results: Results) -> dict[str, Any]:
    """The cells of what was asked, as a row of the page."""
    query, space = results.query, results.search.space
    if query.kind == "row":
        shown = _shown(results, [query.value])[query.value]
    elif KINDS[query.kind].media and query.stream is not None:
        cell = Path(query.value).absolute() if isinstance(query.value, str | Path) else query.value
        shown = [_card(space, query.stream, query.stream, cell)]
    else:
        shown = []
    given = results.where or ""
    where = (
        given if isinstance(given, str) else " and ".join(f"{column} is {value!r}" for column, value in given.items())
    )
    return {"id": "asked", "how": _how(query.kind), "cells": cards(shown, "asked"), "where": clean(where)}


def _how(kind: str) -> str:
    if kind == "row":
        return "Asked for"
    return "Asked in words" if KINDS[kind].words else f"Asked with {KINDS[kind].noun or kind}"


def _shown(results: Results, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The cells of the rows as the page shows them, by id."""
    space, index = results.search.space, results.search.index
    table = rows_again(index, space, ids)
    by_id: dict[str, list[dict[str, Any]]] = {identifier: [] for identifier in ids}
    order = list(KINDS)
    streams = sorted(index.streams, key=lambda name: order.index(index.streams[name]))
    for name in streams:
        try:
            items = space.items(name, table)
        except BadData:
            continue  # the columns of a table that was indexed later, of which these rows have none
        for place in range(len(items)):
            try:
                cell = items.cells[place]
            except BadCell as error:
                card = cell_card(items.column[place], {"kind": "missing", "reason": error.reason})
            else:
                if cell is None:
                    continue
                card = _card(space, name, items.column[place], cell)
            by_id[ids[int(items.row[place])]].append(card)
    return by_id


def _parted(cells: Sequence[dict[str, Any]], hit: Hit) -> dict[str, Any]:
    """What the card shows at once, and the texts that it folds away: all but two, of which one is what was found."""
    texts = [cell for cell in cells if "text" in cell]
    by = [cell for cell in texts if cell["stream"] == hit.part]
    kept = (by + [cell for cell in texts if cell not in by])[:1]
    first = [cell for cell in cells if cell not in texts] + (kept if len(texts) > 2 else texts)
    more = [cell for cell in texts if len(texts) > 2 and cell not in kept]
    return {"cells": cards(first, hit.id), "more": {"id": hit.id, "cells": cards(more, hit.id)}}


def _card(space: Space, stream: str, name: str, cell: Any) -> dict[str, Any]:
    processor = space.processors[stream]
    try:
        return cell_card(name, processor.show(processor.read(cell)))
    except BadCell as error:
        return cell_card(name, {"kind": "missing", "reason": error.reason})


def _columns(hit: Hit, space: Space) -> dict[str, str]:
    """The row's other columns, which neither a stream nor the name of the row shows already."""
    used = {space.schema.id, *(column for name in space.streams for column in space.field(name).columns)}
    rest: Mapping[str, Any] = {n: v for n, v in hit.columns.items() if n not in used}
    return {clean(name): _value(value) for name, value in list(rest.items())[:MOST_COLUMNS]}


def _value(value: Any) -> str:
    if is_number(value) and not isinstance(value, int):
        return plain(value, decimals([value]))
    return joined(value)
