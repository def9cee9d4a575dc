"""Cleaning personal data out of text: what names a person or their money is masked by what it was."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from polymodal.core.errors import BadArgument, suggest
from polymodal.prepare.base import CellOp
from polymodal.prepare.rows import Row


def luhn(digits: str) -> bool:
    """Whether the check digit of a card number is right (Luhn 1960)."""
    total = 0
    for i, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + i % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def mod97(account: str) -> bool:
    """Whether an international bank account number passes ISO 7064 mod 97-10."""
    moved = account[4:] + account[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def resident_id(number: str) -> bool:
    """Whether the last sign of an 18-digit Chinese identity number is right (GB 11643-1999)."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return "10X98765432"[sum(int(c) * w for c, w in zip(number, weights)) % 11] == number[17].upper()


def social_security(number: str) -> bool:
    """Whether a US social security number is of a form that is given out."""
    area, group, serial = number[:3], number[3:5], number[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _card(digits: str) -> bool:
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn(digits)


def _phone(digits: str) -> bool:
    return 7 <= len(digits) <= 15 and len(set(digits)) > 2


# What each kind looks like: sorted so that the first that fits wins.
_MAIL = r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-zA-Z]{2,}"
_ACCOUNT = r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"
_RESIDENT = r"(?<!\d)[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])\d{3}[\dXx](?!\d)"
_CARD = r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.]\d)"
_SOCIAL = r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"
_ABROAD = r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)|\d{1,4})(?:[ .-]?\d{2,4}){1,4}"
_AMERICA = r"\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[.-]\d{3}[.-]\d{4}"
_PHONE = rf"(?<![a-zA-Z\d_.])(?:{_ABROAD}|{_AMERICA}|1[3-9]\d{{9}})(?![a-zA-Z\d_])"  # Chinese letters may touch it
_BYTE = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_ADDRESS = rf"(?<![\d.])(?:{_BYTE}\.){{3}}{_BYTE}(?![\d.]\d)"

# kind -> (its look, what of it is dropped before the check, the check)
_KINDS: dict[str, tuple[re.Pattern[str], str, Callable[[str], bool]]] = {
    "mail": (re.compile(_MAIL), "", bool),
    "account": (re.compile(_ACCOUNT), "[^A-Z0-9]", mod97),
    "resident": (re.compile(_RESIDENT), "", resident_id),
    "card": (re.compile(_CARD), r"\D", _card),
    "social": (re.compile(_SOCIAL), r"\D", social_security),
    "phone": (re.compile(_PHONE), r"\D", _phone),
    "address": (re.compile(_ADDRESS), "", bool),
}
KINDS = tuple(_KINDS)


class Personal(CellOp):
    """Masks personal data by what they were, as in `[mail]` and `[card]`.

    mail: a mail address; phone: with a country code, or of the North American or Chinese form; card: payment cards
    whose check digit is right; account: IBAN whose checksum is right; social: US social security numbers; resident:
    Chinese identity numbers whose checksum is right; address: IPv4. A number that fails its checksum stays: an order
    number is no card.
    """

    kinds = ("text", "category")

    def __init__(self, *, columns: Sequence[str] | str | None = None, what: Sequence[str] = KINDS):
        super().__init__(columns=columns)
        self.what = what
        for name in what:
            if name not in _KINDS:
                raise BadArgument(f"Unknown kind of personal data {name!r}.{suggest(name, KINDS)}")

    def mend(self, value: str, row: Row, column: str) -> str:
        mended = value
        for name in KINDS:
            if name in self.what:
                pattern, dropped, right = _KINDS[name]
                mended = pattern.sub(lambda m: _masked(m, name, dropped, right), mended)  # noqa: B023 - used at once
        return value if mended == value else mended


def _masked(match: re.Match[str], name: str, dropped: str, right: Callable[[str], bool]) -> str:
    found = match[0]
    return f"[{name}]" if right(re.sub(dropped, "", found) if dropped else found) else found
