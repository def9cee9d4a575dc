"""More numbers from the ones there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_range
from polymodal.ops.augment.base import Augment
from polymodal.ops.base import Sketch
from polymodal.ops.rows import Row, Rows


class Jitter(Augment):
    """Gaussian noise on numbers: `amount` times the column's own spread (robust: the middle half of its values).

    Whole numbers stay whole, and nothing leaves the range that the column was seen to have.
    """

    kinds = ("number",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, amount: float = 0.1):
        super().__init__(columns=columns, copies=copies)
        self.amount = amount
        check_range("(0, inf)", amount=amount)

    def partial_fit(self, rows: Rows) -> Sketch:
        return _values(rows, self.chosen)

    def finalize(self, sketches: Iterable[Sketch]) -> None:
        parts = list(sketches)
        columns = [np.concatenate([p[f"values{i}"] for p in parts]) for i in range(len(self.chosen))]
        self.state = {"range": np.array([_range(values) for values in columns]).reshape(-1, 4)}

    def vary(self, row: Row, rng: np.random.Generator) -> None:
        draws = rng.normal(0, 1, len(self.chosen))
        for column, draw, told in zip(self.chosen, draws.tolist(), self.state["range"].tolist()):
            low, high, spread, whole = told
            number = row.amount(column)
            if number is not None and spread > 0:
                other = number + self.amount * spread * draw
                other = min(max(round(other) if whole else other, low), high)
                if other != number:
                    row.put(column, int(other) if whole else other)


class Smote(Augment):
    """SMOTE (Chawla et al. 2002) for rows of mixed kinds: numbers move towards a near row of the same label.

    For each training row one of its `neighbours` nearest rows of the same label is drawn (by standardised numbers), and
    each number moves the same random part of the way; whole numbers stay whole in columns that hold no other. Other
    columns keep the row's own cells: a photo is not half of another. With `balance`, only labels rarer than the
    commonest make copies, as many as bring them up to it (at most `copies` a row).
    """

    kinds = ("number",)

    def __init__(
        self, *, label: str, columns: Sequence[str] | str | None = None, copies: int = 1, neighbours: int = 5,
        balance: bool = True,
    ):  # fmt: skip
        super().__init__(columns=columns, copies=copies)
        self.label = label
        self.neighbours = neighbours
        self.balance = balance
        check_range("[1, inf)", neighbours=neighbours)

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        if self.label not in kinds:
            raise BadArgument(f"There is no column {self.label!r} for the label; there are {', '.join(kinds)}.")
        kinds_after = super().bind(kinds)
        self.chosen = [column for column in self.chosen if column != self.label]
        return kinds_after

    def partial_fit(self, rows: Rows) -> Sketch:
        kept = [r for r in rows if r.part in ("", "train") and not r.copy and r.cells.get(self.label) is not None]
        numbers = [[_or_nan(r.amount(c)) for c in self.chosen] for r in kept]
        return {
            "numbers": np.array(numbers, np.float64).reshape(len(kept), len(self.chosen)),
            "label": np.array([str(r.cells[self.label]) for r in kept], np.str_),
            "row": np.array([r.number for r in kept], np.int64),
        }

    def finalize(self, sketches: Iterable[Sketch]) -> None:
        from scipy.spatial import cKDTree

        parts = list(sketches)
        numbers, label, row = (np.concatenate([p[name] for p in parts]) for name in ("numbers", "label", "row"))
        placed = _standard(numbers)
        near = np.full((len(row), self.neighbours), -1, np.int64)
        share = np.ones(len(row))
        names, counts = np.unique(label, return_counts=True)
        for name, count in zip(names, counts):
            of = np.flatnonzero(label == name)
            if len(of) > 1:
                most = min(self.neighbours, len(of) - 1)
                nearest = cKDTree(placed[of]).query(placed[of], most + 1)[1]
                near[of, :most] = of[_others(nearest, most)]
            share[of] = counts.max() / count - 1 if self.balance else self.copies
        known = np.nan_to_num(numbers)
        whole = (known == known.round()).all(0)
        copies = np.minimum(share, self.copies)
        self.state = {"row": row, "near": near, "numbers": numbers, "copies": copies, "whole": whole}
        self._place = None

    _place: dict[int, int] | None = None

    def vary(self, row: Row, rng: np.random.Generator) -> None:
        if self._place is None:
            self._place = {number: i for i, number in enumerate(self.state["row"].tolist())}
        i = self._place.get(row.number)
        if i is None:
            return
        k = (row.copy - 1) % 64
        wanted = float(self.state["copies"][i]) - k
        near = self.state["near"][i]
        near = near[near >= 0]
        if not len(near) or rng.uniform() >= wanted:
            return
        other, part = self.state["numbers"][near[rng.integers(len(near))]], rng.uniform()
        for column, there, whole in zip(self.chosen, other.tolist(), self.state["whole"].tolist()):
            here = row.amount(column)
            if here is not None and not np.isnan(there):
                made = here + part * (there - here)
                made = round(made) if whole else made
                if made != here:
                    row.put(column, made)


def _standard(numbers: np.ndarray) -> np.ndarray:
    """[rows, columns] less the mean of each column, by its spread; what is missing stands in the middle."""
    known = np.isfinite(numbers)
    count = np.maximum(known.sum(0), 1)
    numbers = np.where(known, numbers, 0)
    numbers = numbers / np.maximum(np.abs(numbers).max(0, initial=0), 1e-300)  # so that no square overflows
    away = np.where(known, numbers - numbers.sum(0) / count, 0)
    spread = np.sqrt((away**2).sum(0) / count)
    return away / np.where(spread > 0, spread, 1)


def _others(nearest: np.ndarray, most: int) -> np.ndarray:
    """Of the nearest, each row's own place taken out."""
    own = nearest == np.arange(len(nearest))[:, None]
    own[~own.any(1), -1] = True  # many rows alike: its own may not be among the nearest
    return nearest[~own].reshape(len(nearest), most)


def _values(rows: Rows, columns: Sequence[str]) -> Sketch:
    kept = [row for row in rows if row.part in ("", "train")]
    return {
        f"values{i}": np.array([n for row in kept if (n := row.amount(c)) is not None], np.float64)
        for i, c in enumerate(columns)
    }


def _range(values: np.ndarray) -> tuple[float, float, float, float]:
    """Least, most, spread (the middle half's width, as a normal's standard deviation), and whether all are whole."""
    if not len(values):
        return 0.0, 0.0, 0.0, 0.0
    low, high = np.percentile(values, (25, 75))
    whole = float((values == values.round()).all())
    return float(values.min()), float(values.max()), float((high - low) / 1.349 or values.std()), whole


def _or_nan(number: float | None) -> float:
    return np.nan if number is None else number
