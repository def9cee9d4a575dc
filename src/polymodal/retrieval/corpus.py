"""What an index holds, in memory: rows with their columns, and items, one vector of one stream each.

Rows and items keep their numbers until the index is compacted; what is deleted or replaced is only marked as gone. The
numbers follow from the changes alone, so that every reader of a journal counts alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polymodal.core.errors import UnknownName, suggest
from polymodal.retrieval.changes import Change, Put, Vectors


class Growing:
    """An array that grows at its end; doubling makes that cheap. `view` is what there is."""

    def __init__(self, shape: tuple[int, ...], dtype: Any):
        self._held = np.zeros((64, *shape), dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def view(self) -> np.ndarray:
        """[N, ...] without a copy."""
        return self._held[: self._count]

    def extend(self, count: int) -> np.ndarray:
        """`count` entries more, and a view of them."""
        wanted = self._count + count
        if wanted > len(self._held):
            larger = np.zeros((max(wanted, 2 * len(self._held)), *self._held.shape[1:]), self._held.dtype)
            larger[: self._count] = self.view
            self._held = larger
        self._count = wanted
        return self._held[wanted - count : wanted]


class Corpus:
    """Rows and items of the streams named; vectors of width `dim`.

    `version` counts changes. Items: `vectors` [N, dim] float32; `row`, `stream` and `part` [N] (numbers; a part is the
    column that an item comes from, for streams with several items a row); `alive` [N] bool.
    """

    def __init__(self, streams: Sequence[str], dim: int):
        self.streams = tuple(streams)
        self.dim = dim
        self.version = 0
        self.ids: list[str] = []  # by row number, of deleted rows too
        self.columns: dict[str, list[Any]] = {}
        self.counts = np.zeros(len(self.streams), dtype=np.int64)
        self._sums = np.zeros((len(self.streams), dim))
        self._rows: dict[str, int] = {}
        self._items: dict[tuple[int, int], list[int]] = {}  # the living items of a row and a stream
        self._vectors = Growing((dim,), np.float32)
        self._row = Growing((), np.int64)
        self._stream = Growing((), np.int16)
        self._part = Growing((), np.int16)
        self._alive = Growing((), bool)
        self.parts: list[str] = []
        self._values: dict[str, np.ndarray] = {}
        self._valued = -1

    # --- what there is ---

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._rows

    @property
    def vectors(self) -> np.ndarray:
        return self._vectors.view

    @property
    def row(self) -> np.ndarray:
        return self._row.view

    @property
    def stream(self) -> np.ndarray:
        return self._stream.view

    @property
    def part(self) -> np.ndarray:
        return self._part.view

    @property
    def alive(self) -> np.ndarray:
        return self._alive.view

    @property
    def names(self) -> list[str]:
        """Ids of the rows there are, in order of their coming."""
        return list(self._rows)

    def means(self) -> np.ndarray:
        """[S, dim] the mean vector of each stream's items, zero where it has none; kept up to date change by change."""
        return (self._sums / np.maximum(self.counts, 1)[:, None]).astype(np.float32)

    def number(self, identifier: str) -> int:
        """The row's number. Raises `UnknownName`."""
        if identifier not in self._rows:
            raise UnknownName(f"The index has no row {identifier!r}.{suggest(identifier, self._rows, most=8)}")
        return self._rows[identifier]

    def items(self, identifier: str) -> dict[str, list[int]]:
        """The items of each stream that the row has. Raises `UnknownName`."""
        row = self.number(identifier)
        by_stream = {name: self._items.get((row, number), []) for number, name in enumerate(self.streams)}
        return {name: items for name, items in by_stream.items() if items}

    def values(self, row: int) -> dict[str, Any]:
        """The row's columns, without those that are missing in it."""
        return {name: column[row] for name, column in self.columns.items() if column[row] is not None}

    def column(self, name: str, form: str) -> np.ndarray:
        """A column over all row numbers: as `number` float64, NaN where it is none, or as `text`, None where missing.

        Raises `UnknownName` with the nearest column.
        """
        if name not in self.columns:
            shown = [column for column in self.columns if not column.startswith(":")]
            raise UnknownName(f"The index has no column {name!r}.{suggest(name, shown)}")
        if self._valued != self.version:
            self._values, self._valued = {}, self.version
        key = f"{form}:{name}"
        if key not in self._values:
            self._values[key] = (_numbers if form == "number" else _texts)(self.columns[name])
        return self._values[key]

    # --- changes ---

    def apply(self, change: Change) -> None:
        """Take a change, checked before (`given.as_put`)."""
        self.version += 1
        if isinstance(change, Put):
            self._put(change)
            return
        for identifier in change.ids:
            row = self._rows.pop(identifier, None)
            if row is not None:
                for stream in range(len(self.streams)):
                    self._drop(row, stream)

    def whole(self, size: int) -> list[Put]:
        """All there is as changes of `size` rows each, which give the same rows again."""
        rows = list(self._rows.values())
        return [self._as_put(rows[start : start + size]) for start in range(0, len(rows), size)]

    def _as_put(self, rows: list[int]) -> Put:
        vectors = {}
        for number, name in enumerate(self.streams):
            held = [(place, item) for place, row in enumerate(rows) for item in self._items.get((row, number), ())]
            if held:
                places, items = np.array(held, dtype=np.int64).T
                vectors[name] = Vectors(places, self.vectors[items], [self.parts[p] for p in self.part[items]])
        columns = {name: [column[row] for row in rows] for name, column in self.columns.items()}
        return Put([self.ids[row] for row in rows], columns, vectors)

    def _put(self, change: Put) -> None:
        fresh = [identifier for identifier in change.ids if identifier not in self._rows]
        self._rows.update(zip(fresh, range(len(self.ids), len(self.ids) + len(fresh))))
        self.ids.extend(fresh)
        for column in self.columns.values():
            column.extend([None] * len(fresh))
        rows = [self._rows[identifier] for identifier in change.ids]
        for name, values in change.columns.items():
            column = self.columns.setdefault(name, [None] * len(self.ids))
            for row, value in zip(rows, values):
                column[row] = value
        for name, put in change.vectors.items():
            self._add(self.streams.index(name), np.array(rows, dtype=np.int64), put)

    def _add(self, stream: int, rows: np.ndarray, put: Vectors) -> None:
        """The items of the rows concerned are replaced: where rows have several, by all of the new ones."""
        owners, first = rows[put.positions], len(self._vectors)
        for row in dict.fromkeys(owners.tolist()):
            self._drop(row, stream)
        for item, row in enumerate(owners.tolist(), start=first):
            self._items.setdefault((row, stream), []).append(item)
        for part in put.parts:
            if part not in self.parts:
                self.parts.append(part)
        count = len(owners)
        self._vectors.extend(count)[:] = put.vectors
        self._row.extend(count)[:] = owners
        self._stream.extend(count)[:] = stream
        self._part.extend(count)[:] = [self.parts.index(part) for part in put.parts]
        self._alive.extend(count)[:] = True
        self._sums[stream] += put.vectors.sum(0, dtype=np.float64)
        self.counts[stream] += count

    def _drop(self, row: int, stream: int) -> None:
        for item in self._items.pop((row, stream), ()):
            self.alive[item] = False
            self._sums[stream] -= self.vectors[item]
            self.counts[stream] -= 1


def _numbers(values: Sequence[Any]) -> np.ndarray:
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: Any) -> float:
    if value is None or isinstance(value, list):
        return np.nan
    try:
        return float(value)
    except ValueError:
        return np.nan


def _texts(values: Sequence[Any]) -> np.ndarray:
    texts = np.empty(len(values), dtype=object)
    texts[:] = [value if value is None or isinstance(value, str) else _text(value) for value in values]
    return texts


def _text(value: Any) -> str:
    """As it stands in the table: whole numbers without a point, truth in small letters, lists with commas."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)
