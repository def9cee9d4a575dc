"""The printer: all that a command says goes through it, so that no letter of the data steers the terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TextIO

# Control characters but for tab and line feed (ECMA-48: C0, DEL, C1, which begin escape sequences), lone surrogates,
# what turns the direction of writing (Unicode UAX 9) or breaks a line unseen, and tags that show nothing. Joiners stay:
# emoji, Persian and Indic words need them.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def plain(text: object) -> str:
    r"""A text in which what would steer the terminal is written out: `\x1b`, `\u202e`. JSON stays JSON."""
    return _STEERING.sub(_written, str(text))


def _written(found: re.Match[str]) -> str:
    letter = ord(found[0])
    if letter < 0x20:
        return f"\\x{letter:02x}"
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def legible(text: str) -> str:
    """The same with every half of a surrogate pair (of an emoji cut in two) written as its escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def some(names: Sequence[object], most: int = 5) -> str:
    """The first names, by commas, and how many more there are."""
    more = f", and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def many(count: int, word: str, plural: str = "") -> str:
    """A number with what it counts: `1 epoch`, `2 epochs`, `1,200 rows`."""
    return f"{count:,} {word if count == 1 else plural or word + 's'}"


def tell(text: object, stream: TextIO | None = None) -> None:
    """Print a text, on standard output if nothing else is said."""
    print(plain(text), file=stream or sys.stdout, flush=True)
