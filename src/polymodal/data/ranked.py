"""Rows that are put in order within groups: items for a user, answers to a question."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from polymodal.core.errors import BadArgument, BadData, UnknownName, suggest
from polymodal.core.words import key_of
from polymodal.data.infer import NEAR_UNIQUE, names_things
from polymodal.data.tables.table import Table

ENTITY = "entity"  # the kind of streams of users and items


@dataclass(frozen=True)
class Rank:
    """Rows with one value of the column `by` are put in order; the column `item`, if there is one, names what is."""

    by: str
    item: str = ""

    def values(self, table: Table) -> list[str | None]:
        """Whose each row is, None where that is missing. Raises `BadData` where the table does not say."""
        return self._keys(table, self.by)

    def items(self, table: Table) -> list[str | None]:
        """What each row is about, None where that is not known."""
        return self._keys(table, self.item) if self.item in table.data else [None] * len(table)

    def _keys(self, table: Table, column: str) -> list[str | None]:
        if column not in table.data:
            near = suggest(column, table.data)
            raise BadData(f"{table.name} has no column {column!r}, within which rows are put in order.{near}")
        return [None if value is None else key_of(value) for value in table.column(column)]


def read_rank(given: Any, columns: Collection[str], targets: Collection[str]) -> Rank | None:
    """What `rank` says: the column within whose values rows are put in order, or `{by: COLUMN, item: COLUMN}`.

    Raises `BadArgument` for anything else and for a target, `UnknownName` for a column that is not there.
    """
    if not given:
        return None
    said = {"by": given} if isinstance(given, str) else given
    if not isinstance(said, Mapping) or "by" not in said or set(said) - {"by", "item"}:
        raise BadArgument(f"rank is a column, as user_id, or {{by: user_id, item: movie_id}}; got {given!r}.")
    for role, column in said.items():
        if column not in columns:
            raise UnknownName(f"rank names {column!r} as `{role}`, which is no column.{suggest(str(column), columns)}")
        if column in targets:
            raise BadArgument(f"rank names {column!r} as `{role}`, which is the target.")
    if said["by"] == said.get("item"):
        raise BadArgument(f"rank names {said['by']!r} twice: users and items are two columns.")
    return Rank(said["by"], said.get("item", ""))


def item_column(table: Table, columns: Collection[str]) -> str:
    """Of the unused `columns`, the one that names what rows share: one named like an identifier; "" if not just one."""
    found = []
    for column in columns:
        given = [key_of(value) for value in table.column(column) if value is not None]
        if names_things(column) and 1 < len(set(given)) < NEAR_UNIQUE * len(given):
            found.append(column)
    return found[0] if len(found) == 1 else ""
