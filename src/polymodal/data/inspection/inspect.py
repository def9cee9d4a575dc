"""inspect_table: what is missing, broken, doubled, leaking or lopsided in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, UnknownName, suggest
from polymodal.core.words import key_of
from polymodal.data.answers import target_cells
from polymodal.data.inspection.columns import columns_of
from polymodal.data.inspection.examine import Examined, Reader, examine, misfits
from polymodal.data.inspection.findings import Doubled, Inspection, Leak
from polymodal.data.inspection.proposals import proposals
from polymodal.data.links import link_findings
from polymodal.data.media import clusters, hamming, minhash
from polymodal.data.media.prints import LIKENESS, LONGEST, RADIUS, comparable, perceptual_hash, plain, same, sets
from polymodal.data.media.remarks import summed
from polymodal.data.schema import Field, Schema
from polymodal.data.split import split_of_column
from polymodal.data.tables.table import Problem, Table
from polymodal.targets.base import asked

__all__ = ["Doubled", "Inspection", "Leak", "inspect_table"]

UNIFORM = 10  # others that a picture looks like, above which a collection is alike by nature and not by copying
COMMON = 10  # rows that share a text, above which it is a common phrase and not a copy
FORMULAIC = 0.2  # share of texts with a near twin, above which they are alike by form
SHORTEST = 40  # letters of a text below which sentences repeat by nature
RARE = 5  # rows of a class, below which it is pointed out


def inspect_table(
    table: Table,
    schema: Schema,
    *,
    readers: Mapping[str, Reader] | None = None,
    split: Sequence[str] | None = None,
    near: bool = True,
) -> Inspection:
    """Look at every cell of the schema's fields and targets.

    `readers` decode the cells of the fields that they name and raise `BadCell`; without a reader, files are checked
    for being there, being of their kind and, for pictures, being decodable. `split` names the part of each row, else
    the schema's split column does. `near` also looks for near duplicates among pictures and texts. Raises `UnknownName`
    for a reader of no field, `BadArgument` for a split of other length, `BadData` for a split column that cannot be
    used.
    """
    for name in readers or {}:
        if name not in schema.fields:
            raise UnknownName(f"There is a reader for {name!r}, which is no field.{suggest(name, schema.fields)}")
    if split is not None and len(split) != len(table):
        raise BadArgument(f"`split` names the part of each row: {len(table)} are needed, {len(split)} were given.")
    if split is None and schema.split is not None:
        split = split_of_column(table.column(schema.split), ids=table.ids)
    if schema.id is not None and schema.id.lower() != "id":  # a column called id names the rows already
        table = table.named_by(schema.id)
    inspector = _Inspector(table, schema, split)
    examined = {name: examine(table, one, (readers or {}).get(name)) for name, one in schema.fields.items()}
    for name, seen in examined.items():
        inspector.field(schema.fields[name], seen)
        inspector.doubles(schema.fields[name], seen, near)
    inspector.whole_rows(examined.values())
    inspector.straddling()
    inspector.targets()
    found = inspector.found
    found.columns = columns_of(table, schema, Counter(problem.column for problem in (*found.broken, *found.misfits)))
    found.proposals = proposals(table, schema, split, found.columns)
    return found


class _Inspector:
    """Gathers findings about one table."""

    def __init__(self, table: Table, schema: Schema, part_of: Sequence[str] | None):
        self.table = table
        self.schema = schema
        self.part_of = part_of
        self.found = Inspection(table.name, len(table), problems=list(table.problems), warnings=list(schema.warnings))
        columns = {column: {str(v) for v in table.column(column) if v is not None} for column in schema.ignored}
        self.found.constant = [column for column, values in columns.items() if len(values) == 1]

    def field(self, one: Field, seen: Examined) -> None:
        """Missing, broken and unfitting cells of one field."""
        wrong = misfits(self.table, self.schema, one)
        self.found.broken += seen.broken
        self.found.warnings += summed(seen.noted)
        self.found.misfits += wrong
        counts = {"missing": len(seen.missing), "bad": len(seen.broken) + len(wrong)}
        self.found.fields.append({"name": one.name, "kind": one.kind, "why": one.why, **counts})
        self._missing(one.columns)
        if one.about.reads_neighbours:
            self.found.warnings += link_findings(self.table, one.name, one.options)

    def doubles(self, one: Field, seen: Examined, near: bool) -> None:
        """Cells of one media or text field that are the same, or nearly."""
        if not one.about.copies:
            return
        alike = {"content": self._alike_content, "picture": self._alike_pictures, "text": self._alike_texts}
        for likeness, rows in alike[one.about.copies](one, seen, near):
            self._record(one.name, likeness, rows)

    def whole_rows(self, examined: Iterable[Examined]) -> None:
        """Rows whose streams are all the same, and those of them whose targets differ. Broken cells equal nothing."""
        every = list(examined)
        broken = {problem.row for seen in every for problem in seen.broken}
        keys: list[Any] = [tuple(parts) for parts in zip(*(seen.keys for seen in every))] or [()] * len(self.table)
        for row, identifier in enumerate(self.table.ids):
            if identifier in broken or not any(keys[row]):
                keys[row] = None
        for rows in same(keys):
            self._record("", "same", rows)
            for target in self.schema.targets:
                answers = self.table.column(target)
                if len({key_of(answers[row]) for row in rows if answers[row] is not None}) > 1:
                    self.found.contradictions.append(Doubled(target, "same", self._ids(rows)))

    def straddling(self) -> None:
        """Groups with rows in several splits."""
        if self.schema.group is not None:
            for rows in same(self.table.column(self.schema.group)):
                self._leak(self.schema.group, "group", rows)

    def targets(self) -> None:
        """Balance of the classes, spread of the numbers, and cells that are neither."""
        for name, spec in self.schema.targets.items():
            target = asked(name, spec)
            values = target_cells(self.table, target)
            self._missing([name])
            facts, misfits = target.survey(values)
            self.found.misfits += [Problem(self.table.ids[row], name, reason) for row, reason in misfits.items()]
            counts = Counter(facts.get("classes", {}))
            rare = [label for label, count in counts.items() if count < RARE]
            if rare:
                said = f"{len(rare)} of {len(counts)} classes have fewer than {RARE} rows: {', '.join(rare[:8])}."
                self.found.warnings.append(f"{name}: {said}")
            missing = sum(value is None for value in values)
            self.found.balance[name] = {"kind": target.kind, "missing": missing, **facts}
            if counts:
                self.found.balance[name]["classes"] = dict(counts.most_common())

    def _alike_content(self, one: Field, seen: Examined, near: bool) -> list[tuple[str, list[int]]]:
        """Sets of rows that hold the same, to the byte."""
        return [("same", rows) for rows in same(seen.keys)]

    def _alike_pictures(self, one: Field, seen: Examined, near: bool) -> list[tuple[str, list[int]]]:
        """Sets of rows with the same picture, or with one that looks alike."""
        alike = [("near", rows) for rows in self._near_pictures(one.name, seen)] if near else []
        return self._alike_content(one, seen, near) + alike

    def _near_pictures(self, name: str, seen: Examined) -> list[list[int]]:
        """Sets of rows whose pictures differ in content but look alike."""
        keys = list(seen.pictures)
        if len(keys) < 2:
            return []
        small = np.stack([seen.pictures[key] for key in keys])
        places = np.flatnonzero(comparable(small))
        alike = [places[items].tolist() for items in sets(hamming.keepers(perceptual_hash(small[places]), RADIUS))]
        others = sum(len(items) * (len(items) - 1) for items in alike) / len(keys)
        if others > UNIFORM:
            self.found.warnings.append(
                f"{name}: each picture looks like {others:.0f} others. In so uniform a collection "
                "(or one of film frames) looks do not tell copies, so only equal files are reported."
            )
            return []
        rows_of: dict[bytes | None, list[int]] = {}
        for row, key in enumerate(seen.keys):
            rows_of.setdefault(key, []).append(row)
        return [sorted(row for item in items for row in rows_of[keys[item]]) for items in alike]

    def _alike_texts(self, one: Field, seen: Examined, near: bool) -> list[tuple[str, list[int]]]:
        """Sets of rows with the same or nearly the same text; short texts and common phrases are left out."""
        name, values = one.name, self.table.column(one.columns[0])
        rows_of: dict[tuple[str, str], list[int]] = {}
        long = 0
        for row, value in enumerate(values):
            text = "" if value is None else str(value)
            long += len(text) > LONGEST
            if len(start := plain(text)) >= SHORTEST:
                rows_of.setdefault((start, text[LONGEST:]), []).append(row)
        if long and near:
            self.found.warnings.append(
                f"{name}: {long:,} texts have more than {LONGEST:,} letters; whether they nearly equal others is told "
                "by their beginnings."
            )
        rows_of = {text: rows for text, rows in rows_of.items() if len(rows) <= COMMON}
        alike = [("same", rows) for rows in rows_of.values() if len(rows) > 1]
        if not near:
            return alike
        texts = list(rows_of)
        signatures = minhash.signatures([text for text, _ in texts])
        crowd = clusters.crowded(cluster := minhash.near_duplicates(signatures, LIKENESS))
        if crowd > FORMULAIC * len(texts):
            self.found.warnings.append(
                f"{name}: {crowd:,} of {len(texts):,} longer texts nearly equal another, as filled-in forms do. "
                "Nearness does not tell copies here: they are not compared further, and only equal texts are reported."
            )
            return alike
        near_sets = sets(minhash.keepers(signatures, LIKENESS, cluster))
        return alike + [("near", sorted(row for item in items for row in rows_of[texts[item]])) for items in near_sets]

    def _missing(self, columns: Iterable[str]) -> None:
        for column in columns:
            values = self.table.column(column)
            empty = [identifier for identifier, value in zip(self.table.ids, values) if value is None]
            if empty:
                self.found.missing[column] = empty

    def _record(self, stream: str, likeness: str, rows: Sequence[int]) -> None:
        self.found.duplicates.append(Doubled(stream, likeness, self._ids(rows)))
        self._leak(stream, likeness, rows)

    def _leak(self, stream: str, likeness: str, rows: Sequence[int]) -> None:
        if self.part_of is None:
            return
        parts: dict[str, list[str]] = {}
        for row in rows:
            parts.setdefault(self.part_of[row], []).append(self.table.ids[row])
        if len(parts) > 1:
            self.found.leaks.append(Leak(stream, likeness, parts))

    def _ids(self, rows: Sequence[int]) -> list[str]:
        return [self.table.ids[row] for row in rows]
