"""How a column writes its values, told from its cells: the one reader for inference, streams and targets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from polymodal.core.dates import as_date, date_formats
from polymodal.core.numbers import DAY, ISO_SPAN, Notation, read_number

MOST = 0.8  # the share of cells that decides; the rest are no values of the column's type
MANY = 10  # different numbers beside which a word is none of their kind
SAMPLE = 4000  # cells from which the type is told
_SIGN = re.compile(r"[\W_]+")
_ABSENT = frozenset(
    ("unknown", "unk", "missing", "none", "nil", "nodata", "tbd", "tba", "undefined", "blank", "empty", "n.a.", "n.a",
     "n/k", "k.a.", "(null)", "\\n", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "无", "未知",
     "不明", "なし", "없음", "not available", "not applicable", "not known", "no data", "no value",
     "not recorded", "k. a.", "n. a.")
)  # fmt: skip
_POINT = Notation()


@dataclass(frozen=True)
class Reading:
    """`type` is number, date or category (of truths, words and texts). Numbers are read by `notation`, dates by
    `formats`; `unsure` is a date that may be read either way. `absent` are the marks that stand for a missing value, as
    they are written."""

    type: str
    notation: Notation = _POINT
    formats: tuple[str, ...] = ()
    unsure: str = ""
    absent: tuple[str, ...] = ()

    @classmethod
    def of(cls, cells: Iterable[Any], written: str = "") -> Reading:
        """Told from all cells of a column (None = missing); the type is that of four in five.

        Marks of absence ("?", "-", "unknown") are passed over where at least half of the cells are none. `written` is
        what the user says of it: the decimal sign of numbers, or the format of dates.
        """
        given = [cell for cell in cells if cell is not None]
        told = [cell for cell in given if not is_mark(cell)]
        if not told or 2 * len(told) < len(given):
            told = given
        absent = tuple(sorted({cell.strip() for cell in given if is_mark(cell)})) if len(told) < len(given) else ()
        sample = told[:: max(1, len(told) // SAMPLE)]
        if not sample or all(isinstance(cell, bool) for cell in sample):
            return cls("category")
        formats = [written] if len(written) > 1 else []
        if _most(sample, lambda cell: as_date(cell, formats) is not None) and not _durations(sample):
            unsure = ""
            if not formats:
                formats, unsure = date_formats(told)
            return cls("date", formats=tuple(formats), unsure=unsure, absent=absent)
        decimal = written if len(written) == 1 else ""
        notation = Notation.of(sample, decimal)
        if mark := _one_word(sample, notation):
            told = [cell for cell in told if not (isinstance(cell, str) and cell.strip() == mark)]
            sample = told[:: max(1, len(told) // SAMPLE)]
            absent = (*absent, mark)
            notation = Notation.of(sample, decimal)
        numeric = _numeric(sample, notation)
        if numeric and len(sample) < len(told):
            notation = Notation.of(told, decimal)
            numeric = _numeric(told, notation)
        return cls("number", notation, absent=absent) if numeric else cls("category")

    def reads(self, cell: Any) -> bool:
        """Whether a cell is of the column's type; any cell is a category."""
        if self.type == "category":
            return True
        return (as_date(cell, self.formats) if self.type == "date" else self.notation.number(cell)) is not None


def is_mark(cell: Any) -> bool:
    """Whether a cell may stand for a missing value: a sign such as "?" or "--", or a word such as "unknown"."""
    if not isinstance(cell, str) or len(cell) > 16 or cell[:1].isdigit():
        return False
    text = cell.strip()
    return is_sign(text) or text.lower() in _ABSENT


def is_sign(text: str) -> bool:
    """Whether a text is signs alone, as "?" and "--" are. A plus means something."""
    return bool(_SIGN.fullmatch(text)) and "+" not in text


def _one_word(cells: Sequence[Any], notation: Notation) -> str:
    """The word, again and again the same, among cells of which half at least are numbers: it stands for none."""
    numbers = [notation.number(cell) for cell in cells]
    words = [cell for cell, number in zip(cells, numbers) if number is None]
    if len(words) < 2 or 2 * len(words) > len(cells) or not all(isinstance(word, str) for word in words):
        return ""
    several = {word.strip() for word in words if not read_number(word)} - {"+"}
    few = len({*numbers} - {None}) < MANY  # categories, of which the word is one: 1, 2, G
    return several.pop() if len(several) == 1 and not few else ""


def _numeric(cells: Sequence[Any], notation: Notation) -> bool:
    if " " in notation.unit and notation.unit != ISO_SPAN:
        return False  # 12 Main Street
    return _most(cells, lambda cell: notation.number(cell) is not None)


def _durations(cells: Sequence[Any]) -> bool:
    """Whether these are no clock times, since some would be of another day: 36:15."""
    times = [cell for cell in cells if isinstance(cell, str) and ":" in cell]
    return any((read := read_number(cell)) is not None and not 0 <= read[0] < DAY for cell in times)


def _most(cells: Sequence[Any], holds: Callable[[Any], bool]) -> bool:
    """Whether it holds of `MOST`; the rest is not asked once too many have failed."""
    left = len(cells)
    for cell in cells:
        left -= not holds(cell)
        if left < MOST * len(cells):
            return False
    return True
