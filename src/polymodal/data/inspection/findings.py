"""What an inspection found, as values, as JSON and in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from polymodal.core.html import pre_html
from polymodal.core.shown import many, some
from polymodal.data.inspection.columns import Column
from polymodal.data.inspection.proposals import Proposal
from polymodal.data.kinds import KINDS
from polymodal.data.tables.table import Problem


@dataclass(frozen=True)
class Doubled:
    """Rows that hold the same (`same`) or nearly (`near`) in one stream; an empty stream means the whole row."""

    stream: str
    likeness: str
    ids: list[str]


@dataclass(frozen=True)
class Leak:
    """Rows of different splits that hold the same (`same`, `near`) in a stream, or belong to one group (`group`)."""

    stream: str
    likeness: str
    parts: dict[str, list[str]]


@dataclass(repr=False)
class Inspection:
    """What was found in a table.

    `fields` count each stream's missing and bad cells; `columns` are all of the table's, used or not, each with its
    kind, its use and why; `missing` maps a column to the ids of its empty rows; `broken`
    are cells that cannot be read, `misfits` cells that are not of their column's kind, `problems` rows and cells set
    aside while reading the table; `proposals` are what a line of schema would change; `contradictions` are equal rows
    with different targets; `balance` describes each target.
    """

    name: str
    rows: int
    fields: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    broken: list[Problem] = field(default_factory=list)
    misfits: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    duplicates: list[Doubled] = field(default_factory=list)
    contradictions: list[Doubled] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    balance: dict[str, dict[str, Any]] = field(default_factory=dict)
    constant: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        kinds = self.broken, self.misfits, self.problems, self.duplicates, self.leaks, self.warnings
        found = many(sum(len(one) for one in kinds), "finding")
        return f"Inspection({self.name}: {many(self.rows, 'row')}, {many(len(self.fields), 'field')}, {found})"

    def _repr_html_(self) -> str:
        return pre_html(self.text())

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return asdict(self)

    def text(self, *, most: int = 5) -> str:
        """What was found, in words, with at most `most` examples of each thing."""
        lines = [f"{self.name}: {many(self.rows, 'row')}", *self._listed()]
        head = len(lines)
        contradictions = [f"{one.stream}: {some(one.ids, most)}" for one in self.contradictions[:most]]
        sections = (
            ("Set aside or noted while reading", self._problems(self.problems, most)),
            ("Missing cells", [f"{c}: {len(ids):,} ({some(ids, most)})" for c, ids in self.missing.items()]),
            ("Broken cells", self._problems(self.broken, most)),
            ("Cells of another kind than their column", self._problems(self.misfits, most)),
            ("Duplicates", self._duplicates(most)),
            ("Equal rows with different answers", contradictions),
            ("Leaks between splits", self._leaks(most)),
            ("Constant columns", [", ".join(self.constant)] if self.constant else []),
            ("Empty columns", [", ".join(empty)] if (empty := self._empty()) else []),
            ("Worth a look", list(self.warnings)),
            ("Proposed", [line for one in self.proposals for line in (one.why, f"  schema: {one.schema}")]),
        )
        for title, items in sections:
            lines += ["", title, *(f"  {item}" for item in items)] if items else []
        if not self.fields:
            lines += ["", "No column can be used as a stream: nothing can be learned from this table."]
        elif len(lines) == head:
            lines += ["", "Nothing missing, broken, doubled or leaking was found."]
        return "\n".join(lines)

    def _listed(self) -> list[str]:
        """A line a stream, with its columns below it where it reads several; then every other column."""
        lines = []
        reads: dict[str, list[Column]] = defaultdict(list)
        for column in self.columns:
            for stream in column.stream.split(", "):
                reads[stream].append(column)
        for one in self.fields:
            read = reads[one["name"]]
            if KINDS[one["kind"]].is_record and read:
                lines.append(f"  {one['name']}: {one['kind']}, {many(len(read), 'column')}")
                lines += [f"    {column.text()}" for column in read]
            else:
                alone = len(read) == 1 and read[0].name == one["name"]
                named = "" if alone or not read else f" (columns {', '.join(column.name for column in read)})"
                lines.append(f"  {one['name']}: {one['kind']}, {one['why']}{named}")
        for target, facts in self.balance.items():
            lines.append(f"  {target}: target, {_balance(facts)}")
        rest = [column for column in self.columns if not column.stream and column.name not in self.balance]
        return lines + [f"  {column.text()}" for column in rest]

    def _empty(self) -> list[str]:
        return [column.name for column in self.columns if self.rows and column.missing == self.rows]

    def _problems(self, problems: Sequence[Problem], most: int) -> list[str]:
        by_column: dict[str, list[Problem]] = defaultdict(list)
        for problem in problems:
            by_column[problem.column].append(problem)
        lines = []
        for column, faults in by_column.items():
            lines.append(f"{column or 'rows'}: {len(faults):,}")
            lines += [f"  {problem.row}: {problem.reason}" for problem in faults[:most]]
            lines += [f"  and {len(faults) - most:,} more"] if len(faults) > most else []
        return lines

    def _duplicates(self, most: int) -> list[str]:
        kinds: dict[tuple[str, str], list[Doubled]] = defaultdict(list)
        for doubled in self.duplicates:
            kinds[doubled.stream, doubled.likeness].append(doubled)
        lines = []
        for (stream, likeness), sets in kinds.items():
            rows = sum(len(doubled.ids) for doubled in sets)
            said = "the same" if likeness == "same" else "nearly the same"
            lines.append(f"{stream or 'whole rows'}: {rows:,} rows hold {said} in {many(len(sets), 'set')}")
            lines += [f"  {some(doubled.ids, most)}" for doubled in sets[:most]]
            lines += [f"  and {many(len(sets) - most, 'more set')}"] if len(sets) > most else []
        return lines

    def _leaks(self, most: int) -> list[str]:
        kinds: dict[tuple[str, str], list[Leak]] = defaultdict(list)
        for leak in self.leaks:
            kinds[leak.stream, leak.likeness].append(leak)
        lines = []
        words = {"same": "equal across splits", "near": "nearly equal across splits", "group": "split apart"}
        for (stream, likeness), sets in kinds.items():
            are = "is" if len(sets) == 1 else "are"
            lines.append(f"{stream or 'whole rows'}: {many(len(sets), 'set')} {are} {words[likeness]}")
            for leak in sets[:most]:
                lines.append("  " + "; ".join(f"{part}: {some(ids, most)}" for part, ids in leak.parts.items()))
            lines += [f"  and {many(len(sets) - most, 'more set')}"] if len(sets) > most else []
        return lines


def _balance(facts: dict[str, Any]) -> str:
    missing = f", {facts['missing']:,} missing" if facts["missing"] else ""
    if "classes" in facts:
        counts = facts["classes"]
        shown = ", ".join(f"{label} {count:,}" for label, count in list(counts.items())[:12])
        return f"{many(len(counts), 'class', 'classes')} ({shown}{', ...' if len(counts) > 12 else ''}){missing}"
    if "median" in facts:
        return f"number from {facts['least']:g} over {facts['median']:g} (median) to {facts['most']:g}{missing}"
    return f"{facts['kind']}{missing}"
