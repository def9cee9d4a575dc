"""Cleaning text, a cell at a time: letters, markup, spaces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

from polymodal.core.errors import BadArgument, require, suggest
from polymodal.prepare.base import CellOp
from polymodal.prepare.rows import Row

FORMS = ("NFC", "NFKC", "NFD", "NFKD")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*")
_TAG = re.compile(r"<[a-zA-Z/!][^>]*>|&(?:#\d+|#x[0-9a-fA-F]+|[a-zA-Z]\w*);")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u2060\ufeff]")
_BLOCKS = {
    "p",
    "div",
    "br",
    "li",
    "ul",
    "ol",
    "tr",
    "table",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "section",
    "blockquote",
}
_HIDDEN = {"script", "style", "head", "title", "noscript", "template"}
_PAGE = {"nav", "footer", "header", "aside", "form", "button", "select"}
_VOID = {"br", "img", "hr", "input", "meta", "link", "area", "base", "col", "embed", "source", "track", "wbr"}


class Spaces(CellOp):
    """One space between words, no space at the ends, no empty lines."""

    kinds = ("text", "category")

    def __init__(self, *, columns: Sequence[str] | str | None = None):
        super().__init__(columns=columns)

    def mend(self, value: str, row: Row, column: str) -> str:
        mended = _LINES.sub("\n", _SPACES.sub(" ", value)).strip()
        return value if mended == value else mended


class Unicode(CellOp):
    """Text decoded wrongly is decoded rightly ("cafÃ©" becomes "café"), letters are composed one way, control and
    invisible characters go.

    By ftfy (Speer 2019, Apache-2.0). `form` is the Unicode normal form; `straight` turns curly quotes into straight
    ones. A family emoji keeps its joiners.
    """

    kinds = ("text", "category")

    def __init__(self, *, columns: Sequence[str] | str | None = None, form: str = "NFC", straight: bool = False):
        super().__init__(columns=columns)
        self.form = form
        self.straight = straight
        if form not in FORMS:
            raise BadArgument(f"Unknown form {form!r}.{suggest(form, FORMS)}")
        ftfy = require("ftfy", "text")
        self._fix = ftfy.fix_text
        self._settings = ftfy.TextFixerConfig(
            normalization=None, uncurl_quotes=straight, unescape_html=False, fix_latin_ligatures=False, explain=False
        )

    def mend(self, value: str, row: Row, column: str) -> str:
        fixed = self._fix(value, self._settings)
        mended = _CONTROL.sub("", unicodedata.normalize(self.form, fixed))  # type: ignore[arg-type]
        return value if mended == value else mended


class Markup(CellOp):
    """HTML and XML become the text that a reader would see: tags, scripts and comments go, entities are letters.

    `page` drops what frames a page rather than says something (menus, forms, footers). A text without a tag or an
    entity stays as it is, so "a < b" is safe.
    """

    kinds = ("text",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, page: bool = True):
        super().__init__(columns=columns)
        self.page = page

    def mend(self, value: str, row: Row, column: str) -> str:
        if not _TAG.search(value):
            return value
        reader = _Visible(_HIDDEN | _PAGE if self.page else _HIDDEN)
        reader.feed(value)
        reader.close()
        return _LINES.sub("\n", _SPACES.sub(" ", "".join(reader.found))).strip()


class _Visible(HTMLParser):
    def __init__(self, hidden: set[str]):
        super().__init__(convert_charrefs=True)
        self.hidden = hidden
        self.inside: list[str] = []  # hidden elements that are open
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[Any]) -> None:
        if tag in self.hidden and tag not in _VOID:
            self.inside.append(tag)
        elif tag in _BLOCKS:
            self.found.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.inside:
            del self.inside[self.inside.index(tag) :]
        elif tag in _BLOCKS:
            self.found.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.found.append(data)
