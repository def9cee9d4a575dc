"""Cleaning personal data out of text: what names a person or their money is masked by what it was."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from polymodal.core.errors import BadArgument, require, suggest
from polymodal.ops.base import CellOp
from polymodal.ops.clean import national
from polymodal.ops.rows import Row

Spans = Iterator[tuple[int, int]]

_LETTER = r"[^\W\u2e80-\u9fff\uac00-\ud7af]"  # Chinese, Japanese and Korean letters may touch an address
_MAIL = re.compile(
    rf"(?<!{_LETTER})(?<![.+%-])(?:{_LETTER}|[.+%&'-])*{_LETTER}@(?:{_LETTER}|-)+(?:\.(?:{_LETTER}|-)+)+"
)
_ACCOUNT = re.compile(r"(?<![^\W_])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}", re.IGNORECASE)
_CARD = re.compile(
    r"(?<!\d)(?<!\d[.-])(?<!\+)"
    r"(?:\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}([ -])\d{6}\2\d{4,5}|\d{14,19})(?!\d|[.-]\d)"
)
# By whom a card is given out: Visa, Mastercard, Maestro, American Express, Diners, JCB, Discover, UnionPay, RuPay, Mir
_ISSUERS = re.compile(r"4|5[0-8]|6|2(?:20[0-4]|22[1-9]|2[3-9]|[3-6]|7[01]|720)|3(?:0[0-5]|[4-689]|7)|8[12]")
_SOCIAL = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")
_NORTH_AMERICA = re.compile(r"(?<![\w.+])(?<!\d[.-])(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w-]|\.\d)")
_CHINA = re.compile(
    r"(?<![a-zA-Z\d_.])1[3-9]\d(?:\d{8}|[ -]\d{4}[ -]\d{4})(?![a-zA-Z\d_])"
)  # Chinese letters may touch it
_BYTE = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_ADDRESS = re.compile(rf"(?<![\w.])(?<!version )(?:{_BYTE}\.){{3}}{_BYTE}(?![\w]|\.\d)", re.IGNORECASE)


def _mails(text: str, regions: Sequence[str]) -> Spans:
    return (match.span() for match in _MAIL.finditer(text))


def _accounts(text: str, regions: Sequence[str]) -> Spans:
    """The longest beginning of each candidate that is an account: words may follow it."""
    from stdnum import iban

    for match in _ACCOUNT.finditer(text):
        start = match.start()
        for end in range(match.end(), start + 14, -1):
            if not text[end : end + 1].isalnum() and iban.is_valid(text[start:end], check_country=False):
                yield start, end
                break


def _cards(text: str, regions: Sequence[str]) -> Spans:
    from stdnum import luhn

    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if _ISSUERS.match(digits) and luhn.is_valid(digits):
            yield match.span()


def _social(text: str, regions: Sequence[str]) -> Spans:
    from stdnum.us import ssn

    return (match.span() for match in _SOCIAL.finditer(text) if ssn.is_valid(match[0]))


def _national(text: str, regions: Sequence[str]) -> Spans:
    return national.found(text)


def _phones(text: str, regions: Sequence[str]) -> Spans:
    """With a country code anywhere; without one, separated North American ones, Chinese mobiles, those of `regions`."""
    import phonenumbers

    for look, region in ((_NORTH_AMERICA, "US"), (_CHINA, "CN")):
        for match in look.finditer(text):
            if phonenumbers.is_valid_number(phonenumbers.parse(match[0], region)):
                yield match.span()
    for place in (None, *regions):
        for number in phonenumbers.PhoneNumberMatcher(text, place):
            yield number.start, number.end


def _addresses(text: str, regions: Sequence[str]) -> Spans:
    return (match.span() for match in _ADDRESS.finditer(text))


# in the order in which they are looked for: what an earlier one took is no later one's
_KINDS: Mapping[str, Callable[[str, Sequence[str]], Spans]] = {
    "mail": _mails,
    "account": _accounts,
    "card": _cards,
    "social": _social,
    "national": _national,
    "phone": _phones,
    "address": _addresses,
}
KINDS = tuple(_KINDS)
_DIGIT = re.compile(r"\d")


class Personal(CellOp):
    """Masks personal data by what they were, as in `[mail]` and `[card]`.

    mail: a mail address; account: IBAN; card: payment cards, by issuer and check digit; social: US social security
    numbers; national: numbers of persons in some 25 countries, each with its own check, those that are mere digits
    only behind a word that announces them ("PESEL", "BSN"), see `national`; phone: valid numbers with a country code,
    separated North American ones, Chinese mobiles, and those written as in `regions` (ISO 3166, as in `[GB, DE]`);
    address: IPv4. A number that fails its check stays: an order number is no card. Checks by python-stdnum (LGPL-2.1)
    and phonenumbers (Apache-2.0).
    """

    kinds = ("text", "category")

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        what: Sequence[str] = KINDS,
        regions: Sequence[str] = (),
    ):
        super().__init__(columns=columns)
        self.what = what
        self.regions = regions
        for name in what:
            if name not in _KINDS:
                raise BadArgument(f"Unknown kind of personal data {name!r}.{suggest(name, KINDS)}")
        require("stdnum", "text")
        known = require("phonenumbers", "text").SUPPORTED_REGIONS
        for region in regions:
            if region not in known:
                raise BadArgument(f"Unknown region {region!r} (ISO 3166, as in GB).{suggest(region, sorted(known))}")

    def mend(self, value: str, row: Row, column: str) -> str:
        if "@" not in value and not _DIGIT.search(value):
            return value
        mended = value
        for name in KINDS:
            if name in self.what:
                mended = _masked(mended, name, _KINDS[name](mended, self.regions))
        return value if mended == value else mended


def _masked(text: str, name: str, spans: Spans) -> str:
    """The text with each span masked; of overlapping ones the one that begins first, the longest of these."""
    pieces, last = [], 0
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= last:
            pieces += [text[last:start], f"[{name}]"]
            last = end
    return "".join(chain(pieces, [text[last:]]))
