"""Pairs that do not belong together: a photo and the caption of another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polymodal.core.errors import BadArgument, suggest
from polymodal.prepare.base import BatchOp, Sketch
from polymodal.prepare.media import Media
from polymodal.prepare.rows import Row, Rows

if TYPE_CHECKING:
    from polymodal.space import Space

OTHERS = 512  # cells of other rows that a pair is compared with


class Mismatched(BatchOp):
    """Sets aside rows whose two cells lie further apart, in a shared space, than those of rows drawn at random.

    `space` is the folder of a finished `polymodal align`; `columns` names two columns, each a stream of it (or give
    `streams` their names in the space). A row is set aside when in both directions more than a share `rank` of other
    rows' cells would match better than its own. A pair that is right by chance ranks first; one that was mixed up ranks
    anywhere, so at `rank: 0.3` seven of ten wrong pairs are found at best, and what a weak space confuses goes too.
    """

    kinds = ("text", "image", "audio", "series", "category")

    def __init__(self, *, space: str, columns: Sequence[str], streams: Sequence[str] | None = None, rank: float = 0.3):
        super().__init__(columns=columns)
        self.space = space
        self.streams = streams
        self.rank = rank
        if isinstance(columns, str) or len(columns) != 2:
            raise BadArgument(f"columns must name two columns; got {columns!r}.")
        if streams is not None and len(streams) != 2:
            raise BadArgument(f"streams must name two streams of the space, one a column; got {streams!r}.")
        if not 0 < rank < 1:
            raise BadArgument(f"rank is a share between 0 and 1; got {rank}.")

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        found = super().bind(kinds)
        self._streams = list(self.streams or self.columns or ())
        known = _space(self.space).streams
        for stream in self._streams:
            if stream not in known:
                raise BadArgument(f"The space {self.space} has no stream {stream!r}.{suggest(stream, known)}")
        return found

    def sketch(self, rows: Rows) -> Sketch:
        first, second = (self._vectors(rows.kept, c, s) for c, s in zip(self.chosen, self._streams))
        both = first.any(1) & second.any(1)
        numbers = np.array([row.number for row in rows], np.int64)
        return {"row": numbers[both], "first": first[both], "second": second[both]}

    def settle(self, sketches: Iterable[Sketch]) -> None:
        parts = list(sketches)
        row, first, second = (np.concatenate([p[name] for p in parts]) for name in ("row", "first", "second"))
        own = (first * second).sum(1)
        others = np.random.default_rng(self.seed).permutation(len(row))[:OTHERS]
        better = np.ones(len(row))
        for a, b in ((first, second), (second, first)):
            share = np.zeros(len(row))
            for start in range(0, len(row), 4096):
                rows = slice(start, start + 4096)
                share[rows] = (a[rows] @ b[others].T > own[rows, None] + 1e-6).mean(1)
            better = np.minimum(better, share)
        wrong = np.flatnonzero(better > self.rank)
        self.state = {"row": row[wrong], "share": better[wrong]}

    def work(self, rows: Rows) -> None:
        wrong = dict(zip(self.state["row"].tolist(), self.state["share"].tolist()))
        pair = " and ".join(self.chosen)
        self.refuse(
            rows,
            {
                i: f"{pair} do not belong together: {wrong[row.number]:.0%} of other rows' cells match better"
                for i, row in enumerate(rows)
                if row.number in wrong and not row.copy
            },
        )

    def _vectors(self, rows: Sequence[Row], column: str, stream: str) -> np.ndarray:
        cells = [cell.source if isinstance(cell := row.cells.get(column), Media) else cell for row in rows]
        return _space(self.space).embed(stream, cells)[0]


@cache
def _space(folder: str) -> Space:
    from polymodal.space import load_space

    return load_space(Path(folder))
