"""What a user gives to learn and to judge by: up to three tables, read, joined and split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.digest import digest_file
from polymodal.core.errors import BadArgument, BadData, nearest
from polymodal.core.files import read_json, told_path
from polymodal.core.shown import many
from polymodal.core.words import key_of
from polymodal.data.chats import is_chat, last_turns, of_column, pictures_of, unfolded
from polymodal.data.overrides import read_targets, said_of
from polymodal.data.ranked import ENTITY, item_column, read_rank
from polymodal.data.schema import Field, Schema
from polymodal.data.split import PARTS, moments_of, split_in_time, split_of_column, split_rows
from polymodal.data.tables.database import Database
from polymodal.data.tables.source import Table, read_table

SchemaGiven = Schema | str | Path | Mapping[str, Any] | None


@dataclass(frozen=True)
class Inputs:
    """Training rows, and validation and test rows where they are tables of their own."""

    sources: Mapping[str, Any]
    tables: Mapping[str, Table]

    @classmethod
    def read(
        cls, train: Any, valid: Any = None, test: Any = None, *, target: Any = None, schema: SchemaGiven = None
    ) -> Inputs:  # fmt: skip
        """`target` and `schema` as they are given to `schema`: a target that holds conversations is unfolded to a row
        for each of its answers.

        Raises `BadArgument` when two of them are the same file, `BadData` when one has no row that can be used.
        """
        sources = {name: source for name, source in zip(PARTS, (train, valid, test)) if source is not None}
        seen: dict[Path, str] = {}
        for name, source in sources.items():
            if isinstance(source, str | Path) and (other := seen.setdefault(Path(source).resolve(), name)) != name:
                raise BadArgument(
                    f"{other} and {name} are the same file, {source}: no row may be both learned and judged."
                )
        tables = {name: read_rows(source) for name, source in sources.items()}
        return cls(sources, _conversing(tables, target, schema))

    def schema(self, target: Any, schema: SchemaGiven, *, bare: bool = False, rank: Any = None) -> Schema:
        """The schema as it is, or that of a finished run (its `schema.json`), or inferred from the training rows with
        these corrections, `bare` as in `Schema.infer`. Rows are put in order as `rank` says, or else the schema.

        Raises `BadArgument` for a target beside a run's schema, which has its own.
        """
        kept = schema if isinstance(schema, Schema) else _kept(schema)
        if kept is None:
            found = Schema.infer(self.tables["train"], target, schema, bare=bare, rank=rank)  # type: ignore[arg-type]
            return self._with_items(found) if found.rank else found
        if rank:
            kept = replace(kept, rank=read_rank(rank, self.tables["train"].columns, [*kept.targets]))
        if isinstance(schema, Schema):
            return kept
        if target is not None:
            raise BadArgument(f"{schema} is the schema of a run and says what is asked; leave out the target.")
        kept.check(self.tables["train"], targets=True)
        return kept

    def _with_items(self, schema: Schema) -> Schema:
        """The schema that knows what is put in order.

        Items of the other rows that training lacks stay together in parts and folds, since they are what is asked for;
        items that training knows are a stream.
        """
        assert schema.rank is not None
        train = self.tables["train"]
        idle = [column for column in schema.ignored if column in train.data]
        item = schema.rank.item or item_column(train, idle)
        schema = replace(schema, rank=replace(schema.rank, item=item))
        if not item or schema.group or (parts := self.parts(schema)) is None:
            return schema
        names = [key_of(value) for table in self.tables.values() for value in table.data.get(item, [None] * len(table))]
        seen = {name for name, part in zip(names, parts) if part == "train"}
        asked = [name for name, part in zip(names, parts) if part != "train"]
        known = sum(name in seen for name in asked)
        if 2 * known < len(asked):
            why = f"group: {len(asked) - known:,} of {len(asked):,} rows to judge by have one that training lacks"
            return replace(schema, group=item, notes={**schema.notes, item: why})
        if item not in schema.ignored:
            return schema
        field = Field(item, ENTITY, (item,), {}, "what is put in order, most of it known from training")
        ignored = {column: why for column, why in schema.ignored.items() if column != item}
        return replace(schema, fields={**schema.fields, item: field}, ignored=ignored)

    def joined(self, schema: Schema) -> Table:
        """All rows in one table, by their names."""
        column = None if schema.chat else schema.id  # several rows are of one conversation
        return schema.read(Table.concat([named(table, column) for table in self.tables.values()]))

    def lacking(self, schema: Schema) -> list[str]:
        """What to say of columns of streams that a table has not, as the training rows do."""
        read = dict.fromkeys(column for field in schema.fields.values() for column in field.columns)
        return [
            f"The {part} rows have no column {column!r}: it counts as missing in all of them."
            + (f" Did you mean {near!r}?" if (near := nearest(column, set(table.data) - set(read))) else "")
            for part, table in self.tables.items()
            for column in read
            if column not in table.data
        ]

    def parts(self, schema: Schema) -> list[str] | None:
        """The part of each joined row, where the data have a split of their own."""
        if len(self.tables) > 1:
            return [name for name, part in self.tables.items() for _ in range(len(part))]
        table = self.tables["train"]
        return None if schema.split is None else split_of_column(table.column(schema.split), ids=table.ids)

    def split(
        self,
        table: Table,
        schema: Schema,
        fractions: tuple[float, float, float],
        seed: int,
        held: Callable[[np.ndarray], Mapping[str, Any]],
    ) -> tuple[np.ndarray, list[str]]:
        """[N] part of each row of the joined `table`, and notes for the user.

        Tables of their own first, then a split column, then what is left is cut: in order, where the schema names the
        `time`, else seeded; `held(rows)` says by which `labels` and `groups` of these rows (see `split_rows`).
        """
        part = np.array([PARTS.index(name) for name in self.parts(schema) or ["train"] * len(table)], np.int8)
        own = schema.split is not None and len(self.tables) == 1
        notes = [f"The split is the data's own, from the column {schema.split!r}."] if own else []
        missing = [name for name in ("valid", "test") if not (part == PARTS.index(name)).any()]
        moments = moments_of(table.column(schema.time)) if schema.time else None
        if moments is not None and not np.isfinite(moments).any():
            shown = next((cell for cell in table.column(str(schema.time)) if cell is not None), None)
            raise BadData(f"Column {schema.time!r}, named as the time, holds neither dates nor numbers, as {shown!r}.")
        if not missing:
            return part, notes if moments is None else [*notes, *_order(table, schema, moments, part)]
        train = np.flatnonzero(part == 0)
        share = {name: fraction for name, fraction in zip(PARTS, fractions) if name == "train" or name in missing}
        total = sum(share.values())
        valid, test = (share.get(name, 0.0) / total for name in ("valid", "test"))
        by = held(train)
        if moments is None:
            cut, how = split_rows(len(train), valid=valid, test=test, seed=seed, **by), f"seed {seed}"
        else:
            cut = split_in_time(moments[train], valid=valid, test=test, groups=by["groups"])
            how = f"the latest by {schema.time!r}"
        for name in missing:
            part[train[cut[name]]] = PARTS.index(name)
        notes.append(f"No {' and no '.join(missing)} rows were given: cut from the training rows ({how}).")
        return part, notes if moments is None else [*notes, *_order(table, schema, moments, part)]

    def told(self) -> dict[str, str]:
        """The sources as a plan shows them."""
        return {n: _told(s) if isinstance(s, str | Path) else f"<{type(s).__name__}>" for n, s in self.sources.items()}

    def digests(self) -> dict[str, str]:
        """The digests of the sources that are files, by which the same rows are known again wherever they lie."""
        files = {n: Path(s).expanduser() for n, s in self.sources.items() if isinstance(s, str | Path)}
        return {name: digest_file(path).hex() for name, path in files.items() if path.is_file()}


def _order(table: Table, schema: Schema, moments: np.ndarray, part: np.ndarray) -> Iterator[str]:
    """Where each part begins and ends in time, and what of that is not as `time` promises."""
    cells, spans = table.column(str(schema.time)), {}
    for number, name in enumerate(PARTS):
        rows = np.flatnonzero((part == number) & np.isfinite(moments))
        if len(rows):
            spans[name] = rows[moments[rows].argmin()], rows[moments[rows].argmax()]
    yield f"By {schema.time!r}: {'; '.join(f'{n} {cells[a]} to {cells[b]}' for n, (a, b) in spans.items())}."
    for before, after in pairwise(spans):
        if moments[spans[before][1]] > moments[spans[after][0]]:
            late, early = cells[spans[before][1]], cells[spans[after][0]]
            yield f"The {before} rows reach to {late}, the {after} rows begin with {early}: that is a look ahead."
    if len(lost := np.flatnonzero(~np.isfinite(moments))):
        shown = f"row {table.ids[lost[0]]}: {cells[lost[0]]!r}"
        held = " and ".join(name for number, name in enumerate(PARTS) if (part[lost] == number).any())
        yield f"Kept in {held}: {many(len(lost), 'row')} whose {schema.time!r} tells no moment ({shown})."


def _conversing(tables: Mapping[str, Table], target: Any, schema: SchemaGiven) -> Mapping[str, Table]:
    """The tables, with a row for each answer where the target is a column of conversations."""
    train = tables["train"]
    kept = schema if isinstance(schema, Schema) else _kept(schema)
    if kept is not None:
        chat, column, most = kept.chat, kept.id, _pictures(kept)
    else:
        said = {key: said_of(schema, key) for key in ("target", "id")}
        asked = read_targets(said["target"] if target is None else target, train.columns)
        chat = next((name for name in asked if name in train.data and is_chat(train.data[name])), None)
        column, most = said["id"], None
    if chat is None:
        return tables
    found: dict[str, Table] = {}
    for name, table in tables.items():
        found[name] = with_rows(unfolded(named(table, column), chat, most=most))
        most = len(pictures_of(chat, found[name].columns))
    return found


def _pictures(schema: Schema) -> int | None:
    """How many pictures of a conversation a schema reads; None where it has none."""
    columns = [column for field in schema.fields.values() for column in field.columns]
    return len(pictures_of(schema.chat, columns)) if schema.chat else None


def asked_rows(source: Any, schema: Schema, *, last: bool = False) -> Table:
    """The rows of `source` for a model of `schema`, named and unfolded as those that it learned from; `last`: of a
    conversation the last turn alone, which is what is to be answered. Raises `BadData` when there is none."""
    table = read_rows(source)
    if schema.chat is None or of_column(schema.chat) not in table.data:
        table = named(table, schema.id, strict=False)
    if schema.chat is None:
        return schema.read(table)
    each = with_rows(unfolded(table, schema.chat, most=_pictures(schema)))
    return schema.read(last_turns(each, schema.chat) if last else each)


def _told(source: str | Path) -> str:
    """A path as `told_path` tells it; strokes in the query of a database's file are none of its path."""
    file, sign, asked = str(source).partition("#")
    whole = "://" in file or not sign or Database.of(str(source)) is None
    return told_path(source) if whole else f"{told_path(file)}#{asked}"


def _kept(schema: Any) -> Schema | None:
    """The schema in the `schema.json` of a run, None where `schema` names no such file."""
    if not isinstance(schema, str | Path) or Path(schema).suffix != ".json" or not Path(schema).is_file():
        return None
    values = read_json(Path(schema))
    return Schema.from_json(values["schema"]) if isinstance(values, dict) and "schema" in values else None


def read_rows(source: Any) -> Table:
    """The table of `source`. Raises `BadData` when no row of it can be used, with the reasons."""
    return with_rows(read_table(source))


def with_rows(table: Table) -> Table:
    """The table. Raises `BadData` when it has no row, with the reasons."""
    if not len(table):
        reasons = "; ".join(str(problem) for problem in table.problems[:3])
        raise BadData(f"{table.name} holds no row that can be used.{f' {reasons}.' if reasons else ''}")
    return table


def named(table: Table, column: str | None, *, strict: bool = True) -> Table:
    """The rows named by the schema's id column. One called `id` has named them already, where it could.

    Values that are not unique raise `BadData`, or, unless `strict`, go with the number of the row.
    """
    if column is None or column not in table.data or column.lower() == "id":
        return table
    return table.named_by(column, strict=strict)
