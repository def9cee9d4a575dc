"""Columns of numbers, dates, truths and categories to standardised numbers and category ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.dates import as_date, date_formats
from polymodal.core.errors import BadArgument, BadCell, suggest
from polymodal.core.numbers import Notation
from polymodal.core.reading import Reading
from polymodal.core.words import as_word
from polymodal.data.infer import names_things
from polymodal.data.media.remarks import remark
from polymodal.process.base import Processor
from polymodal.process.scale import Scaler

Row = Mapping[str, Any]
TYPES = ("number", "date", "category")
FIRST_WORD = 2  # category ids: 0 missing, 1 rare or unknown, then the words
DATE_PARTS = ("time", "season sine", "season cosine", "weekday sine", "weekday cosine", "hour sine", "hour cosine")


@dataclass(frozen=True)
class Column:
    """How a column is read: its unit and decimal sign; its date formats and the parts that vary; or its categories by
    falling count."""

    name: str
    type: str
    unit: str = ""
    decimal: str = "."
    formats: tuple[str, ...] = ()
    parts: tuple[int, ...] = ()
    words: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """As plain values; a decimal point goes without saying, so that what knew no comma keeps its digest."""
        return {key: value for key, value in asdict(self).items() if (key, value) != ("decimal", ".")}

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the numbers that it gives."""
        if self.type == "date":
            return tuple(f"{self.name} ({DATE_PARTS[part]})" for part in self.parts)
        return (self.name,) if self.type == "number" else ()

    def numbers(self, cells: Sequence[Any]) -> np.ndarray:
        """[n, len(features)], NaN where missing or unreadable."""
        if self.type == "number":
            return self._notation.numbers(cells)[:, None]
        parts = [_date_parts(cell, self.formats) for cell in cells]
        return np.array(parts, np.float64).reshape(-1, len(DATE_PARTS))[:, list(self.parts)]

    def ids(self, cells: Sequence[Any]) -> np.ndarray:
        """[n] category ids."""
        places = {as_word(word): place for place, word in enumerate(self.words, FIRST_WORD)}
        known = [0 if cell is None or isinstance(cell, list | dict) else places.get(as_word(cell), 1) for cell in cells]
        return np.array(known, np.int32)

    def readable(self, cell: Any) -> bool:
        """Whether the cell gives anything."""
        if cell is None or self.type == "category":
            return cell is not None
        return (
            as_date(cell, self.formats) is not None if self.type == "date" else self._notation.number(cell) is not None
        )

    def loses(self, cell: Any) -> bool:
        """Whether the cell holds something that gives nothing: no number, no date, or several values where one goes."""
        return cell is not None and (not self.readable(cell) or isinstance(cell, list | dict))

    @property
    def _notation(self) -> Notation:
        return Notation(self.decimal, self.unit)


class TableProcessor(Processor):
    """Several columns as one stream. A decoded cell is a dict from column to raw value, None where missing.

    Numbers (also "1,234", "3,14", "$5" or "3 kg": see `core.numbers.Notation`) and dates are clipped to a little beyond
    the training range and standardised; a date gives its time and the sine and cosine of its season, weekday and hour.
    Truths, words and numbers under the name of an identifier that rows share are categories; those seen fewer than
    `rare` times, or beyond the `categories` commonest, share one bucket with unknown ones. A value that cannot be read
    in a column of numbers or dates, and a list where one value goes, is missing, which is remarked; `unreadable_`
    counts them in training.

    `process` gives `numbers` float32 [N, C] (zero where missing) with `known` bool [N, C], and `categories` int32
    [N, K] (0 missing, 1 rare or unknown); what has no column is left out.

    Options: `types` from column to "number", "date" or "category" where the guess is wrong; `written` from column to
    the decimal sign of its numbers or the format of its dates (see `core.reading.Reading`); `categories` most
    categories a column; `rare` least count of a category; `distinct` whole numbers with at most so many values, each
    seen `rare` times on average, are categories as well (a postcode, a grade); `bins` most bins of a number.
    """

    kind = "table"

    def __init__(
        self,
        *,
        types: Mapping[str, str] | None = None,
        written: Mapping[str, str] | None = None,
        categories: int = 512,
        rare: int = 3,
        distinct: int = 64,
        bins: int = 24,
    ):
        for column, name in (types or {}).items():
            if name not in TYPES:
                raise BadArgument(f"Unknown type {name!r} of column {column!r}.{suggest(name, TYPES)}")
        self.types = types
        self.written = written
        self.categories = categories
        self.rare = rare
        self.distinct = distinct
        self.bins = bins
        self.columns_: list[Column] = []
        self.scaler_: Scaler | None = None
        self.edges_: list[list[float]] = []
        self.unreadable_: dict[str, int] = {}

    def read(self, cell: Any) -> Row:
        """The row's values. Raises `BadCell` when no column has one, or, once fitted, none that its column can read."""
        values = {name: _clean(value) for name, value in dict(cell).items()}
        if all(value is None for value in values.values()):
            raise BadCell("every column of the row is empty")
        if self.columns_ and not any(column.readable(values.get(column.name)) for column in self.columns_):
            raise BadCell("no column of the row holds a value that its column can read")
        for name in dict.fromkeys(column.name for column in self.columns_ if column.loses(values.get(column.name))):
            remark(f"its value of {name!r} cannot be read and counts as missing")
        return values

    def fit(self, cells: Iterable[Row]) -> None:
        """Tell the columns' types; learn units, categories, spreads and bin edges."""
        rows = list(cells)
        names = list(dict.fromkeys(name for row in rows for name in row))
        if not names:
            raise BadArgument("A table processor needs at least one training row with a column.")
        for option, said in (("types", self.types), ("written", self.written)):
            for name in said or {}:
                if name not in names:
                    raise BadArgument(
                        f"`{option}` names {name!r}, which is no column of the table.{suggest(name, names)}"
                    )
        self.columns_, self.unreadable_ = [], {}
        for name in names:
            values = [row.get(name) for row in rows]
            self.columns_ += self._columns(name, values)
        for column in self.columns_:
            given = [value for row in rows if (value := row.get(column.name)) is not None]
            if unreadable := sum(not column.readable(value) for value in given):
                self.unreadable_[column.name] = unreadable
        raw = self._raw(rows)
        self.scaler_ = Scaler.fit(raw)
        scaled, known = self.scaler_.apply(raw)
        self.edges_ = [_edges(scaled[known[:, i], i], self.bins) for i in range(scaled.shape[1])]

    def process(self, cells: Sequence[Row]) -> dict[str, np.ndarray]:
        """`numbers`, `known` and `categories`; see the class."""
        arrays = {}
        if self.edges_:
            arrays["numbers"], arrays["known"] = self.fitted(self.scaler_).apply(self._raw(cells))
        words = [c.ids([row.get(c.name) for row in cells]) for c in self.columns_ if c.type == "category"]
        if words:
            arrays["categories"] = np.stack(words, axis=1)
        return arrays

    def facts(self) -> dict[str, Any]:
        """`numbers`: names of the C numbers; `edges`: of their bins, quantiles of the standardised training values;
        `categories`: number of ids of each of the K columns; `category_names`; `columns`: all columns' names, in order.
        """
        self.fitted(self.scaler_)
        words = [column for column in self.columns_ if column.type == "category"]
        return {
            "numbers": [feature for column in self.columns_ for feature in column.features],
            "edges": self.edges_,
            "categories": [FIRST_WORD + len(column.words) for column in words],
            "category_names": [column.name for column in words],
            "columns": list(dict.fromkeys(column.name for column in self.columns_)),
        }

    def state(self) -> dict[str, Any]:
        return {
            "columns": [column.told() for column in self.columns_],
            "scaler": self.fitted(self.scaler_).state(),
            "edges": self.edges_,
            "unreadable": self.unreadable_,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.columns_ = []
        for told in state["columns"]:
            plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
            self.columns_.append(Column(**plain))
        self.scaler_ = Scaler.from_state(state["scaler"])
        self.edges_ = state["edges"]
        self.unreadable_ = dict(state["unreadable"])

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Numbers mixed with noise of the same spread; a share `level` of the categories taken from other rows."""
        changed = dict(inputs)
        if "numbers" in inputs:
            numbers = inputs["numbers"]
            noise = torch.randn(numbers.shape, generator=generator).to(numbers)
            changed["numbers"] = ((1 - level**2) ** 0.5 * numbers + level * noise) * inputs["known"]
        if "categories" in inputs:
            words = inputs["categories"]
            other = torch.rand(words.shape, generator=generator).argsort(0)
            hit = torch.rand(words.shape, generator=generator) < level
            changed["categories"] = torch.where(hit, words.gather(0, other), words)
        return changed

    def show(self, cell: Row) -> dict[str, Any]:
        return {"kind": "table", "values": dict(cell)}

    def _raw(self, rows: Sequence[Row]) -> np.ndarray:
        blocks = [c.numbers([row.get(c.name) for row in rows]) for c in self.columns_ if c.features]
        return np.concatenate(blocks, axis=1) if blocks else np.zeros((len(rows), 0))

    def _columns(self, name: str, values: list[Any]) -> list[Column]:
        written = (self.written or {}).get(name, "")
        reading = Reading.of(values, written)
        kind = (self.types or {}).get(name) or reading.type
        given = [value for value in values if value is not None]
        if kind == "date":
            formats = reading.formats if reading.type == kind else tuple(date_formats(given)[0])
            whole = Column(name, kind, formats=formats, parts=tuple(range(len(DATE_PARTS))))
            raw = whole.numbers(given)
            raw = raw[np.isfinite(raw[:, 0])]
            varies = [i for i in whole.parts if i == 0 or (len(raw) and np.ptp(raw[:, i]) > 1e-9)]
            return [replace(whole, parts=tuple(varies))]
        if kind == "category":
            return [Column(name, kind, words=self._words(given))]
        notation = reading.notation if reading.type == kind else Notation.of(given, written)
        number = Column(name, kind, unit=notation.unit, decimal=notation.decimal)
        if (self.types or {}).get(name) is not None:
            return [number]
        read = number.numbers(values)
        if names_things(name) and self._shared(read, len(read)):
            return [Column(name, "category", words=self._words(given))]
        if self._shared(read, self.distinct):
            return [number, Column(name, "category", words=self._words(given))]
        return [number]

    def _words(self, given: list[Any]) -> tuple[str, ...]:
        counts = Counter(as_word(value) for value in given)
        common = [word for word in counts if counts[word] >= self.rare]
        return tuple(sorted(common, key=lambda word: (-counts[word], word))[: self.categories])

    def _shared(self, numbers: np.ndarray, most: int) -> bool:
        """Whether these are whole numbers, `most` different ones, each in several rows: they may name categories."""
        known = numbers[np.isfinite(numbers)]
        distinct = len(np.unique(known))
        whole = bool((known == np.floor(known)).all())
        return whole and 2 < distinct <= most and len(known) >= self.rare * distinct


def _clean(value: Any) -> Any:
    """None for what is missing; NumPy's scalars as Python's; strings stripped."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        value = value.strip()
    missing = value is None or value == "" or (isinstance(value, float) and not np.isfinite(value))
    return None if missing else value


def _date_parts(cell: Any, formats: Sequence[str]) -> tuple[float, ...]:
    date = None if cell is None else as_date(cell, formats)
    if date is None:
        return (np.nan,) * len(DATE_PARTS)
    hour = date.hour + date.minute / 60 + date.second / 3600
    days = date.toordinal() + hour / 24
    turns = 2 * np.pi * np.array([(date.timetuple().tm_yday - 1) / 365.25, date.weekday() / 7, hour / 24])
    return (days, *np.stack([np.sin(turns), np.cos(turns)], axis=1).ravel().tolist())


def _edges(values: np.ndarray, bins: int) -> list[float]:
    """At most `bins` + 1 distinct quantiles, sixteen values a bin at least; two edges when the column is constant."""
    count = max(1, min(bins, len(values) // 16))
    shares = np.linspace(0, 1, count + 1)
    edges = np.unique(np.quantile(values, shares, method="inverted_cdf")) if len(values) else np.zeros(1)
    return edges.tolist() if len(edges) > 1 else [float(edges[0]), float(edges[0]) + 1.0]
