"""Pairs that do not belong together: a photo and the caption of another one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.values import check_range
from polymodal.data.media.cell import Media
from polymodal.nn.csls import crowding_apart, nearness
from polymodal.nn.normalize import l2_normalize
from polymodal.ops.across.uncertainty import APART, LEAST, in_words, told_apart
from polymodal.ops.base import BatchOp, Sketch
from polymodal.ops.rows import Row, Rows

log = logging.getLogger(__name__)
OTHERS = 4096  # rows among which the neighbours of a cell are looked for
NEAREST = 10
SHUFFLINGS, SHUFFLED = 20, 4096  # how often pairs are shuffled to see what a wrong one looks like, of how many rows


class Mismatched(BatchOp):
    """Sets aside rows whose two cells fit no better, in a shared space, than those of rows drawn at random.

    `space` is the folder of a finished `polymodal align`; `columns` names two columns, each a stream of it (or give
    `streams` their names in the space). A pair's score is its CSLS (Conneau et al. 2018): twice its cosine, less how
    near each of the two lies to its ten nearest others. Pairs shuffled at random tell what a wrong one scores, and from
    them and the pairs given each pair gets a probability of being wrong (Efron 2008); it is set aside above `sure`.

    Under 30 rows with both cells, or where the space hardly tells pairs from shuffled ones, none is set aside, and a
    warning says so.
    """

    kinds = ("text", "image", "audio", "series", "category")

    def __init__(self, *, space: str, columns: Sequence[str], streams: Sequence[str] | None = None, sure: float = 0.6):
        super().__init__(columns=columns)
        self.space = space
        self.streams = streams
        self.sure = sure
        if isinstance(columns, str) or len(columns) != 2:
            raise BadArgument(f"columns must name two columns; got {columns!r}.")
        if streams is not None and len(streams) != 2:
            raise BadArgument(f"streams must name two streams of the space, one a column; got {streams!r}.")
        check_range("(0, 1)", sure=sure)

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        kinds_after = super().bind(kinds)
        self._streams = list(self.streams or self.columns or ())
        known = self.open_space(self.space).streams
        for stream in self._streams:
            if stream not in known:
                raise BadArgument(f"The space {self.space} has no stream {stream!r}.{suggest(stream, known)}")
        return kinds_after

    def partial_fit(self, rows: Rows) -> Sketch:
        first, second = (self._vectors(rows.kept, c, s) for c, s in zip(self.chosen, self._streams))
        both = first.any(1) & second.any(1)
        numbers = np.array([row.number for row in rows], np.int64)
        return {"row": numbers[both], "first": first[both], "second": second[both]}

    def finalize(self, sketches: Iterable[Sketch]) -> None:
        parts = list(sketches)
        row, first, second = (np.concatenate([p[name] for p in parts]) for name in ("row", "first", "second"))
        self.state = {"row": np.zeros(0, np.int64), "probability": np.zeros(0)}
        pair = " and ".join(self.chosen)
        if len(row) < LEAST:
            log.warning("%s: %d rows with both %s tell too little, none is set aside.", self.name, len(row), pair)
            return
        told = told_apart(*scores(first, second, self.seed))
        if told.apart < APART:
            log.warning(
                "%s: the space %s hardly tells pairs of %s from shuffled ones, none is set aside. Align more rows, or "
                "these columns by better encoders.", self.name, self.space, pair
            )  # fmt: skip
            return
        wrong = np.flatnonzero(told.probability > self.sure)
        self.state = {"row": row[wrong], "probability": told.probability[wrong]}

    def work(self, rows: Rows) -> None:
        wrong = dict(zip(self.state["row"].tolist(), self.state["probability"].tolist()))
        pair = " and ".join(self.chosen)
        self.refuse(
            rows,
            {
                i: f"{pair} do not belong together, with a probability of {in_words(wrong[row.number])}"
                for i, row in enumerate(rows)
                if row.number in wrong and not row.copy
            },
        )

    def _vectors(self, rows: Sequence[Row], column: str, stream: str) -> np.ndarray:
        cells = [cell.source if isinstance(cell := row.cells.get(column), Media) else cell for row in rows]
        return self.open_space(self.space).embed(stream, cells)[0]


def scores(first: np.ndarray, second: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """CSLS of the pairs given, [N] of vectors [N, D] and [N, D], and of shuffled ones [M]."""
    a, b = l2_normalize(torch.from_numpy(first)), l2_normalize(torch.from_numpy(second))
    rng = np.random.default_rng(seed)
    others = torch.from_numpy(rng.permutation(len(a))[:OTHERS])
    looked = torch.zeros(len(a), dtype=torch.bool)
    looked[others] = True
    # one more than are counted: a pair's own cells are no neighbours of each other
    near_a, near_b = (nearness(x, y[others], k=NEAREST + 1) for x, y in ((a, b), (b, a)))

    def scored(i: torch.Tensor, j: torch.Tensor) -> np.ndarray:
        cosine = (a[i] * b[j]).sum(1)
        crowds = crowding_apart(near_a[i], cosine, looked[j]) + crowding_apart(near_b[j], cosine, looked[i])
        return (2 * cosine - crowds).double().numpy()

    given = [scored(block, block) for block in torch.arange(len(a)).split(SHUFFLED)]
    drawn = [torch.from_numpy(rng.permutation(len(a))[:SHUFFLED]) for _ in range(SHUFFLINGS)]
    return np.concatenate(given), np.concatenate([scored(i, i.roll(1)) for i in drawn])
