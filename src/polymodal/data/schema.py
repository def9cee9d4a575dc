"""Schema: which columns are streams, targets, ids and groups, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell, BadData, UnknownName, suggest
from polymodal.core.numbers import Notation
from polymodal.core.registry import Spec, import_path, in_words, options
from polymodal.core.shown import some
from polymodal.data import chats
from polymodal.data.absence import read_absence
from polymodal.data.infer import Guess, tell, tell_target
from polymodal.data.kinds import KINDS, Kind
from polymodal.data.leaks import leak, leak_by_name
from polymodal.data.media.calibration import CALIBRATION
from polymodal.data.media.stretch import OPTIONS
from polymodal.data.overrides import Overrides, read_overrides, read_targets, stem
from polymodal.data.paths import Base, placed
from polymodal.data.ranked import ENTITY, Rank, read_rank
from polymodal.data.references import columns_of_target, gathered, references_of
from polymodal.data.split import SPLIT_NAMES, units
from polymodal.data.tables.table import MISSING, Table
from polymodal.data.unused import SAID, UNLISTED, dropped
from polymodal.targets.base import CLASSES, NUMBER, asked
from polymodal.targets.columns import free

__all__ = ["Field", "Schema"]

LOOKED = 5  # cells of a column that are opened to tell whether they give another stream
DATA_OPTIONS = ("array", "row", "key", "files", "many", "decimal", *OPTIONS, *CALIBRATION)


@dataclass(frozen=True)
class Field:
    """One stream: its kind, the columns that it reads, options, and why it was taken for this.

    The options `array`, `row`, `key` (numbers in a .npy or .npz file beside the table), `files` (text in files),
    `decimal` ("," where the columns of a vector have decimal commas) and `many` (each column holds an item of its own,
    as a photo's five captions do) are obeyed by the data layer; `processor_options` are the rest.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""

    @property
    def about(self) -> Kind:
        """What the table of kinds says of this one. Raises `UnknownName` for a kind that is not known here."""
        return KINDS[self.kind]

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that a cell is read from, with those that say which stretch of it, or what a camera saw."""
        beside = (*OPTIONS, *CALIBRATION)
        return (*self.columns, *(self.options[option] for option in beside if option in self.options))

    @property
    def processor_options(self) -> dict[str, Any]:
        """Options for the processor of this kind; those of links all say which rows are linked."""
        if self.about.reads_neighbours:
            return {}
        return {name: value for name, value in self.options.items() if name not in DATA_OPTIONS}


@dataclass(frozen=True)
class Schema:
    """What a table's columns are.

    `fields` are the streams by name; `targets` map a column to its kind of target; `group`, `id`, `split` and `time`
    name columns; `ignored` maps every other column to the reason why it is not used; `notes` give the reasons for
    targets and those columns; `warnings` are what the user should look at. `keys` are those of the ignored that
    evidently name the rows or what they belong to, as an order number does: answers keep them. `missing` maps a column
    to the marks that stand for a missing value in it, where these are not the usual ones; `read` obeys it. `told` maps
    each column that was judged by its cells to its kind and why. `chat` is the column whose conversations are rows
    for each answer (see `data.chats`). `rank` says within which rows an order is asked for.
    """

    fields: Mapping[str, Field]
    targets: Mapping[str, Spec] = field(default_factory=dict)
    group: str | None = None
    id: str | None = None
    split: str | None = None
    time: str | None = None
    ignored: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    told: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    chat: str | None = None
    rank: Rank | None = None

    @classmethod
    def infer(
        cls,
        table: Table,
        target: Any = None,
        overrides: str | Path | Mapping[str, Any] | None = None,
        *,
        bare: bool = False,
        rank: Any = None,
    ) -> Schema:
        """The schema of `table`: told from its cells, corrected by `overrides` (see `data.overrides.read_overrides`).

        `target` is a column, several, or a mapping from column to kind, and goes before the one in `overrides`, which
        may tell its kind. Tell it on the rows that train, so that nothing is learned from the test rows.

        Raises `UnknownName` for a column or target that does not exist, `BadArgument` for an unknown kind, `BadData`
        when no stream is left, unless the schema may be `bare`, to be looked at.
        """
        said = Overrides() if overrides is None else read_overrides(overrides, table.columns)
        named = read_targets(target, table.columns) or dict(said.targets)
        ranked = read_rank(rank or said.rank, table.columns, [*named])
        said = said if ranked is None else _ranking(said, ranked, table)
        named = {name: said.targets.get(name) if kind is None else kind for name, kind in named.items()}
        chat = next((name for name in named if chats.of_column(name) in table.data), None)
        if chat is not None:
            said, named = _conversing(chat, said, named, table)
        warnings: list[str] = []
        table = gathered(table, named)
        missing, table = read_absence(table, named, said, warnings)
        targets, notes = _targets(table, named, said, missing, warnings)
        notes |= {} if chat is None else {chat: "what the assistant of a conversation says, a row for each answer"}
        roles = _roles(table, said, targets, notes)
        references = {column: name for name, spec in targets.items() for column in references_of(spec)}
        taken = {column for column in roles.values() if column} | set(targets) | set(references)
        ignored = dict.fromkeys(said.ignore, SAID)
        told: dict[str, tuple[str, str]] = {}
        rest = [c for c in table.columns if c not in taken and c not in ignored]
        if said.fields:
            fields = _described(table, said, taken, targets, ignored)
            read = {column for one in fields.values() for column in one.needed}
            ignored |= {c: UNLISTED for c in rest if c not in read}
        else:
            fields = _inferred(table, rest, said, ignored, warnings, told, missing)
        if (linked := [one.name for one in fields.values() if one.about.reads_neighbours]) and roles["id"] is None:
            raise BadData(
                f"Field {linked[0]!r} links rows by their ids; name the column that holds them: `id: COLUMN`."
            )
        if not fields and not bare:
            reasons = some([f"{column}: {reason}" for column, reason in ignored.items()], 20)
            raise BadData(f"No column of {table.name} can be used as a stream. {reasons}")
        table = table.read_as(missing)
        warnings += unnoticed(targets, fields)
        for column, why in ignored.items():
            if column not in told or why == SAID:
                told[column] = (guess := tell(table, column)).kind, guess.why
        warnings += dropped(table, ignored, told)
        ignored |= {column: f"an answer that the target {name} gathers" for column, name in references.items()}
        told |= {column: ("text", ignored[column]) for column in references}
        warnings += _leaks(table, fields, targets)
        lists = tuple(warnings), tuple(column for column in ignored if told[column][0] == "id")
        columns = roles["group"], roles["id"], roles["split"], roles["time"]
        return cls(fields, targets, *columns, ignored, notes, *lists, missing, told, chat, ranked)

    @property
    def roles(self) -> dict[str, str]:
        """The column of each role that has one: `group`, `id`, `split`, `time`."""
        return {role: column for role in ("group", "id", "split", "time") if (column := getattr(self, role))}

    def read(self, table: Table) -> Table:
        """The rows with every mark of absence taken as this schema takes it, and what targets gather in one column."""
        return gathered(table.read_as(self.missing) if self.missing else table, self.targets)

    def check(self, table: Table, *, targets: bool = False) -> None:
        """Raise `UnknownName`, with the nearest match, when `table` lacks a column that a field or target needs."""
        needed = [(column, f"field {one.name!r}") for one in self.fields.values() for column in one.needed]
        asked_for = self.targets.items() if targets else ()
        needed += [(column, "the target") for name, spec in asked_for for column in columns_of_target(name, spec)]
        for column, what in needed:
            if column not in table.data:
                near = suggest(column, table.data)
                raise UnknownName(f"{table.name} has no column {column!r}, which {what} needs.{near}")

    def ranked(self, table: Table) -> np.ndarray | None:
        """[N] numbers of the groups within which the rows of `table` are put in order; None where they are not."""
        return None if self.rank is None else units(self.rank.values(table), len(table))

    def explain(self) -> str:
        """One line a column: what it is and why."""
        lines = [f"{one.name}: {one.kind}, {one.why}" for one in self.fields.values()]
        lines += [f"{name}: target ({in_words(kind)}), {self.notes[name]}" for name, kind in self.targets.items()]
        lines += [f"{column}: {self.notes[column]}" for column in dict.fromkeys(self.roles.values())]
        lines += [f"{column}: not used, {reason}" for column, reason in self.ignored.items()]
        return "\n".join([*lines, *(f"Note: {warning}" for warning in self.warnings)])

    def unread(self, fields: Iterable[Field]) -> list[str]:
        """What to say of columns of words that these fields read as categories, which no sentence can ask for."""
        names = [c for one in fields if one.about.is_record for c in one.columns]
        return [
            f"{name} was read as a {self.told[name][0]} ({self.told[name][1]}). To ask with words, read it as text: "
            f"say in a schema `kinds: {{{name}: text}}`."
            for name in names
            if name in self.told and KINDS[self.told[name][0]].words
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` restores them."""
        plain = {k: dict(v) if isinstance(v, Mapping) else v for k, v in self.__dict__.items()}
        fields = {
            name: {"kind": one.kind, "columns": list(one.columns), "options": dict(one.options), "why": one.why}
            for name, one in self.fields.items()
        }
        outside = KINDS.modules(one.kind for one in self.fields.values())
        lists = {"warnings": list(self.warnings), "keys": list(self.keys)}
        ranked = {"rank": self.rank and vars(self.rank)}
        return plain | {"fields": fields} | lists | ranked | ({"kinds": outside} if outside else {})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Schema:
        """The schema that `to_json` wrote. Modules of kinds from outside are imported, unless their kinds are known."""
        KINDS.know(values.get("kinds", {}))
        fields = {
            name: Field(name, one["kind"], tuple(one["columns"]), dict(one["options"]), one["why"])
            for name, one in values["fields"].items()
        }
        own = {name: value for name, value in values.items() if name != "kinds"}
        lists = {name: tuple(values.get(name, ())) for name in ("warnings", "keys")}
        missing = {column: tuple(marks) for column, marks in values.get("missing", {}).items()}
        told = {column: tuple(guess) for column, guess in values.get("told", {}).items()}
        ranked = {"rank": Rank(**own["rank"]) if own.get("rank") else None}
        return cls(**{**own, "fields": fields, **lists, "missing": missing, "told": told, **ranked})


def _conversing(
    chat: str, said: Overrides, named: Mapping[str, Spec | None], table: Table
) -> tuple[Overrides, dict[str, Spec | None]]:
    """What the columns of an unfolded conversation are, unless the user says otherwise, and its answer."""
    own = chats.of_column(chat)
    kinds = {**chats.roles_of(chat, table.columns), **said.kinds}
    held: dict[str, Any] = {"group": own} if said.group in (None, own) else {"ignore": (*said.ignore, own)}
    targets = {name: kind or ("text" if name == chat else None) for name, kind in named.items()}
    return replace(said, kinds=kinds, **held), targets


def _ranking(said: Overrides, rank: Rank, table: Table) -> Overrides:
    """Who has a taste of his own is a stream, unless the user says otherwise."""
    if len(given := {str(value) for value in table.column(rank.by) if value is not None}) < 2:
        only = f"is {next(iter(given))!r} in every training row" if given else "is empty"
        raise BadData(
            f"rank names {rank.by!r}, which {only}: an order is learned within several groups. Leave `rank` out."
        )
    left_alone = said.fields or rank.by in (*said.kinds, *said.ignore, said.group, said.id, said.split)
    return said if left_alone else replace(said, kinds={**said.kinds, rank.by: ENTITY})


def _apart(columns: Sequence[Sequence[Any]]) -> bool:
    """Whether columns hold classes, no two of which share a word: several questions, not several answers to one."""
    held = [{word for cell in column if cell is not None for word in str(cell).lower().split()} for column in columns]
    asked = all(tell_target(column).kind == "classes" for column in columns)
    return asked and len(held) > 1 and all(a.isdisjoint(b) for a, b in combinations(held, 2))


def _targets(
    table: Table,
    named: Mapping[str, Spec | None],
    said: Overrides,
    missing: dict[str, tuple[str, ...]],
    warnings: list[str],
) -> tuple[dict[str, Spec], dict[str, str]]:
    targets: dict[str, Spec] = {}
    notes = {}
    for name, kind in named.items():
        if columns := references_of(kind):
            if any(tell_target(table.column(column)).kind == "number" for column in columns):
                raise BadData(
                    f"The target {name!r} gathers {', '.join(columns)}, which hold numbers, as answers in words to one "
                    "question. Several targets are named in a schema, as in `target: [price, weight]`."
                )
            if {name} == set(map(stem, columns)) and _apart([table.column(column) for column in columns]):
                raise BadData(
                    f"The target {name!r} gathers {', '.join(columns)} as answers to one question, any of which is "
                    "right; but each holds a few values of its own, no word of which is in another. Several targets "
                    f"are named in a schema, as in `target: [{', '.join(columns)}]`; answers to one question by "
                    f"another name, as in answer={','.join(columns)}."
                )
            targets[name], notes[name] = kind or "text", f"{len(columns)} columns, each an answer: {', '.join(columns)}"
            continue
        written = said.written.get(name, "")
        seen = tell(table, name, written)
        answer = KINDS[seen.kind].answer if seen.kind in KINDS else ""
        guess = Guess(answer, seen.why) if answer else tell_target(table.column(name), name, written)
        told, why = guess.kind, guess.why
        targets[name] = kind or told
        notes[name] = why if kind in (None, told) else f"as the schema says (the cells alone look like {told}: {why})"
        if guess.warning and kind in (None, told):
            warnings.append(guess.warning)
        if written and "decimal_mark" in options(type(asked(name, targets[name]))):
            spec = targets[name]
            targets[name] = {**(spec if isinstance(spec, Mapping) else {"name": spec}), "decimal_mark": written}
        if not guess.absent or name in missing:
            continue
        missing[name] = (*sorted(MISSING - {""}), *guess.absent)
        if told == "classes":
            marks = ", ".join(map(repr, guess.absent))
            warnings.append(
                f"{name}: {marks} is taken for a missing target. If it is a class, say in a schema "
                f"`missing: {{{name}: []}}`."
            )
    return targets, notes


def _roles(table: Table, said: Overrides, targets: Mapping[str, Spec], notes: dict[str, str]) -> dict[str, str | None]:
    """The columns of group, id, split and time."""
    lower = {column.lower(): column for column in reversed(table.columns)}
    split = said.split
    if split is None and "split" in lower:
        cells = {str(value).strip().lower() for value in table.column(lower["split"]) if value is not None}
        if cells and cells <= set(SPLIT_NAMES):
            split = lower["split"]
    roles = {"group": said.group, "id": said.id or lower.get("id"), "split": split, "time": said.time}
    words = {
        "group": "rows that share it stay together", "id": "names the rows", "split": "says what each row is for",
        "time": "later rows are for validation and test",
    }  # fmt: skip
    for role, column in roles.items():
        if column in targets:
            raise BadData(f"Column {column!r} cannot be both the target and the {role}.")
        if column:
            before = f"{notes[column]}; " if column in notes else ""
            notes[column] = f"{before}{role}: {words[role]}"
    return roles


def _described(
    table: Table, said: Overrides, taken: set[str], targets: Mapping[str, Spec], ignored: dict[str, str]
) -> dict[str, Field]:
    """The fields that the schema lists; patterns pass over targets and roles."""
    fields = {}
    asked_for = {c for t, spec in targets.items() for c in (t, *references_of(spec))}
    for name, one in said.fields.items():
        edges = {one.options[o] for o in OPTIONS if o in one.options}
        seen = {one.options[o] for o in CALIBRATION if o in one.options}
        read = {column for other in said.fields.values() for column in other.columns}
        ignored |= dict.fromkeys(sorted(seen - read), f"says where the points of {name} lie in a picture")
        for column in sorted(edges):
            alike = [other for other, its in said.fields.items() if column in map(its.options.get, OPTIONS)]
            ignored[column] = f"says which stretch of {' and '.join(alike)} is read"
        if "array" in one.options:
            ignored |= dict.fromkeys(one.columns, "numbers the rows of an array")
        elif clash := sorted((one.named | edges | seen) & asked_for):
            raise BadData(f"Field {name!r} reads column {clash[0]!r}, which is the target.")
        columns = tuple(column for column in one.columns if column in one.named or column not in taken)
        options = dict(one.options)
        if KINDS[one.kind].is_record:
            ways = {"types": said.kinds, "written": said.written}
            of = {option: {c: way[c] for c in columns if c in way} for option, way in ways.items()}
            options = {option: way for option, way in of.items() if way} | options
        elif KINDS[one.kind].takes_array and len(columns) > 1 and "many" not in options:
            # decided once, on the rows that train: a new row alone may leave open what its commas are
            decimal = Notation.of([cell for column in columns for cell in table.column(column)]).decimal
            options = {"decimal": decimal, **options} if decimal == "," else options
        fields[name] = Field(name, one.kind, columns, options, "as the schema says")
    return fields


def _inferred(
    table: Table,
    columns: list[str],
    said: Overrides,
    ignored: dict[str, str],
    warnings: list[str],
    judged: dict[str, tuple[str, str]],
    missing: dict[str, tuple[str, ...]],
) -> dict[str, Field]:
    """One field a media or text column, and one for all numbers, categories and dates together."""
    fields: dict[str, Field] = {}
    gathered: dict[str, dict[str, Guess]] = {}  # kind of the stream -> its columns
    for column in columns:
        fixed = said.kinds.get(column)
        way = said.written.get(column, "")
        guess = Guess(fixed, "as the schema says", binding=True, written=way) if fixed else tell(table, column, way)
        if guess.absent and column not in missing:
            missing[column] = (*sorted(MISSING - {""}), *guess.absent)
        judged[column] = (guess.kind, guess.why)
        warnings += [guess.warning] if guess.warning else []
        about = KINDS[guess.kind]
        if about.within:
            gathered.setdefault(about.within, {})[column] = guess
        elif about.trained:
            fields[column] = Field(column, guess.kind, (column,), dict(guess.options), guess.why)
            for other in _beside(table, column, about):
                name = free({*table.columns, *fields}, f"{column}_{other}")
                fields[name] = Field(name, other, (column,), {}, f"the {other} of the same {guess.kind} files")
        else:
            ignored[column] = SAID if fixed else guess.why
    for kind, columns_of in gathered.items():
        name = kind if kind not in fields else f"{kind}_columns"
        given = {
            "types": {column: guess.kind for column, guess in columns_of.items() if guess.binding},
            "written": {column: guess.written for column, guess in columns_of.items() if guess.written},
        }
        why = "; ".join(f"{column} ({guess.kind}: {guess.why})" for column, guess in columns_of.items())
        fields[name] = Field(name, kind, tuple(columns_of), {k: v for k, v in given.items() if v}, why)
    return fields


def _beside(table: Table, column: str, about: Kind) -> list[str]:
    """Kinds of further streams that a column gives, as most of its first cells tell."""
    some = zip(table.column(column)[:LOOKED], table.bases)
    cells = [_fetched(table, v, base) for v, base in some if v is not None]
    told = {other: import_path(tells) for other, tells in about.beside.items()}
    return [other for other, tells in told.items() if sum(tells(*cell) for cell in cells) > len(cells) / 2]


def _fetched(table: Table, value: Any, base: Base) -> tuple[Any, Path]:
    """A cell and its folder, or those of its copy where it is an address that may be fetched."""
    if isinstance(value, str) and table.remote is not None:
        with suppress(BadCell):  # reading it says why
            path = placed(base, value, table.remote)
            return str(path), path.parent
    return value, base if isinstance(base, Path) else Path.cwd()


_NUMBERED = re.compile(r"(.+?)[_\s.-]?\d+")


def unnoticed(targets: Mapping[str, Spec], fields: Mapping[str, Field]) -> list[str]:
    """What to say where streams look like further answers beside the target: `caption_1` beside `caption_0`."""
    said = []
    for target, spec in targets.items():
        stem = _NUMBERED.fullmatch(columns_of_target(target, spec)[0])
        if stem is None or asked(target, spec).form != "text":
            continue
        alike = [
            one.name for one in fields.values()
            if one.about.words and (found := _NUMBERED.fullmatch(one.name)) and found[1] == stem[1]
        ]  # fmt: skip
        if alike:
            said.append(
                f"{', '.join(alike)} look like further answers beside the target {target}, and are read as what it is "
                f"answered from. If they are, say {stem[1]}={stem[1]}_*, or list them under `ignore`."
            )
    return said


def _leaks(table: Table, fields: Mapping[str, Field], targets: Mapping[str, Spec]) -> list[str]:
    warnings = []
    for target, kind in targets.items():
        scores, answers = asked(target, kind).scores, table.column(target)
        for one in fields.values():
            for column in one.columns if one.about.is_record or one.about.words else ():
                warning, values = None, table.column(column)
                if one.about.is_record:
                    warning = leak(column, values, target, answers, numbers=scores == NUMBER)
                if warning is None and scores == CLASSES:
                    warning = leak_by_name(column, values, target, answers)
                warnings += [warning] if warning else []
    return warnings
