"""Every column of a table: its kind, what it is used as, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polymodal.core.registry import in_words
from polymodal.data.infer import tell
from polymodal.data.schema import Schema
from polymodal.data.tables.table import Table

STREAM, UNUSED = "stream", "not used"


@dataclass(frozen=True)
class Column:
    """One column. `use` is `stream`, `target`, `group`, `id`, `split`, `time` or `not used`.

    `stream` names those that read it; `missing` and `bad` count its empty cells and those that cannot be used.
    """

    name: str
    kind: str
    use: str
    stream: str
    why: str
    missing: int = 0
    bad: int = 0

    def text(self) -> str:
        """One line."""
        told = self.kind if self.use == STREAM else self.use
        return f"{self.name}: {told}, {f'{self.kind}, ' if self.use != STREAM else ''}{self.why}"


def columns_of(table: Table, schema: Schema, bad: Mapping[str, int] | None = None) -> list[Column]:
    """Every column of `table`, used or not, in the table's order.

    A kind is the one that the schema's training rows told, else what these cells tell. `bad` counts cells that cannot
    be used by column or, for media, by stream.
    """
    bad = bad or {}
    streams: dict[str, list[str]] = {}
    for one in schema.fields.values():
        for column in one.columns:
            streams.setdefault(column, []).append(one.name)
    roles = {column: role for role, column in reversed(schema.roles.items())}  # `id` goes before `time`
    found = []
    for name in table.columns:
        read = streams.get(name, [])
        kind, why = kind_of(table, schema, name, read)
        use = "target" if name in schema.targets else roles.get(name) or (STREAM if read else UNUSED)
        if use not in (STREAM, UNUSED):
            why = schema.notes.get(name, why).removeprefix(f"{use}: ")
        missing = sum(value is None for value in table.column(name))
        wrong = max([bad.get(key, 0) for key in (name, *read) if key == name or len(schema.fields[key].columns) == 1])
        found.append(Column(name, kind, use, ", ".join(read), why, missing, wrong))
    return found


def kind_of(table: Table, schema: Schema, name: str, read: Sequence[str]) -> tuple[str, str]:
    """The kind of a column, which these streams read, and why."""
    if name in schema.targets:
        return in_words(schema.targets[name]), ""
    field = schema.fields[read[0]] if read else None
    if field is not None and not field.about.is_record:
        return field.kind, schema.ignored.get(name, field.why)
    kind, why = schema.told.get(name) or ((guess := tell(table, name)).kind, guess.why)
    types = dict(field.options.get("types") or {}) if field is not None else {}
    return types.get(name, kind), schema.ignored.get(name, why)
