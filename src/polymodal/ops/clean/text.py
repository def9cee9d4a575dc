"""Cleaning text, a cell at a time: letters, markup, spaces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

from polymodal.core.errors import BadArgument, require, suggest
from polymodal.ops.base import CellOp
from polymodal.ops.rows import Row

FORMS = ("NFC", "NFKC", "NFD", "NFKD")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*")
# What is no tag keeps its signs: "a<b and c>d", "<jane@x.org>", "<unk>". Elements of HTML, what has values, closes or
# is closed (by `_tags`) are tags.
_NAMES = """a abbr acronym address applet area article aside audio b base bdi bdo big blockquote body br button canvas
    caption center cite code col colgroup data dd del details dfn dialog dir div dl dt em embed fieldset figcaption
    figure font footer form frame frameset h1 h2 h3 h4 h5 h6 head header hr html i iframe img input ins kbd label legend
    li link main map mark menu meta meter nav noscript object ol optgroup option output p param picture pre progress q
    rp rt ruby s samp script section select small source span strike strong style sub summary sup svg table tbody td
    template textarea tfoot th thead time title tr track tt u ul var video wbr""".split()  # noqa: SIM905
_VALUES = r"(?:\s+[\w:.-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'>]+)|\s+[\w:.-]+(?=[\s/>]))*"
_ELEMENT = re.compile(rf"<(/?)([a-zA-Z][\w:.-]*)({_VALUES})\s*(/?)>")
_OTHER_TAG = re.compile(r"<!--.*?(?:-->|$)|<![a-zA-Z\[][^>]*>|<\?[^>]*>", re.DOTALL)
_ENTITY = re.compile(r"&(?:#\d+|#x[0-9a-fA-F]+|[a-zA-Z]\w*);")
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
_BARE = {"input", "option", "script", "video", "audio", "button", "select", "textarea", "ol", "details"}  # `disabled`
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

    `page` drops what frames a page rather than says something (menus, forms, footers). Only elements of HTML and tags
    with values, or that close or are closed, are tags: "a<b and c>d", "<unk>" and "<jane@example.com>" stay.
    """

    kinds = ("text",)

    def __init__(self, *, columns: Sequence[str] | str | None = None, page: bool = True):
        super().__init__(columns=columns)
        self.page = page

    def mend(self, value: str, row: Row, column: str) -> str:
        tags = _tags(value)
        if not tags and not _ENTITY.search(value):
            return value
        reader = _Visible(_HIDDEN | _PAGE if self.page else _HIDDEN)
        last = 0
        for start, end in tags:
            reader.feed(value[last:start].replace("<", "&lt;") + value[start:end])
            last = end
        reader.feed(value[last:].replace("<", "&lt;"))
        reader.close()
        return _LINES.sub("\n", _SPACES.sub(" ", "".join(reader.found))).strip()


def _tags(text: str) -> list[tuple[int, int]]:
    """Where tags and comments stand."""
    if "<" not in text:
        return []
    spans = [match.span() for match in _OTHER_TAG.finditer(text)]
    elements = list(_ELEMENT.finditer(text))
    closed = {match[2].lower() for match in elements if match[1]}
    for match in elements:
        name, values = match[2].lower(), match[3]
        plain = name in _NAMES and not (values and "=" not in values and name not in _BARE)
        if match[1] or match[4] or plain or name in closed or "=" in values:
            spans.append(match.span())
    spans.sort()
    return [span for i, span in enumerate(spans) if not i or span[0] >= spans[i - 1][1]]


class _Visible(HTMLParser):
    def __init__(self, hidden: set[str]):
        super().__init__(convert_charrefs=True)
        self.hidden = hidden
        self.inside: list[str] = []  # hidden elements that are open
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[Any]) -> None:
        if tag == "body":  # `</head>` may be left out
            self.inside.clear()
        elif tag in self.hidden and tag not in _VOID:
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
