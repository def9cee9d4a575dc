"""Numbers and names as a reader sees them: aligned, signed, shortened, never `nan`."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

ABSENT = "–"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def is_number(value: Any) -> TypeGuard[float]:
    """Whether `value` is a finite number (None, NaN, infinities, text and booleans are not)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def finite(values: Iterable[Any]) -> list[float]:
    """The finite numbers among `values`."""
    return [float(v) for v in values if is_number(v)]


def decimals(values: Iterable[Any]) -> int:
    """How many decimals show the largest of `values` with four figures: 3 for scores in 0..1, 0 for prices."""
    largest = max((abs(v) for v in finite(values)), default=1.0)
    return 3 if largest < 2 else max(0, 3 - math.floor(math.log10(largest)))


def plain(value: Any, places: int = 3) -> str:
    """A number with `places` decimals, thousands separated and a real minus sign; a dash when there is none."""
    if not is_number(value):
        return ABSENT
    text = f"{value:,.{places}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def signed(value: Any, places: int = 3) -> str:
    """As `plain`, with a plus sign for what is above zero."""
    text = plain(value, places)
    return f"+{text}" if is_number(value) and value > 0 and not text.startswith("−") else text


def interval(low: Any, high: Any, places: int = 3, *, sign: bool = False) -> str:
    """`0.812 to 0.847`, or nothing when an end is unknown."""
    if not (is_number(low) and is_number(high)):
        return ""
    write = signed if sign else plain
    return f"{write(low, places)} to {write(high, places)}"


def share(value: Any) -> str:
    """A share in 0..1 as a percentage; never rounded up to certainty."""
    if not is_number(value):
        return ABSENT
    if 0.995 <= value < 1:
        return f"{math.floor(value * 1000) / 10:.1f} %"
    return f"{value * 100:.0f} %"


def count(value: Any) -> str:
    """A whole number with thousands separated; large ones as 1.2 M."""
    if not is_number(value):
        return ABSENT
    if abs(value) >= 1e6:
        return f"{value / 1e6:,.1f} M"
    return f"{value:,.0f}"


def duration(seconds: Any) -> str:
    """Seconds in the unit that reads best."""
    if not is_number(seconds):
        return ABSENT
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def chance_of(p: Any) -> str:
    """A p-value in words."""
    if not is_number(p):
        return ""
    return "p\u00a0<\u00a00.001" if p < 0.001 else f"p\u00a0=\u00a0{p:.{3 if p < 0.1 else 2}f}"


def clean(text: Any) -> str:
    """`text` on one line, without control characters."""
    return " ".join(_CONTROL.sub(" ", str(text)).split())


def joined(value: Any) -> str:
    """A label, a number or a list of labels in words; an empty list is `none`."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(joined, value)) or "none"
    if isinstance(value, float):
        return plain(value, decimals([value]))
    return ABSENT if value is None else clean(value)


def text_width(text: str, size: float) -> float:
    """Pixels that `text` takes at `size`, estimated for a wide sans serif font: the reader's font is not known."""
    units = 0.0
    for char in text:
        if unicodedata.combining(char):
            continue
        if unicodedata.east_asian_width(char) in "WF":
            units += 1.0
        elif char in "ijl.,:;'|! ()[]ftr":
            units += 0.37
        elif char in "mwMW@%—":
            units += 0.94
        else:
            units += 0.68 if char.isupper() else 0.6
    return units * size


def shorten(text: Any, width: float, size: float) -> str:
    """`text` on one line, with its middle left out when it would take more than `width` pixels.

    The middle, because long names most often differ at their ends.
    """
    line = clean(text)
    if text_width(line, size) <= width:
        return line
    keep = len(line)
    while keep > 2 and text_width(_around(line, keep), size) > width:
        keep -= 1
    return _around(line, keep)


def shorten_all(texts: Sequence[Any], width: float, size: float) -> list[str]:
    """Each text as `shorten` makes it; where two would then look the same, each around the place where they differ."""
    lines = [clean(t) for t in texts]
    short = [shorten(line, width, size) for line in lines]
    if len(set(short)) == len(set(lines)):
        return short
    start, end = _common(lines), _common([line[::-1] for line in lines])
    return [_window(line, start, max(len(line) - end, start), width, size) for line in lines]


def _common(lines: Sequence[str]) -> int:
    """How many characters all lines begin with."""
    return next((i for i, chars in enumerate(zip(*lines, strict=False)) if len(set(chars)) > 1), min(map(len, lines)))


def _window(line: str, start: int, end: int, width: float, size: float) -> str:
    """`line[start:end]` with as much of what is before and after it as fits."""

    def cut(room: int) -> str:
        first, last = max(start - room, 0), min(end + room, len(line))
        return f"{'…' * (first > 0)}{line[first:last].strip()}{'…' * (last < len(line))}"

    room = 0
    while room < len(line) and text_width(cut(room + 1), size) <= width:
        room += 1
    return shorten(cut(room), width, size)


def compact(value: float, places: int) -> str:
    """A tick's number: as `plain`, but 250 k and 1.5 M from ten thousand on."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= max(unit, 1e4):
            return f"{value / unit:,.4g} {name}".replace("-", "−")
    return plain(value, places)


def _around(text: str, keep: int) -> str:
    head = (keep + 1) // 2
    return f"{text[:head].rstrip()}…{text[len(text) - (keep - head) :].lstrip()}"
