"""Cleaning columns of numbers and categories: units, ranges, outliers, spellings of one category."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, takewhile
from typing import Any

import numpy as np
from rapidfuzz.distance import OSA

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.values import check_range
from polymodal.ops.base import CellOp, Sketch
from polymodal.ops.clean.units import UNITS, conversion, unit_called
from polymodal.ops.rows import Row, Rows, SetAside

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+"
_NUMBER = re.compile(rf"^\s*([$€£¥]?)\s*([+-]?(?:{_DIGITS}))\s*([^\d\s].*?)?\s*$")
_PART = re.compile(rf"\s*({_DIGITS})\s*([^\d\s,.+-][^\d,+-]*?)[.,]?\s*(?=\d|$)")
_SPACED = re.compile(r"(?<=\d)[\u00a0\u202f\u2009 '’](?=\d{3}(?!\d))")  # 12 500 and 12'500
_COMMA = re.compile(r"^\s*[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+),(?:\d{1,2}|\d{4,})(?!\d)")
DECIMALS = (".", ",")


class Units(CellOp):
    """Numbers written with units become numbers in one unit: "5 ft", "60 in", "5' 3\"" and "1.52 m" with `unit: m`.

    A number without a unit is taken to be in `unit` already. Commas, spaces and apostrophes part thousands; where a
    comma is the decimal sign, as in "1.234,5 kg", say `decimal: ","`. Capitals matter where they tell units apart (mW,
    MW). Cells whose unit measures something else, ranges ("5-7 kg"), and what is no number are set aside.
    """

    kinds = ("number", "category", "text", "id", "other")

    def __init__(self, *, columns: Sequence[str] | str, unit: str, decimal: str = "."):
        super().__init__(columns=columns)
        self.unit = unit
        self.decimal = decimal
        called = unit_called(unit)
        if called is None:
            raise BadArgument(f"Unknown unit {unit!r}.{suggest(unit, UNITS)}")
        if decimal not in DECIMALS:
            raise BadArgument(f"decimal must be '.' or ','; got {decimal!r}.")
        self._unit = called

    def adds(self) -> dict[str, str]:
        return dict.fromkeys(self.chosen, "number")

    def mend(self, value: Any, row: Row, column: str) -> Any:
        if isinstance(value, int | float):
            return value
        text = _SPACED.sub("", str(value).replace("\u2212", "-"))
        if self.decimal == ",":
            text = text.replace(".", "").replace(",", ".")
        elif _COMMA.match(text):
            raise SetAside(
                f"is {str(value)[:40]!r}, whose comma is no thousands' one: give decimal: ',' if it is decimal"
            )
        match = _NUMBER.match(text)
        if not match or match[1]:
            raise SetAside(f"is {str(value)[:40]!r}, where a number with a unit like {self.unit} was expected")
        if match[3] is None:
            return float(match[2].replace(",", ""))
        if (parts := _parts(text)) is not None:
            return self._in_unit(*parts)
        return self._in_unit(float(match[2].replace(",", "")), match[3])

    def _in_unit(self, number: float, given: str) -> float:
        unit = unit_called(given)
        if unit is None or UNITS[unit] != UNITS[self._unit]:
            raise SetAside(f"is in {given!r}, which is no unit of {UNITS[self._unit]}")
        factor, offset = conversion(unit, self._unit)
        return number * factor + offset


def _parts(text: str) -> tuple[float, str] | None:
    """A number in parts, as 5 ft 3 in or 1 h 30 min, in the unit of the first; None for what is no such thing."""
    parts = list(_PART.finditer(text))
    if len(parts) < 2 or "".join(part[0] for part in parts) != text:
        return None
    units = [unit for part in parts if (unit := unit_called(part[2])) is not None]
    if len(units) < len(parts) or len({UNITS[unit] for unit in units}) > 1 or UNITS[units[0]] == "temperature":
        return None
    factors = [conversion(unit, units[0])[0] for unit in units]
    if any(a <= b for a, b in pairwise(factors)):
        return None
    return sum(float(part[1].replace(",", "")) * factor for part, factor in zip(parts, factors)), units[0]


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
        number = row.amount(column)
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
        check_range("(0, inf)", times=times)

    def partial_fit(self, rows: Rows) -> Sketch:
        return {
            f"values{i}": np.array([n for row in rows if (n := row.amount(c)) is not None], np.float64)
            for i, c in enumerate(self.chosen)
        }

    def finalize(self, sketches: Iterable[Sketch]) -> None:
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
        number = row.amount(column)
        if number is None:
            return value
        low, high = self.state["bounds"][self.chosen.index(column)]
        if not low <= number <= high:
            raise SetAside(f"is {number:g}, far outside what is usual here ({low:.4g} to {high:.4g})")
        return value


class Categories(CellOp):
    """One spelling a category: those that differ by case, spaces, accents or hyphens, and rare ones of a slip away from
    a common one, become the commonest spelling.

    `rare`: a spelling is taken for a slip when it is at most this many times as frequent as the one it resembles. Word
    by word one letter may be too many, missing, wrong or have changed places with its neighbour, but not the first
    ("typical", "atypical"), and in words of fewer than five letters only places may have been changed ("class A",
    "class B"). Signs that mean something ("C++", "A-", ">50K", "-1", "1.5") and digits make a difference.
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
        check_range("[0, 1]", rare=rare)
        self._maps: list[dict[str, str]] | None = None

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        kinds_after = super().bind(kinds)
        if self.columns is None:  # free text is not a category unless the user says so
            self.chosen = [c for c in self.chosen if kinds[c] == "category"]
        return kinds_after

    def partial_fit(self, rows: Rows) -> Sketch:
        sketch: Sketch = {}
        for i, column in enumerate(self.chosen):
            counts = Counter(str(row.cells[column]) for row in rows if row.cells.get(column) is not None)
            sketch |= {
                f"value{i}": np.array(list(counts), np.str_),
                f"count{i}": np.array(list(counts.values()), np.int64),
            }
        return sketch

    def finalize(self, sketches: Iterable[Sketch]) -> None:
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
        often = takewhile(lambda other: total[key] <= self.rare * total[other], common)  # the commonest come first
        return next((other for other in often if _is_slip(key, other)), key)


def unit_of(value: Any) -> str | None:
    """The unit that a cell names, "" for a bare number, None for what is no number with a unit that is known."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if not isinstance(value, str):
        return ""
    match = _NUMBER.match(value)
    if not match or match[1]:
        return None
    return unit_called(match[3]) if match[3] else ""


_JOINS = re.compile(r"(?<=[^\W\d_])\s*[-/.,'’&]\s*(?=[^\W\d_])|(?<=[^\W\d_])[.,;:!?](?=\s|$)|[\s_]+")


def _plain(value: str) -> str:
    """What two spellings of a category share: small letters without accents, words with one space between them.

    A hyphen or a dot joins letters; elsewhere, as beside a digit, a sign has a meaning.
    """
    letters = "".join(c for c in unicodedata.normalize("NFKD", value).casefold() if not unicodedata.combining(c))
    return " ".join(_JOINS.sub(" ", letters).split()) or value


def _is_slip(a: str, b: str) -> bool:
    """Whether two plain spellings are the same but for slips, one a word at most; one space may be lost."""
    if a.replace(" ", "") == b.replace(" ", ""):
        return True
    one, other = a.split(" "), b.split(" ")
    return len(one) == len(other) and all(x == y or _is_slip_of_word(x, y) for x, y in zip(one, other))


def _is_slip_of_word(a: str, b: str) -> bool:
    if a[:2] == b[1::-1] and a[2:] == b[2:]:
        return len(a) > 2
    if a[0] != b[0]:  # seldom wrong (Pollock & Zamora 1984), and where prefixes stand
        return False
    swapped = len(a) == len(b) and sorted(a) == sorted(b)
    return (min(len(a), len(b)) >= 5 or (swapped and len(a) > 2)) and OSA.distance(a, b, score_cutoff=1) <= 1
