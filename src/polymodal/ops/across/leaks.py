"""Rows of one split that are in another as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from polymodal.core.values import check_range
from polymodal.data.media.cell import MEDIA_KINDS
from polymodal.data.media.hamming import within
from polymodal.data.media.minhash import near_duplicates, signatures
from polymodal.data.media.prints import perceptual_hash, plain
from polymodal.ops.base import BatchOp, Sketch
from polymodal.ops.clean.duplicates import keys_of
from polymodal.ops.clean.image import small_pictures
from polymodal.ops.rows import Row, Rows

_PARTS = {"": 0, "train": 0, "valid": 1, "test": 2}


class Leaks(BatchOp):
    """Sets aside training rows that stand in validation or test too, and validation rows that stand in test.

    Needs a column `split`. Two rows are the same when in any of the columns their texts nearly agree (`threshold`, as
    in `near_duplicates`), their pictures' perceptual hashes lie within `radius` bits, or their other media are equal
    byte for byte. The row that is measured on stays, for dropping it would change the measure.
    """

    kinds = ("text", *MEDIA_KINDS)

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        threshold: float = 0.9,
        radius: int = 3,
        shortest: int = 20,
    ):
        super().__init__(columns=columns)
        self.threshold = threshold
        self.radius = radius
        self.shortest = shortest
        check_range("[0.4, 1]", threshold=threshold)
        check_range("[0, 16]", "bits", radius=radius)

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        kinds_after = super().bind(kinds)
        self._kinds = {column: kinds[column] for column in self.chosen}
        return kinds_after

    def partial_fit(self, rows: Rows) -> Sketch:
        sketch: Sketch = {}
        for i, column in enumerate(self.chosen):
            kind = self._kinds[column]
            if kind == "image":
                of, small = small_pictures(self, rows, column)
                sketch[f"code{i}"] = perceptual_hash(small)
            elif kind == "text":
                texts = [(r, plain(str(r.cells[column]))) for r in rows if r.cells.get(column) is not None]
                texts = [(r, t) for r, t in texts if len(t) >= self.shortest]
                sketch[f"code{i}"] = signatures([t for _, t in texts], seed=self.seed)
                of = [row for row, _ in texts]
            else:
                of = [r for r in rows if r.cells.get(column) is not None]
                sketch[f"code{i}"] = keys_of(of, [column])
            sketch[f"row{i}"] = np.array([row.number for row in of], np.int64)
            sketch[f"part{i}"] = np.array([_part(row) for row in of], np.int64)
        return sketch

    def finalize(self, sketches: Iterable[Sketch]) -> None:
        parts = list(sketches)
        leaks: dict[int, tuple[int, int, int]] = {}
        for i, column in enumerate(self.chosen):
            code, row, part = (np.concatenate([p[f"{name}{i}"] for p in parts]) for name in ("code", "row", "part"))
            kind = self._kinds[column]
            if kind == "text":
                cluster = near_duplicates(code, self.threshold)
            elif kind == "image":
                cluster = within(code, self.radius)
            else:
                cluster = np.unique(code, return_inverse=True)[1]
            for number, of, where in _straddling(cluster, row, part):
                leaks.setdefault(number, (of, where, i))
        self.state = {"leak": np.array([(n, *told) for n, told in leaks.items()], np.int64).reshape(-1, 4)}

    def work(self, rows: Rows) -> None:
        leaks = {number: told for number, *told in self.state["leak"].tolist()}
        names = {place: name for name, place in _PARTS.items() if name}
        reasons = {}
        for i, row in enumerate(rows):
            if row.number in leaks:
                of, where, column = leaks[row.number]
                reasons[i] = f"its {self.chosen[column]} stands in the {names[where]} rows too (row {of})"
        self.refuse(rows, reasons)


def _straddling(cluster: np.ndarray, row: np.ndarray, part: np.ndarray) -> list[tuple[int, int, int]]:
    """(row, row of a later split, that split) for every row whose cluster reaches into a later split."""
    last: dict[int, tuple[int, int]] = {}
    for c, p, r in zip(cluster.tolist(), part.tolist(), row.tolist()):
        if c not in last or p > last[c][0]:
            last[c] = (p, r)
    return [
        (r, last[c][1], last[c][0]) for c, p, r in zip(cluster.tolist(), part.tolist(), row.tolist()) if p < last[c][0]
    ]


def _part(row: Row) -> int:
    return _PARTS.get(row.part, 0)
