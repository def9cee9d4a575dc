"""suggest: what a look at the data says a recipe should hold. Each step is tried on rows, never guessed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from polymodal.core.errors import BadArgument, MissingExtra, PolymodalError
from polymodal.core.errors import suggest as nearest
from polymodal.core.shown import many
from polymodal.core.values import check_range
from polymodal.data.media.cell import MEDIA_KINDS, Media
from polymodal.data.tables.table import noted
from polymodal.ops.base import Op
from polymodal.ops.rows import Row, Rows
from polymodal.preparation.candidates import Candidate, candidates
from polymodal.preparation.recipe import Recipe
from polymodal.preparation.run import Source, column_cells
from polymodal.preparation.work import as_text
from polymodal.report.wording import count
from polymodal.runs.progress import Progress

CELLS, PAIRS = 4_000, 1_000  # rows whose texts and numbers are looked at; whose media are compared with one another
LEAST, BYTES = 200, 64_000_000  # rows whose media are opened: 200, and up to 1,000 while their files are small
KNOWS = 0.5  # of the labels: a model that knows fewer is in no place to doubt the others
CHUNK = 64
_SHOWN = 60  # letters of a text in an example


@dataclass(frozen=True)
class Step:
    """A step and what speaks for it: of the rows `seen`, those that it would change; rows or cells it would set aside.

    `active` is False for one that the user should decide on: it is a comment.
    """

    name: str
    options: Mapping[str, Any]
    seen: int
    changed: int
    set_aside: int
    reason: str
    active: bool = True

    @property
    def spec(self) -> Any:
        """As a recipe holds it."""
        return {"name": self.name, **self.options} if self.options else self.name


@dataclass(frozen=True)
class Suggestion:
    """Steps, in order, with their reasons; `notes` is what else the look at the data told."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def recipe(self) -> Recipe:
        """The steps that are active. Raises `BadArgument` where there is none."""
        return Recipe(tuple(step.spec for step in self.steps if step.active))

    def to_yaml(self) -> str:
        """A recipe with every step's reason above it."""
        active = any(step.active for step in self.steps)
        lines = [f"# {note}" for note in self.notes]
        lines += ["", "steps:" if active else "steps: []  # nothing was found that has to be mended"]
        for step in self.steps:
            lines += [f"  # {line}" for line in step.reason.splitlines()]
            shown = yaml.safe_dump(
                {step.name: dict(step.options)} if step.options else step.name,
                default_flow_style=None,
                allow_unicode=True,
                sort_keys=False,
                width=10_000,
            ).removesuffix("...\n")
            first, *rest = shown.rstrip().split("\n")
            lines += [("  - " if step.active else "  # - ") + first]
            lines += [("    " if step.active else "  #   ") + line for line in rest]
        return "\n".join(lines) + "\n"


def suggest(
    data: Any,
    *,
    target: str | None = None,
    schema: Any = None,
    sample: int | None = None,
    seed: int = 0,
    quiet: bool = True,
) -> Suggestion:
    """Steps that the data call for. Every candidate is carried out on rows drawn at random, one after the other, and
    suggested where it finds something; the data stay as they are.

    `data` and `schema` as in `prepare`; `target` names a column of classes whose labels are doubted, too; `sample` is
    how many rows' media are opened: 200 by default, and up to 1,000 while their files are small (64 MB in all); files
    that are absent or empty are found in 4,000 rows (texts and numbers: up to 4,000 rows, duplicates: up to 1,000);
    without `quiet` the steps tried are told as they go.
    """
    check_range("[1, inf)", "rows", sample=sample)
    source = Source.read(data, schema)
    if target is not None and target not in source.kinds:
        raise BadArgument(f"There is no column {target!r}.{nearest(target, source.kinds)}")
    look = _Look(source, sample, seed)
    steps, missing = [], []
    with Progress(quiet=quiet) as progress:
        for candidate in candidates(look.rows, source.kinds, target):
            stage = progress.stage(" ".join([candidate.name, *candidate.options.get("columns", ())]), 1)
            try:
                step = look.tried(candidate)
            except MissingExtra as error:
                missing.append(f"Not tried: {candidate.name}. {error}")
                stage.end("a package is missing")
                continue
            stage.end("nothing found" if step is None else "suggested" if step.active else "for you to decide")
            if step is not None:
                steps.append(step)
    return Suggestion(tuple(steps), (*_header(source, look), *missing))


def _header(source: Source, look: _Look) -> list[str]:
    table = source.table
    drawn = {name: len(rows) for name, rows in look.rows.items()}
    notes = [
        "Suggested by `polymodal prepare --suggest`: read it, change it, then `polymodal prepare DATA -r THIS -o OUT`.",
        f"{many(len(table), 'row')}. Looked at: texts and numbers of {count(drawn['cells'])}, media of "
        f"{count(drawn['media'])}, duplicates among {count(drawn['pairs'])}.",
        "Columns: "
        + ", ".join(f"{name} ({kind})" for name, kind in source.kinds.items())
        + ". Is one of another kind? Say "
        "so in a schema: `fields: {name: kind}`, given by --schema.",
    ]
    notes += noted(table)
    for column in table.columns:
        missing = sum(value is None for value in table.column(column))
        if missing:
            cells = many(missing, "cell is", "cells are")
            notes.append(f"{column}: {cells} missing ({_percent(missing, len(table))}).")
    return notes


class _Look:
    """Rows drawn once; a step that is suggested changes them, so that the next sees what it would see."""

    def __init__(self, source: Source, sample: int | None, seed: int):
        table, kinds, ways, parts = source.table, source.kinds, source.notations, source.parts
        self.kinds, self.seed, self.count = kinds, seed, len(table)
        self._broken: dict[int, bool] = {}
        order = np.random.default_rng(seed).permutation(len(table))
        columns = {name: column_cells(table, name, kind) for name, kind in kinds.items()}
        media = any(kind in MEDIA_KINDS for kind in kinds.values())
        every = {
            int(i): Row(
                table.ids[i], int(i), {c: cell(i) for c, cell in columns.items()}, kinds, parts[i], notations=ways
            )
            for i in sorted(order[:CELLS].tolist())
        }
        opened = min(_opened([every[i] for i in order[:PAIRS].tolist()]) if sample is None else sample, CELLS)
        most = {"cells": CELLS, "media": opened, "pairs": PAIRS if media else CELLS}
        drawn = {name: set(order[:n].tolist()) for name, n in most.items()}
        drawn["media"] |= {i for i, row in every.items() if _unopenable(row)}  # a look at the disk costs little
        self.rows = {name: [every[i] for i in sorted(numbers)] for name, numbers in drawn.items()}
        self.now = every  # rows as the steps suggested so far leave them

    def tried(self, candidate: Candidate) -> Step | None:
        """The step, when carrying it out found something in at least `candidate.least` of the rows."""
        recipe = Recipe((({"name": candidate.name, **candidate.options}),), seed=self.seed)
        (op,) = recipe.ops(self.kinds)
        if not op.chosen:
            return None
        given = [self.now[row.number] for row in self.rows[candidate.drawn] if row.number in self.now]
        if candidate.drawn == "media":  # broken files are `readable`'s, found once
            given = [row for row in given if candidate.name == "readable" or not self._is_broken(row)]
        done, effect = carried_out(op, given)
        hit = len(effect.changed) + effect.refused + effect.blanked
        if not hit and candidate.name == "readable" and len(given) < self.count:
            told = f"None of the {count(len(given))} rows opened is broken; the other {count(self.count - len(given))}"
            return Step(candidate.name, candidate.options, len(given), 0, 0, f"{told} were not opened.")
        if not hit or hit < candidate.least * len(given):
            return None
        seen = len(given)
        if candidate.name == "readable" and seen < (looked := len(self.rows["cells"])):  # on the disk, at all of them
            candidate = replace(candidate, why=f"{count(seen)} rows were opened; the files of the others are there.")
            seen = looked
        lost = (effect.refused + effect.blanked) / seen
        step = Step(
            candidate.name,
            {**candidate.options, **({"columns": effect.columns} if self._only(effect, op, candidate) else {})},
            seen,
            len(effect.changed),
            effect.refused + effect.blanked,
            _reason(candidate, op, effect, seen, lost),
            active=not candidate.optional and lost <= candidate.most and float(op.state.get("agree", 1.0)) >= KNOWS,
        )
        if step.active:
            self._accept(given, done)
        return step

    def _only(self, effect: _Found, op: Op, candidate: Candidate) -> bool:
        """Whether the step is to name its columns; files that were not opened may be broken in any column."""
        return effect.columns != op.chosen and candidate.name != "readable"

    def _is_broken(self, row: Row) -> bool:
        """Whether a file of the row cannot be opened; told once, for to tell it opens them all."""
        if row.number not in self._broken:
            self._broken[row.number] = _broken(row)
        return self._broken[row.number]

    def _accept(self, given: Sequence[Row], done: Mapping[int, Row]) -> None:
        for row in given:
            if row.number not in done:
                del self.now[row.number]
            else:
                self.now[row.number] = done[row.number]


@dataclass
class _Found:
    changed: set[int] = field(default_factory=set)
    refused: int = 0
    blanked: int = 0
    touched: Counter[str] = field(default_factory=Counter)
    example: str = ""
    columns: list[str] = field(default_factory=list)


def carried_out(op: Op, rows: Sequence[Row]) -> tuple[dict[int, Row], _Found]:
    """What the op makes of copies of the rows, by number, and what it found."""
    copies = [replace(row, cells=dict(row.cells), changed={}) for row in rows]
    chunks = [copies[i : i + CHUNK] for i in range(0, len(copies), CHUNK)]
    if op.surveys:
        op.finalize([_freed(op.partial_fit(Rows(list(chunk))), chunk) for chunk in chunks])
    effect, done = _Found(), {}
    before = {row.number: row for row in rows}
    for chunk in chunks:
        batch = Rows(list(chunk))
        op.apply(batch)
        for refused in batch.refused:
            column = refused.reason.split(":")[0]
            effect.touched[column] += column in op.chosen
            effect.example = effect.example or f"row {refused.row.id}: {refused.reason}"
        for refused in batch.blanked:
            effect.touched[refused.column] += 1
            effect.example = effect.example or f"row {refused.row.id}: {refused.column}: {refused.reason}"
        effect.refused += len(batch.refused)
        effect.blanked += len(batch.blanked)
        blank = {(refused.row.number, refused.column) for refused in batch.blanked}
        for row in batch.kept:
            done[row.number] = row
            _compare(op, before[row.number], row, blank, effect)
        _freed(None, chunk)
    named = [column for column in op.chosen if effect.touched[column]]
    by_cell = len(named) < len(op.chosen) and sum(effect.touched.values()) >= effect.refused + len(effect.changed)
    effect.columns = named if by_cell and named else op.chosen
    return done, effect


def _compare(op: Op, before: Row, after: Row, blank: set[tuple[int, str]], effect: _Found) -> None:
    for column, value in after.cells.items():
        old = before.cells.get(column)
        if old is value or (not isinstance(value, Media | np.ndarray) and old == value):
            continue
        if (after.number, column) in blank or (column not in before.cells and not value):
            continue
        effect.changed.add(after.number)
        effect.touched[column] += 1
        if not effect.example and isinstance(value, Media):
            effect.example = f"row {after.id}: {column}"
        elif not effect.example:
            effect.example = f"row {after.id}: {column}: {change(old, value)}"


def _freed(result: Any, rows: Iterable[Row]) -> Any:
    for row in rows:
        for cell in row.cells.values():
            if isinstance(cell, Media):
                cell.forget()
    return result


def _files(row: Row) -> list[Path]:
    return [cell.source for cell in row.cells.values() if isinstance(cell, Media) and isinstance(cell.source, Path)]


def _unopenable(row: Row) -> bool:
    """Whether a file of the row is absent or empty; a folder may hold a film's frames."""
    usable = (os.path.isdir(path) or (os.path.isfile(path) and os.path.getsize(path)) for path in _files(row))
    return not all(usable)


def _opened(rows: Sequence[Row]) -> int:
    """How many of these rows to open: `LEAST`, and as many more as hold `BYTES` together."""
    total = 0
    for number, row in enumerate(rows):
        total += sum(os.path.getsize(path) for path in _files(row) if os.path.isfile(path))
        if total > BYTES:
            return max(LEAST, number)
    return max(LEAST, len(rows))


def _broken(row: Row) -> bool:
    try:
        for cell in row.cells.values():
            if isinstance(cell, Media):
                cell.value()
                cell.forget()
    except PolymodalError:
        return True
    return False


def _reason(candidate: Candidate, op: Op, effect: _Found, seen: int, lost: float) -> str:
    told = [
        f"{count(n)} of {count(seen)} rows ({_percent(n, seen)}) {word}"
        for n, word in (
            (len(effect.changed), "would change"),
            (effect.refused, "would be set aside"),
            (effect.blanked, "would be kept without a cell"),
        )
        if n
    ]
    lines = ["; ".join(told) + f", as {effect.example}" * bool(effect.example) + "."]
    lines += [candidate.why] * bool(candidate.why)
    if "agree" in op.state:
        known = f"A quick model that did not see a row tells its label in {float(op.state['agree']):.0%} of the rows"
        lines.append(f"{known}: the less it knows, the more of its doubts are wrong.")
    if lost > candidate.most:
        lines.append(f"Left out: it would throw away more than {candidate.most:.0%} of the rows. Is that meant?")
    elif candidate.optional or op.state.get("agree", 1.0) < KNOWS:
        lines.append("Left out: for you to decide.")
    return "\n".join(one_line(line) for line in lines)


def change(old: Any, new: Any) -> str:
    """`'40 kg' becomes '40'`: of long texts what stands around the first difference."""
    one, two = (as_text(value) if value is not None else "nothing" for value in (old, new))
    start = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    start = 0 if max(len(one), len(two)) <= _SHOWN else max(0, start - _SHOWN // 3)
    return " becomes ".join("nothing" if v is None else _window(t, start) for v, t in ((old, one), (new, two)))


def _window(text: str, start: int) -> str:
    """As Python writes it, so that white space shows and a reason stays on its line."""
    end = start + _SHOWN
    return repr(("…" if start else "") + text[start:end] + ("…" if end < len(text) else ""))


def one_line(text: str) -> str:
    """A reason is a comment in a file: no cell may break out of its line. Spaces stay as they are."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _percent(part: int, whole: int) -> str:
    share = part / max(whole, 1)
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else "under 0.1%"
