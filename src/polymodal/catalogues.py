"""Every family's catalogue, listed: what `polymodal list` and `polymodal show` print."""

from __future__ import annotations

import importlib
import inspect
import json

from polymodal.core.errors import UnknownName, suggest
from polymodal.core.registry import Catalogue, options

FAMILIES = {
    "processor": "polymodal.process:PROCESSORS",
    "encoder": "polymodal.encoders:ENCODERS",
    "fusion": "polymodal.fusion:FUSIONS",
    "decision": "polymodal.fusion:DECISIONS",
    "trees": "polymodal.fusion:TREES",
    "head": "polymodal.heads:HEADS",
}


def catalogue(family: str) -> Catalogue:
    """A family's catalogue. Raises `UnknownName`."""
    name = family if family in FAMILIES else family.removesuffix("s")
    if name not in FAMILIES:
        raise UnknownName(f"No family is called {family!r}.{suggest(name, FAMILIES)}")
    module, _, attribute = FAMILIES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def show_all(family: str | None, form: str) -> str:
    """The catalogue of one family or of all, as `text`, `json` or `markdown`."""
    names = [family if family in FAMILIES else family.removesuffix("s")] if family else list(FAMILIES)
    tables = {n: {part: catalogue(n).entry(part) for part in catalogue(n)} for n in names}
    if form == "json":
        return json.dumps(
            {n: {p: e.__dict__ for p, e in t.items()} for n, t in tables.items()}, ensure_ascii=False, indent=1
        )
    lines: list[str] = []
    for name, parts in tables.items():
        if form == "markdown":
            lines += [f"## {name}", "", "| name | what it does | source |", "|---|---|---|"]
            lines += [f"| `{p}` | {e.summary}{_extra(e.extra)} | {e.source} |" for p, e in parts.items()]
        else:
            width = max((len(p) for p in parts), default=0)
            lines += [name, *(f"  {p:<{width}}  {e.summary}{_extra(e.extra)}  [{e.source}]" for p, e in parts.items())]
        lines.append("")
    return "\n".join(lines).rstrip()


def _extra(extra: str) -> str:
    return f" (extra: {extra})" if extra else ""


def show_part(name: str) -> str:
    """One part in full. Raises `UnknownName`."""
    found = [(family, catalogue(family)) for family in FAMILIES if name in catalogue(family)]
    if not found:
        everything = [part for family in FAMILIES for part in catalogue(family)]
        raise UnknownName(f"No part is called {name!r}.{suggest(name, everything)}")
    blocks = []
    for family, parts in found:
        entry, cls = parts.entry(name), parts.load(name)
        lines = [f"{name} ({family})", f"  {entry.summary}", f"  source: {entry.source}"]
        lines += [f"  {line}".rstrip() for line in (inspect.getdoc(cls) or "").splitlines()]
        settable = options(cls)
        lines += ["  options:", *(f"    {p}" for p in map(str, settable.values()))] if settable else ["  no options"]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
