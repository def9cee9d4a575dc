"""A self-contained HTML page from a template of ours: style and script inside, nothing from elsewhere allowed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from polymodal.core.errors import BadData
from polymodal.report.glossary import tip, words
from polymodal.report.wording import count, shorten, signed

WORDS = "<!-- words -->"  # where a page lists what its words mean
_CELL = ("stream", "kind", "image", "small", "audio", "picture", "text", "drawing", "values", "note", "looks")
_MEDIA = {"image": "data:image/", "picture": "data:image/", "audio": "data:audio/"}


def page(template: str, **context: Any) -> str:
    """The page that `template` makes of `context`. Everything in it is escaped unless it is `Markup`."""
    script = _source("report.js")
    html = (
        _templates()
        .get_template(template)
        .render(
            style=_source("report.css"),
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            **context,
        )
        .encode("utf-8", "backslashreplace")
        .decode()
    )
    glossary = _templates().get_template("macros.html.j2").module.glossary  # type: ignore[attr-defined]
    return html.replace(WORDS, glossary(used) if (used := words(html)) else "", 1)


def cards(cells: Iterable[Mapping[str, Any]], row: Any) -> list[dict[str, Any]]:
    """The cells of one row, with every key that the template asks for.

    Raises `BadData` for a picture or sound that is not a data URI.
    """
    filled = [{**dict.fromkeys(_CELL), **cell} for cell in cells]
    for cell in filled:
        cell["looks"] = [{"image": None, "drawing": None, **look, "added": signed(look["added"], 1)}
                         for look in cell["looks"] or []]  # fmt: skip
        own = ((key, start, one.get(key)) for one in (cell, *cell["looks"]) for key, start in _MEDIA.items())
        for key, start, held in own:
            if held is not None and not str(held).startswith(start):
                raise BadData(
                    f"The {key} of stream {cell['stream']!r} in row {row!r} begins with {str(held)[:24]!r}; a "
                    f"page holds its media itself, as {start}… (see `media.cell_card`)."
                )
    return filled


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("polymodal.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(count=count, short=lambda name: shorten(name, 165, 13), tip=tip)
    return templates


def _source(name: str) -> Markup:
    """A template file of ours that is inserted as it is."""
    loader = _templates().loader
    assert loader is not None
    return Markup(loader.get_source(_templates(), name)[0].strip())
