"""Cleaning columns of numbers and categories: units, ranges, outliers, spellings of one category."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, suggest
from polymodal.prepare.base import CellOp, Sketch
from polymodal.prepare.rows import Row, Rows, SetAside

_NUMBER = re.compile(
    r"^\s*([$€£¥]?)\s*([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([^\d\s].*?)?\s*$"
)
# unit -> (what it measures, factor, offset): value in the base unit = factor · value + offset
UNITS: dict[str, tuple[str, float, float]] = {
    "mm": ("length", 1e-3, 0),
    "cm": ("length", 1e-2, 0),
    "m": ("length", 1, 0),
    "km": ("length", 1e3, 0),
    "in": ("length", 0.0254, 0),
    "ft": ("length", 0.3048, 0),
    "yd": ("length", 0.9144, 0),
    "mi": ("length", 1609.344, 0),
    "mg": ("mass", 1e-6, 0),
    "g": ("mass", 1e-3, 0),
    "kg": ("mass", 1, 0),
    "t": ("mass", 1e3, 0),
    "oz": ("mass", 0.028349523125, 0),
    "lb": ("mass", 0.45359237, 0),
    "ml": ("volume", 1e-3, 0),
    "l": ("volume", 1, 0),
    "m²": ("area", 1, 0),
    "sqm": ("area", 1, 0),
    "sqft": ("area", 0.09290304, 0),
    "ft²": ("area", 0.09290304, 0),
    "ha": ("area", 1e4, 0),
    "acre": ("area", 4046.8564224, 0),
    "ms": ("time", 1e-3, 0),
    "s": ("time", 1, 0),
    "min": ("time", 60, 0),
    "h": ("time", 3600, 0),
    "d": ("time", 86400, 0),
    "k": ("temperature", 1, 0),
    "°c": ("temperature", 1, 273.15),
    "°f": ("temperature", 5 / 9, 459.67 * 5 / 9),
    "km/h": ("speed", 1 / 3.6, 0),
    "m/s": ("speed", 1, 0),
    "mph": ("speed", 0.44704, 0),
}
_OTHER_NAMES = {
    '"': "in",
    "inch": "in",
    "inches": "in",
    "feet": "ft",
    "foot": "ft",
    "miles": "mi",
    "mile": "mi",
    "lbs": "lb",
    "pounds": "lb",
    "kgs": "kg",
    "kilo": "kg",
    "liter": "l",
    "litre": "l",
    "sq ft": "sqft",
    "sq. ft.": "sqft",
    "square feet": "sqft",
    "m2": "m²",
    "sec": "s",
    "seconds": "s",
    "mins": "min",
    "minutes": "min",
    "hours": "h",
    "hrs": "h",
    "days": "d",
    "c": "°c",
    "f": "°f",
}


class Units(CellOp):
    """Numbers written with units become numbers in one unit: "5 ft", "60 in" and "1.52 m" with `unit: m`.

    A number without a unit is taken to be in `unit` already. Cells whose unit measures something else, or that are no
    number, are set aside.
    """

    kinds = ("number", "category", "text", "id", "other")

    def __init__(self, *, columns: Sequence[str] | str, unit: str):
        super().__init__(columns=columns)
        self.unit = unit
        if _unit(unit) not in UNITS:
            raise BadArgument(f"Unknown unit {unit!r}.{suggest(unit, UNITS)}")
        self._unit = _unit(unit)

    def adds(self) -> dict[str, str]:
        return dict.fromkeys(self.chosen, "number")

    def mend(self, value: Any, row: Row, column: str) -> Any:
        if isinstance(value, int | float):
            return value
        found = _NUMBER.match(str(value))
        if not found or found[1]:
            raise SetAside(f"is {str(value)[:40]!r}, where a number with a unit like {self.unit} was expected")
        number, given = float(found[2].replace(",", "")), found[3]
        if given is None:
            return number
        here, there = UNITS.get(_unit(given)), UNITS[self._unit]
        if here is None or here[0] != there[0]:
            raise SetAside(f"is in {given!r}, which is no unit of {there[0]}")
        return (number * here[1] + here[2] - there[2]) / there[1]


class Range(CellOp):
    """Sets aside numbers below `least` or above `most`, and cells that are no number: what cannot be."""

    kinds = ("number",)

    def __init__(
        self, *, columns: Sequence[str] | str | None = None, least: float | None = None, most: float | None = None
    ):
        super().__init__(columns=columns)
        self.least = least
        self.most = most
        if least is None and most is None:
            raise BadArgument("range needs least, most or both.")
        if least is not None and most is not None and least > most:
            raise BadArgument(f"least must not be above most; got {least} and {most}.")

    def mend(self, value: Any, row: Row, column: str) -> Any:
        number = as_number(value)
        if number is None:
            raise SetAside(f"is {str(value)[:40]!r}, where a number was expected")
        if self.least is not None and number < self.least:
            raise SetAside(f"is {number:g}, below {self.least:g}")
        if self.most is not None and number > self.most:
            raise SetAside(f"is {number:g}, above {self.most:g}")
        return value


class Outliers(CellOp):
    """Sets aside numbers further from the median than `times` median absolute deviations (Iglewicz & Hoaglin 1993: 3.5,
    here 6, for real data have long tails), each side by its own deviation, so that skewed columns keep their tail.

    Columns in which half of the values are the same are left alone: nothing says what is usual there.
    """

    kinds = ("number",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, times: float = 6.0):
        super().__init__(columns=columns)
        self.times = times
        if times <= 0:
            raise BadArgument(f"times must be above 0; got {times}.")

    def sketch(self, rows: Rows) -> Sketch:
        return {
            f"values{i}": np.array([n for row in rows if (n := as_number(row.cells.get(c))) is not None], np.float64)
            for i, c in enumerate(self.chosen)
        }

    def settle(self, sketches: Iterable[Sketch]) -> None:
        parts = list(sketches)
        bounds = np.array(
            [self._bounds(np.concatenate([p[f"values{i}"] for p in parts])) for i in range(len(self.chosen))]
        )
        self.state = {"bounds": bounds.reshape(-1, 2)}

    def _bounds(self, values: np.ndarray) -> tuple[float, float]:
        if not len(values):
            return -np.inf, np.inf
        middle = float(np.median(values))
        sides = (values[values <= middle], values[values >= middle])
        low, high = (1.4826 * float(np.median(np.abs(side - middle))) for side in sides)
        return (middle - self.times * low if low else -np.inf, middle + self.times * high if high else np.inf)

    def mend(self, value: Any, row: Row, column: str) -> Any:
        number = as_number(value)
        if number is None:
            return value
        low, high = self.state["bounds"][self.chosen.index(column)]
        if not low <= number <= high:
            raise SetAside(f"is {number:g}, far outside what is usual here ({low:.4g} to {high:.4g})")
        return value


class Categories(CellOp):
    """One spelling a category: those that differ by case, spaces, accents or punctuation, and rare ones a letter or two
    away from a common one, become the commonest spelling.

    `rare`: a spelling is taken for a slip when it is at most this many times as frequent as the one it resembles.
    Categories of fewer than five letters are joined only where they are equal but for case, spaces and accents.
    `same` maps spellings to categories by hand, as in `{NYC: New York}`.
    """

    kinds = ("category", "text")

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        rare: float = 0.05,
        same: Mapping[str, str] | None = None,
    ):
        super().__init__(columns=columns)
        self.rare = rare
        self.same = same
        if not 0 <= rare <= 1:
            raise BadArgument(f"rare is a share between 0 and 1; got {rare}.")
        self._maps: list[dict[str, str]] | None = None

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        found = super().bind(kinds)
        if self.columns is None:  # free text is not a category unless the user says so
            self.chosen = [c for c in self.chosen if kinds[c] == "category"]
        return found

    def sketch(self, rows: Rows) -> Sketch:
        found: Sketch = {}
        for i, column in enumerate(self.chosen):
            counts = Counter(str(row.cells[column]) for row in rows if row.cells.get(column) is not None)
            found |= {
                f"value{i}": np.array(list(counts), np.str_),
                f"count{i}": np.array(list(counts.values()), np.int64),
            }
        return found

    def settle(self, sketches: Iterable[Sketch]) -> None:
        parts = list(sketches)
        for i in range(len(self.chosen)):
            counts: Counter[str] = Counter()
            for p in parts:
                for value, count in zip(p[f"value{i}"].tolist(), p[f"count{i}"].tolist()):
                    counts[value] += count
            mapped = self._mapped(counts)
            self.state |= {
                f"from{i}": np.array(list(mapped), np.str_),
                f"to{i}": np.array(list(mapped.values()), np.str_),
            }
        self._maps = None

    def mend(self, value: Any, row: Row, column: str) -> Any:
        if self._maps is None:
            self._maps = [
                dict(zip(self.state[f"from{i}"].tolist(), self.state[f"to{i}"].tolist()))
                for i in range(len(self.chosen))
            ]
        given = (self.same or {}).get(str(value), str(value))
        mended = self._maps[self.chosen.index(column)].get(given, given)
        return value if mended == str(value) else mended

    def _mapped(self, counts: Counter[str]) -> dict[str, str]:
        """Spelling to spelling, of those that change."""
        plain: dict[str, Counter[str]] = {}
        for value, count in counts.items():
            plain.setdefault(_plain(value), Counter())[value] += count
        best = {key: max(group, key=lambda v: (group[v], v)) for key, group in plain.items()}
        total = {key: sum(group.values()) for key, group in plain.items()}
        common = sorted(total, key=lambda key: (-total[key], key))
        target = {key: self._resembled(key, common, total) for key in common}
        return {
            value: best[target[key]] for key, group in plain.items() for value in group if value != best[target[key]]
        }

    def _resembled(self, key: str, common: Sequence[str], total: Mapping[str, int]) -> str:
        if len(key) < 5 or any(c.isdigit() for c in key):  # model numbers differ by a digit and mean it
            return key
        near = (
            other
            for other in common
            if total[key] <= self.rare * total[other] and _within(key, other, 1 + (len(key) > 8))
        )
        return next(near, key)


def as_number(value: Any) -> float | None:
    """The finite number that a cell is, or None."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        found = _NUMBER.match(value)
        if not found or (found[3] and found[3] != "%"):
            return None
        value = float(found[2].replace(",", ""))
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def unit_of(value: Any) -> str | None:
    """The unit that a cell names, "" for a bare number, None for what is no number with a unit that is known."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if not isinstance(value, str):
        return ""
    found = _NUMBER.match(value)
    if not found or found[1]:
        return None
    unit = _unit(found[3] or "")
    return unit if not unit or unit in UNITS else None


def _unit(name: str) -> str:
    plain = " ".join(name.casefold().split())
    return _OTHER_NAMES.get(plain, plain)


def _plain(value: str) -> str:
    letters = unicodedata.normalize("NFKD", value).casefold()
    return "".join(c for c in letters if c.isalnum()) or value


def _within(a: str, b: str, most: int) -> bool:
    """Whether two words are at most so many insertions, deletions, replacements or swaps apart."""
    if abs(len(a) - len(b)) > most:
        return False
    before, row = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return False
    return row[-1] <= most
