"""Cleaning columns of numbers and categories: units, ranges, outliers, spellings of one category."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, takewhile
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, suggest
from polymodal.ops.base import CellOp, Sketch
from polymodal.ops.rows import Row, Rows, SetAside

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+"
_NUMBER = re.compile(rf"^\s*([$€£¥]?)\s*([+-]?(?:{_DIGITS}))\s*([^\d\s].*?)?\s*$")
_PART = re.compile(rf"\s*({_DIGITS})\s*([^\d\s,.+-][^\d,+-]*?)[.,]?\s*(?=\d|$)")
_SPACED = re.compile(r"(?<=\d)[\u00a0\u202f\u2009 '’](?=\d{3}(?!\d))")  # 12 500 and 12'500
_COMMA = re.compile(r"^\s*[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+),(?:\d{1,2}|\d{4,})(?!\d)")
_PREFIXES = {"p": 1e-12, "n": 1e-9, "μ": 1e-6, "m": 1e-3, "c": 1e-2, "d": 1e-1, "": 1, "k": 1e3, "M": 1e6, "G": 1e9}
# unit -> (what it measures, factor, offset): value in the base unit = factor · value + offset
UNITS: dict[str, tuple[str, float, float]] = {
    "in": ("length", 0.0254, 0),
    "ft": ("length", 0.3048, 0),
    "yd": ("length", 0.9144, 0),
    "mi": ("length", 1609.344, 0),
    "t": ("mass", 1e3, 0),
    "oz": ("mass", 0.028349523125, 0),
    "lb": ("mass", 0.45359237, 0),
    "st": ("mass", 6.35029318, 0),
    "gal": ("volume", 3.785411784, 0),  # of the United States
    "fl oz": ("volume", 0.0295735295625, 0),
    "mm²": ("area", 1e-6, 0),
    "cm²": ("area", 1e-4, 0),
    "m²": ("area", 1, 0),
    "km²": ("area", 1e6, 0),
    "sqm": ("area", 1, 0),
    "sqft": ("area", 0.09290304, 0),
    "ft²": ("area", 0.09290304, 0),
    "ha": ("area", 1e4, 0),
    "acre": ("area", 4046.8564224, 0),
    "min": ("time", 60, 0),
    "h": ("time", 3600, 0),
    "d": ("time", 86400, 0),
    "k": ("temperature", 1, 0),
    "°c": ("temperature", 1, 273.15),
    "°f": ("temperature", 5 / 9, 459.67 * 5 / 9),
    "km/h": ("speed", 1 / 3.6, 0),
    "m/s": ("speed", 1, 0),
    "mph": ("speed", 0.44704, 0),
    "bar": ("pressure", 1e5, 0),
    "mbar": ("pressure", 100, 0),
    "psi": ("pressure", 6894.757293168, 0),
    "mmHg": ("pressure", 133.322387415, 0),
    "cal": ("energy", 4.184, 0),
    "kcal": ("energy", 4184, 0),
    "Wh": ("energy", 3600, 0),
    "kWh": ("energy", 3.6e6, 0),
}
for _base, _measure, _of, _signs in (  # no megagram: "500 MG" on a medicine is in milligrams
    ("m", "length", 1.0, "nμmcdk"), ("g", "mass", 1e-3, "nμmk"), ("l", "volume", 1.0, "μmcdk"),
    ("s", "time", 1.0, "nμm"), ("Pa", "pressure", 1.0, "mkMG"), ("J", "energy", 1.0, "mkMG"),
    ("W", "power", 1.0, "nμmkMG"), ("V", "voltage", 1.0, "nμmkM"),
    ("A", "current", 1.0, "pnμmk"), ("Ω", "resistance", 1.0, "mkMG"),
    ("Hz", "frequency", 1.0, "mkMG"),
):  # fmt: skip
    UNITS |= {f"{_sign}{_base}": (_measure, _PREFIXES[_sign] * _of, 0.0) for _sign in ("", *_signs)}
_OTHER_NAMES = {
    '"': "in", "″": "in", "”": "in", "inch": "in", "inches": "in", "'": "ft", "′": "ft", "’": "ft", "feet": "ft",
    "foot": "ft", "yard": "yd", "yards": "yd", "miles": "mi", "mile": "mi", "lbs": "lb", "pound": "lb", "pounds": "lb",
    "ounce": "oz", "ounces": "oz", "stone": "st", "kgs": "kg", "kilo": "kg", "kilos": "kg", "kilogram": "kg",
    "kilograms": "kg", "gram": "g", "grams": "g", "gr": "g", "tonne": "t", "tonnes": "t", "liter": "l", "litre": "l",
    "liters": "l", "litres": "l", "gallon": "gal", "gallons": "gal", "cc": "ml", "meter": "m", "metre": "m",
    "meters": "m", "metres": "m", "kilometers": "km", "kilometres": "km", "centimeters": "cm", "centimetres": "cm",
    "millimeters": "mm", "millimetres": "mm", "sq ft": "sqft", "sq. ft": "sqft", "square feet": "sqft", "sq m": "sqm",
    "square meters": "sqm", "square metres": "sqm", "m2": "m²", "km2": "km²", "cm2": "cm²", "mm2": "mm²", "ft2": "ft²",
    "acres": "acre", "hectares": "ha", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "mins": "min",
    "minute": "min", "minutes": "min", "hour": "h", "hours": "h", "hr": "h", "hrs": "h", "day": "d", "days": "d",
    "c": "°c", "f": "°f", "celsius": "°c", "fahrenheit": "°f", "kelvin": "k", "kph": "km/h", "kmh": "km/h",
    "ohm": "Ω", "ohms": "Ω", "volt": "V", "volts": "V", "watt": "W", "watts": "W", "hertz": "Hz",
}  # fmt: skip
_SMALL: dict[str, str | None] = {}  # small letters -> the unit, None where capitals make a difference (mW, MW)
for _name in UNITS:
    _SMALL[_name.lower()] = None if _name.lower() in _SMALL else _name


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
        if _unit(unit) not in UNITS:
            raise BadArgument(f"Unknown unit {unit!r}.{suggest(unit, UNITS)}")
        if decimal not in DECIMALS:
            raise BadArgument(f"decimal must be '.' or ','; got {decimal!r}.")
        self._unit = _unit(unit)

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
        found = _NUMBER.match(text)
        if not found or found[1]:
            raise SetAside(f"is {str(value)[:40]!r}, where a number with a unit like {self.unit} was expected")
        if found[3] is None:
            return float(found[2].replace(",", ""))
        if (parts := _parts(text)) is not None:
            return self._in_unit(*parts)
        return self._in_unit(float(found[2].replace(",", "")), found[3])

    def _in_unit(self, number: float, given: str) -> float:
        here, there = UNITS.get(_unit(given)), UNITS[self._unit]
        if here is None or here[0] != there[0]:
            raise SetAside(f"is in {given!r}, which is no unit of {there[0]}")
        return (number * here[1] + here[2] - there[2]) / there[1]


def _parts(text: str) -> tuple[float, str] | None:
    """A number in parts, as 5 ft 3 in or 1 h 30 min, in the unit of the first; None for what is no such thing."""
    parts = list(_PART.finditer(text))
    if len(parts) < 2 or "".join(part[0] for part in parts) != text:
        return None
    units = [UNITS.get(_unit(part[2])) for part in parts]
    first = units[0]
    factors = [unit[1] for unit in units if unit is not None and first is not None and unit[0] == first[0]]
    if first is None or len(factors) < len(units) or first[2] or any(a <= b for a, b in pairwise(factors)):
        return None
    total = sum(float(part[1].replace(",", "")) * factor for part, factor in zip(parts, factors))
    return total / first[1], parts[0][2]


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

    def partial_fit(self, rows: Rows) -> Sketch:
        return {
            f"values{i}": np.array([n for row in rows if (n := as_number(row.cells.get(c))) is not None], np.float64)
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
        number = as_number(value)
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
        if not 0 <= rare <= 1:
            raise BadArgument(f"rare is a share between 0 and 1; got {rare}.")
        self._maps: list[dict[str, str]] | None = None

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        found = super().bind(kinds)
        if self.columns is None:  # free text is not a category unless the user says so
            self.chosen = [c for c in self.chosen if kinds[c] == "category"]
        return found

    def partial_fit(self, rows: Rows) -> Sketch:
        found: Sketch = {}
        for i, column in enumerate(self.chosen):
            counts = Counter(str(row.cells[column]) for row in rows if row.cells.get(column) is not None)
            found |= {
                f"value{i}": np.array(list(counts), np.str_),
                f"count{i}": np.array(list(counts.values()), np.int64),
            }
        return found

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
    """The name under which a unit stands in `UNITS`, if it does."""
    plain = " ".join(name.replace("µ", "μ").replace("\u2126", "Ω").split()).rstrip(".")
    if plain in UNITS:
        return plain
    small = plain.lower()
    return _OTHER_NAMES.get(small) or _SMALL.get(small) or _with_base(plain) or plain


def _with_base(name: str) -> str | None:
    """ "kOhm" as kΩ."""
    found = next((name[: -len(end)] for end in ("ohms", "ohm") if name.lower().endswith(end)), None)
    return f"{found}Ω" if found is not None and f"{found}Ω" in UNITS else None


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
    return (min(len(a), len(b)) >= 5 or (swapped and len(a) > 2)) and _within(a, b, 1)


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
