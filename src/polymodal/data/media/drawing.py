"""Drawings as pictures: SVG by resvg (MIT or Apache-2.0), the first page of a PDF by PDFium (BSD).

Nothing is loaded from outside the file and nothing in it is run; both libraries work in a process of their own, bounded
in time and memory.
"""

from __future__ import annotations

import importlib.util
import io
import re
import zlib
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from PIL import Image

from polymodal.core.errors import BadCell, MissingExtra
from polymodal.core.limits import Refused, check_size, most
from polymodal.data.bounded import Failed, bounded
from polymodal.data.kinds import KINDS
from polymodal.data.media.files import AGAIN, DAMAGE, said
from polymodal.data.media.remarks import remark

SIDE = 1024  # pixels of the longer side: drawings have none of their own
_ENTITY = 1000  # letters of an entity: Illustrator abbreviates addresses by them
_INLINE = re.compile(r"\s*data:image/(?:png|jpe?g|gif|webp);base64,", re.I)
_LEFT_OUT = ("script", "foreignObject", "iframe", "object", "embed", "audio", "video", "handler")
_LIBRARY = {"svg": ("resvg_py", "an SVG drawing"), "pdf": ("pypdfium2", "a PDF document")}
OUTSIDE = "it refers to files outside itself, which are never loaded: what is in it is drawn"
PAGES = "it has several pages, of which the first is read"


def form_of(head: bytes) -> str:
    """`svg` or `pdf`, as a file begins; nothing for any other."""
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(31).decompress(head, 4096)
        except zlib.error:
            return ""
    form = (KINDS.suffix_of(head) or "").removeprefix(".")
    return form if form in _LIBRARY else ""


def drawn(content: bytes, form: str) -> Image.Image:
    """The picture of a drawing, its longer side `SIDE` pixels. Raises `BadCell`, also without the library for it."""
    library, what = _LIBRARY[form]
    if importlib.util.find_spec(library) is None:
        raise BadCell(f"is {what}: pip install 'polymodal[image]', or export it as PNG") from MissingExtra(library)
    if form == "svg":
        content = _Clean(_unpacked(content)).content()
    try:
        picture, words = bounded(form, SIDE, what="drawing", content=content)
    except Failed as error:
        raise BadCell(f"is {what} that cannot be drawn ({error}): export it as PNG") from error
    if words.startswith("pages"):
        remark(PAGES)
    try:
        image = Image.open(io.BytesIO(picture), formats=("PNG", "PPM"))
        image.load()
    except DAMAGE as error:
        raise BadCell(f"is {what} that cannot be drawn ({said(error)}): export it as PNG") from error
    return image


def _unpacked(content: bytes) -> bytes:
    if content.startswith(b"\x1f\x8b"):
        try:
            content = zlib.decompressobj(31).decompress(content, most("text") + 1)
        except zlib.error as error:
            raise BadCell(f"is an SVG drawing that is cut short or damaged ({said(error)}): {AGAIN}") from error
    _check(len(content))
    return content


def _check(size: int) -> None:
    try:
        check_size(size, "text")
    except Refused as error:
        raise BadCell(f"is an SVG drawing that {error.reason}") from error


class _Clean:
    """An SVG written anew, less what acts or comes from elsewhere: scripts, other documents, references to files.

    Entities stand for themselves where they are short and hold no other, so that nothing grows out of little; nothing
    is fetched for them.
    """

    def __init__(self, content: bytes):
        self._parts: list[str] = []
        self._size = self._depth = self._muted = 0
        parser = expat.ParserCreate()
        parser.EntityDeclHandler = self._entity
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(content, True)
        except expat.ExpatError as error:
            raise BadCell(f"is an SVG drawing that is cut short or damaged ({error}): {AGAIN}") from error

    def content(self) -> bytes:
        return "".join(self._parts).encode("utf-8")

    def _entity(self, name: str, parameter: int, value: str | None, *_: object) -> None:
        if value is not None and ("&" in value or len(value) > _ENTITY):
            raise BadCell(f"is an SVG drawing whose entity {name[:40]!r} grows, as an attack does: export it as PNG")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._muted or name.rpartition(":")[2] in _LEFT_OUT:
            self._muted = self._muted or self._depth
            return
        kept = []
        for key, value in attributes.items():
            local = key.rpartition(":")[2].lower()
            if local.startswith("on") or key == "xml:base":
                continue
            if local in ("href", "src") and not value.lstrip().startswith("#") and not _INLINE.match(value):
                if name.rpartition(":")[2] != "a":
                    remark(OUTSIDE)
                continue
            kept.append(f" {key}={quoteattr(value)}")
        self._write(f"<{name}{''.join(kept)}>")

    def _end(self, name: str) -> None:
        if not self._muted:
            self._write(f"</{name}>")
        if self._muted == self._depth:
            self._muted = 0
        self._depth -= 1

    def _text(self, words: str) -> None:
        if not self._muted:
            self._write(escape(words))

    def _write(self, part: str) -> None:
        self._size += len(part)
        _check(self._size)
        self._parts.append(part)
