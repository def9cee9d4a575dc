"""Every family's catalogue, listed: what `polymodal list` and `polymodal show` print."""

from __future__ import annotations

import importlib
import inspect
import json
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from polymodal.core.errors import UnknownName, suggest
from polymodal.core.registry import Catalogue, Engine, Entry, options
from polymodal.data.kinds import KINDS

FAMILIES = {
    "processor": "polymodal.process:PROCESSORS",
    "encoder": "polymodal.encoders:ENCODERS",
    "fusion": "polymodal.fusion:FUSIONS",
    "decision": "polymodal.fusion:DECISIONS",
    "answer": "polymodal.models:ANSWERS",
    "learner": "polymodal.learners:LEARNERS",
    "target": "polymodal.targets:TARGETS",
    "head": "polymodal.heads:HEADS",
    "objective": "polymodal.objectives:OBJECTIVES",
    "metric": "polymodal.metrics:METRICS",
    "align": "polymodal.aligners:ALIGNERS",
    "embedding": "polymodal.aligners:EMBEDDINGS",
    "clean": "polymodal.ops:CLEAN",
    "annotate": "polymodal.ops:ANNOTATE",
    "augment": "polymodal.ops:AUGMENT",
    "generator": "polymodal.generators:GENERATORS",
}
WORDS = {
    "processor": "Raw cells of one column to arrays, fitted on the training rows only.",
    "encoder": "Arrays of one stream to tokens. Named in `encoders`, by stream or by kind.",
    "fusion": "Several streams to one, before the answer. Named in `fusion`.",
    "decision": "Each stream's own answer, combined: late fusion. Named in `fusion`.",
    "answer": "More than one fusion or rule: mixtures, and answers that choose streams row by row. Named in `fusion`.",
    "learner": "Shallow models of the streams' pooled vectors, fitted in one go. Named in `fusion`.",
    "objective": "What joint fusions are trained by besides their own loss. Named in `objective`, compared by "
    "`objectives`.",
    "target": "What is asked of a row: how cells are read, judged and answered. Named in `target`, by column.",
    "head": "Tokens to an answer, its loss and human values. Named in `heads`, by target.",
    "metric": "What answers are chosen and judged by. Named in `metric`, for all targets or by target.",
    "align": "Several streams into one space. Named in `polymodal align --method`, or in `align` of a fit.",
    "embedding": "A knowledge graph's entities to vectors. Named in `embedding` of the aligner `knowledge`.",
    "clean": "Steps of a recipe that mend cells or set rows aside. Named in `polymodal prepare --recipe`.",
    "annotate": "Steps of a recipe that add columns: labels, words, boxes, transcripts, with confidence and model.",
    "augment": "Steps of a recipe that make further rows from the training rows; or in `augment` of a fit.",
    "generator": "Pretrained models as they are: `polymodal generate MODEL` finds the one by what a folder holds. "
    "Options are given with `--set`.",
}
ELSEWHERE = {  # what one might look for in a family, and where it is
    "augment": "Drawn anew at every step of training, without copies of rows: latent mixup of aligned pairs (the "
    "option `mixup` of the aligners infonce and siglip; Vouitsis et al. 2024) and modality dropout "
    "(`training.modality_dropout` of a fit; Neverova et al. 2016).",
}
MODELS = {  # where an engine's model comes from, in words
    "": "",
    "inside": "model inside: no download",
    "learnt": "model: learnt from your data",
    "named": "model: hub or folder",
}
WITHIN = {"decoding": "polymodal.nn.decoding:Decoding"}  # options whose value is a mapping, and what it may say
STEPS = ("clean", "annotate", "augment")
BESIDE = {"fusion": ("fusion", "decision", "answer", "learner")}  # families that one option names


def catalogue(family: str) -> Catalogue:
    """A family's catalogue, by its name or the plural of it. Raises `UnknownName`."""
    module, _, attribute = FAMILIES[_family(family)].partition(":")
    return getattr(importlib.import_module(module), attribute)


def show_all(family: str | None, form: str, width: int | None = None) -> str:
    """The catalogue of one family or of all, as `text`, `json` or `markdown`. Raises `UnknownName`.

    `fusion` shows everything that `--fusion` takes. Text is broken into lines of `width` columns, if one is given.
    """
    names = [_family(family)] if family else list(FAMILIES)
    names = list(BESIDE.get(names[0], names)) if family else names
    tables = {name: {part: catalogue(name).entry(part) for part in catalogue(name)} for name in names}
    if form == "json":
        plain = {name: {part: _plain(entry) for part, entry in table.items()} for name, table in tables.items()}
        return json.dumps(plain, ensure_ascii=False, indent=1)
    if form == "markdown":
        return _markdown(tables)
    lines: list[str] = []
    for name, parts in tables.items():
        margin = max((len(part) for part in parts), default=0) + 4
        lines.append(name)
        for part, entry in parts.items():
            lines += _row(f"  {part:<{margin - 2}}", entry, width)
        if name in ELSEWHERE:
            lines += [f"  {line}" for line in textwrap.wrap(ELSEWHERE[name], max(24, width - 2) if width else 10_000)]
        lines.append("")
    return "\n".join(lines).rstrip()


def _row(start: str, entry: Entry, width: int | None) -> list[str]:
    """A part in one line; or within `width` columns, what it does, its engines and its source beneath one another."""
    told = [entry.summary + _extra(entry), *_engines(entry), f"[{entry.source}]"]
    if width is None:
        return [start + "  ".join(told)]
    room = max(24, width - len(start))
    # A folded line goes further in, so that one sees where the next engine begins.
    broken = [line for one in told for line in textwrap.wrap(one, room, subsequent_indent="  ")]
    return [start + broken[0], *(" " * len(start) + line for line in broken[1:])]


def _engines(entry: Entry) -> list[str]:
    return [f"by {_engine(engine)}" for engine in entry.engines]


def _engine(engine: Engine) -> str:
    """An engine in words: `transformers as whisper (Apache-2.0; model: hub or folder; extra: hf)`."""
    named = f" as {engine.name}" if engine.name not in ("", engine.package) else ""
    facts = [engine.licence, MODELS[engine.model], f"extra: {engine.extra}" if engine.extra else ""]
    return f"{engine.package}{named} ({'; '.join(fact for fact in facts if fact)})"


def _plain(entry: Entry) -> dict[str, object]:
    """An entry as plain values; `engines` only where the family says them."""
    return {key: value for key, value in asdict(entry).items() if key != "engines" or value}


def _family(name: str) -> str:
    family = name if name in FAMILIES else name.removesuffix("s")
    if family not in FAMILIES:
        raise UnknownName(f"No family is called {name!r}.{suggest(name, FAMILIES)}")
    return family


def _markdown(tables: Mapping[str, Mapping[str, Entry]]) -> str:
    """The page `docs/catalogue.md`."""
    lines = [
        "# Catalogue",
        "",
        "Every part by family, with its source, as `polymodal list --markdown` writes it (a test keeps it up to date).",
        "`polymodal show NAME` prints a part's formula and options.",
    ]
    for name, parts in tables.items():
        engines = any(entry.engines for entry in parts.values())
        columns = ["name", "what it does", *(["engines"] if engines else []), "source"]
        words = f"{WORDS[name]} {ELSEWHERE.get(name, '')}".rstrip()
        lines += ["", f"## {name}", "", words, "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for part, e in parts.items():
            by = ["<br>".join(_engine(engine) for engine in e.engines)] if engines else []
            lines.append(f"| {' | '.join([f'`{part}`', e.summary.rstrip('.') + _extra(e), *by, e.source])} |")
    return "\n".join(lines)


def _extra(entry: Entry) -> str:
    return f" (extra: {entry.extra})" if entry.extra and not entry.engines else ""


def show_part(name: str) -> str:
    """One part in full: what it does, its source, its docstring and its options. Raises `UnknownName`."""
    families = [(family, catalogue(family)) for family in FAMILIES if name in catalogue(family)]
    if not families:
        everything = [part for family in FAMILIES for part in catalogue(family)]
        raise UnknownName(f"No part is called {name!r}.{suggest(name, everything)}")
    blocks = []
    for family, parts in families:
        entry, cls = parts.entry(name), parts.load(name)
        lines = [f"{name} ({family})", f"  {entry.summary}{_extra(entry)}", *(f"  {line}" for line in _engines(entry))]
        lines.append(f"  source: {entry.source}")
        if family in STEPS and cls.kinds:  # type: ignore[attr-defined]
            lines.append(f"  columns: of kind {', '.join(cls.kinds)}")  # type: ignore[attr-defined]
        if family == "processor" and (kind := KINDS.get(cls.kind)) and kind.suffixes:  # type: ignore[attr-defined]
            lines.append(f"  files: {' '.join(kind.suffixes)}")
        if family == "metric":
            lines += [f"  {line}" for line in _metric(cls)]
        lines += [f"  {line}".rstrip() for line in ["", *(inspect.getdoc(cls) or "").splitlines(), ""]]
        settable = [_option(parameter) for parameter in options(cls).values()]
        lines += ["  options:", *(f"    {option}" for option in settable)] if settable else ["  no options"]
        for option in sorted(set(options(cls)) & set(WITHIN)):
            lines += ["", f"  {option}:", *(f"    {one}".rstrip() for one in _within(option))]
        if family in STEPS and _by_cell(cls):
            lines.append("  a step may say keep_row: true, which sets a cell aside alone and keeps its row without it")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _metric(cls: Any) -> list[str]:
    """What a metric says of itself."""
    better, (low, high) = "greater" if cls.greater_is_better else "less", cls.bounds
    chance = "" if cls.chance is None else f"; a constant answer gets {cls.chance:g}"
    return [f"reads: {cls.needs} of {' or '.join(cls.truths)}", f"{better} is better, {low:g} to {high:g}{chance}"]


def _within(option: str) -> list[str]:
    """What an option whose value is a mapping takes, as `_option` writes it."""
    module, _, name = WITHIN[option].partition(":")
    cls = getattr(importlib.import_module(module), name)
    taken = inspect.signature(cls).parameters.values()
    return [*(inspect.getdoc(cls) or "").splitlines(), "", *map(_option, taken)]


def _by_cell(op: type) -> bool:
    from polymodal.ops.base import CellOp

    return issubclass(op, CellOp)


def _option(parameter: inspect.Parameter) -> str:
    hint = parameter.annotation
    words = hint if isinstance(hint, str) else inspect.formatannotation(hint)
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{parameter.name}: {words}{default}"
