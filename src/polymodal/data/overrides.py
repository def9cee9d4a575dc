"""What a user says about a table, from a YAML file or a dict, checked word by word."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadArgument, BadData, UnknownName, suggest
from polymodal.core.limits import read_settings
from polymodal.core.registry import Spec, options, plain
from polymodal.core.values import read_yaml
from polymodal.data.kinds import KINDS
from polymodal.data.links import LinkOptions
from polymodal.data.media.calibration import CALIBRATION
from polymodal.data.media.stretch import OPTIONS
from polymodal.data.references import KEY
from polymodal.targets.base import asked

_KEYS = (
    "register", "fields", "kinds", "target", "group", "id", "split", "time", "ignore", "missing", "written", "rank",
)  # fmt: skip


@dataclass(frozen=True)
class Described:
    """A field as the user describes it; `named` are those of its columns that were named outright, not by pattern."""

    kind: str
    columns: tuple[str, ...]
    options: Mapping[str, Any]
    named: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Overrides:
    """A checked description.

    `fields` lists all streams when it is given at all; `kinds` corrects the guess for single columns and leaves the
    rest to inference; `targets` maps a target to its kind, None where it is to be told. `missing` maps a column to the
    words and signs that stand for a missing value in it, `written` to its decimal sign or the format of its dates.
    """

    fields: Mapping[str, Described] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, Spec | None] = field(default_factory=dict)
    group: str | None = None
    id: str | None = None
    split: str | None = None
    time: str | None = None
    ignore: tuple[str, ...] = ()
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    rank: Any = None  # as `data.ranked.read_rank` takes it


def read_overrides(source: str | Path | Mapping[str, Any], columns: Iterable[str]) -> Overrides:
    """A description from a YAML file or a dict, checked against the table's columns.

    Keys: `fields` (all streams: `name: kind` or `name: {kind, columns, ...options}`; columns may be patterns such as
    "dim_*"), `kinds` (column: kind, to correct single guesses), `target` (a name, a list, or name: kind), `group`,
    `id`, `split`, `time` (a column each), `ignore` (columns), `missing` (column: what stands for a missing value in it,
    beside empty cells, `[]` where "NA" and the like are values), `written` (column: "," or "." before decimals, or the
    format of dates, as in "%d/%m/%Y"), `rank` (the column within whose values rows are put in order, or `{by, item}`)
    and `register` (modules with kinds from outside, which are then told by their suffixes). A kind is a name or
    `module:NAME`. Raises `UnknownName` or `BadArgument` with the nearest
    match.
    """
    columns = dict.fromkeys(columns)  # in order, and found at once however many they are
    given = _load(source)
    for key in given:
        if key not in _KEYS:
            raise BadArgument(f"Unknown key {key!r} in the schema.{suggest(key, _KEYS)}")
    for module in _names(given.get("register"), "`register` in the schema"):
        KINDS.register(module)
    single = {key: given.get(key) for key in ("group", "id", "split", "time")}
    for key, column in single.items():
        if column is not None:
            known(column, columns, f"`{key}` in the schema")
    patterns = _names(given.get("ignore"), "`ignore` in the schema")
    return Overrides(
        fields={str(name): _field(str(name), spec, columns) for name, spec in _mapping(given, "fields").items()},
        kinds={str(name): _kind(str(name), kind, columns) for name, kind in _mapping(given, "kinds").items()},
        targets=read_targets(given.get("target"), columns),
        missing={
            column: tuple(str(mark).strip() for mark in ([marks] if isinstance(marks, str) else marks or ()))
            for column, marks in _by_column(given, "missing", columns).items()
        },
        written={column: _written(column, way) for column, way in _by_column(given, "written", columns).items()},
        ignore=tuple(column for pattern in patterns for column in _matches(pattern, columns, "`ignore`")),
        rank=given.get("rank"),
        **single,
    )


def said_of(source: Any, key: str) -> Any:
    """What a description, as `read_overrides` takes it, or None says of one key, unchecked."""
    return None if source is None else _load(source).get(key)


def read_targets(given: Any, columns: Collection[str]) -> dict[str, Spec | None]:
    """Targets given as a name, several names, or a mapping from name to kind.

    A kind is a name of the catalogue of targets, `module:Class`, a class, or a dict of `kind` and its options. Columns
    that hold one answer each, all right, are one target: `captions=caption_*`, `caption_0,caption_1` (called by what
    their names share), or `captions: {kind: text, columns: [caption_*]}`.
    """
    if given is None:
        return {}
    words = [] if isinstance(given, Mapping) else _names(given, "the target")
    pairs = given if isinstance(given, Mapping) else dict(_named_target(word, columns) for word in words)
    targets: dict[str, Spec | None] = {}
    for name, kind in pairs.items():
        said = dict(kind) if isinstance(kind, Mapping) else {}
        if isinstance(kind, Mapping) and not {"kind", "name"} & set(kind):
            raise BadArgument(f"Target {name!r}: options come with a kind, as in {{kind: ordinal, …}}; got {said}.")
        patterns = said.pop("columns", None)
        spec = plain({"name": said.pop("kind", said.pop("name", None)), **said} if said else kind)
        if patterns is None:
            known(name, columns, "the target")
        else:
            spec = _gathering(name, spec, _names(patterns, f"`columns` of the target {name!r}"), columns)
        if spec is not None:
            asked(name, spec)
        targets[name] = spec
    return targets


def _named_target(word: str, columns: Collection[str]) -> tuple[str, Spec | None]:
    """A target as a word names it, and its kind if the word tells: of several columns it does."""
    name, equals, listed = word.partition("=")
    if word in columns or not (equals or "," in word or "*" in word):
        return word, None
    patterns = [pattern.strip() for pattern in (listed if equals else word).split(",")]
    if not equals:
        stems = set(map(stem, patterns))
        name = stems.pop() if len(stems) == 1 else ""
    if not name.strip():
        raise BadArgument(
            f"The target {word!r} names several columns. If they are answers to one question, give it a name, as in "
            f"answer={word.lstrip('=')}; several targets are named in a schema."
        )
    return name.strip(), {"name": "text", "columns": patterns}


def stem(pattern: str) -> str:
    """What the names of columns share that are numbered."""
    return pattern.rstrip("_-. 0123456789*")


def _gathering(name: Any, spec: Any, patterns: Sequence[str], columns: Collection[str]) -> Spec:
    """The spec of a target that is read from the columns of `patterns`. Raises `BadArgument` where it cannot be."""
    found = dict.fromkeys(c for pattern in patterns for c in _matches(pattern, columns, f"the target {name!r}"))
    if isinstance(spec, Mapping) and "columns" in spec:
        spec = {key: value for key, value in spec.items() if key != "columns"}
    spec = spec if isinstance(spec, Mapping) else {"name": spec}
    if KEY not in options(type(asked(name, spec))):
        raise BadArgument(f"Target {name!r} of kind {spec['name']} is read from one column; only text gathers several.")
    if name in columns and name not in found:
        raise BadArgument(
            f"The table has a column {name!r} already: give the target of {', '.join(found)} another name."
        )
    return {**spec, KEY: list(found)}


def known(column: Any, columns: Collection[str], what: str) -> None:
    """Raise `UnknownName` with the nearest match when the table has no such column."""
    if not isinstance(column, Hashable) or column not in columns:
        raise UnknownName(f"The table has no column {column!r}, named as {what}.{suggest(str(column), columns)}")


def check_kind(name: str, kind: Any, *, column: bool = False) -> str:
    """The name of a kind of fields, or of single columns. Raises `BadArgument` with the nearest match, and as
    `Kinds.find`.
    """
    if not isinstance(kind, str):
        raise BadArgument(f"Field {name!r}: a kind is named, as in `{name}: text`; got {kind!r}.")
    kind = KINDS.find(kind)
    allowed = [n for n, one in KINDS.items() if (one.column if column else one.stream)]
    if kind not in allowed:
        raise BadArgument(f"Field {name!r} cannot be of kind {kind!r}.{suggest(str(kind), allowed)}")
    return kind


def _load(source: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    path = Path(source)
    if not path.is_file():
        raise BadData(f"The schema file {str(source)!r} does not exist.")
    try:
        content = read_yaml(read_settings(path), f"The schema file {path}")
    except BadArgument as error:
        raise BadData(str(error)) from error
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        raise BadData(f"The schema file {path} must hold keys such as fields and target; it holds {kind}.")
    return content


def _names(given: Any, what: str) -> list[str]:
    """A name or several. Raises `BadArgument` for anything else."""
    if given is None:
        return []
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(name, str) for name in names):
        raise BadArgument(f"{what} is a name or a list of names; got {given!r}.")
    return names


def _mapping(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = given.get(key) or {}
    if not isinstance(value, Mapping):
        raise BadArgument(f"`{key}` in the schema maps names to kinds, as in `photo: image`; got {value!r}.")
    return value


def _by_column(given: Mapping[str, Any], key: str, columns: Collection[str]) -> dict[str, Any]:
    said = {str(column): value for column, value in _mapping(given, key).items()}
    for column, value in said.items():
        known(column, columns, f"`{key}` in the schema")
        if key == "missing" and not isinstance(value, str | list | tuple | None):
            raise BadArgument(
                f"`missing` in the schema maps a column to a list, as in `{column}: ['?']`; got {value!r}."
            )
    return said


def _written(column: str, way: Any) -> str:
    try:
        dated = isinstance(way, str) and "%" in way and bool(datetime.strptime(f"{datetime(2001, 2, 3):{way}}", way))
    except ValueError:  # no directive of a format
        dated = False
    if way not in (".", ",") and not dated:
        raise BadArgument(
            f"`written` says of column {column!r} {way!r}: give '.' or ',' for the sign before decimals, or the format "
            "of its dates, as in '%d/%m/%Y'."
        )
    return way


def _kind(column: str, kind: Any, columns: Collection[str]) -> str:
    known(column, columns, "`kinds` in the schema")
    return check_kind(column, kind, column=True)


def _field(name: str, spec: Any, columns: Collection[str]) -> Described:
    options = dict(spec) if isinstance(spec, Mapping) else {"kind": spec}
    if "kind" not in options:
        raise BadArgument(f"Field {name!r} in the schema needs a kind.{suggest('', KINDS.of(trained=True))}")
    kind = check_kind(name, options.pop("kind"))
    if KINDS[kind].reads_neighbours:
        LinkOptions.of(name, options)
        return Described(kind, (), options)
    if "array" in options:
        if not KINDS[kind].takes_array:
            takers = " or a ".join(sorted(KINDS.of(takes_array=True), reverse=True))
            raise BadArgument(f"Field {name!r}: an array on disk is a {takers}, not {kind}.")
        row = options.get("row")
        if row is not None:
            known(row, columns, f"`row` of field {name!r}")
        return Described(kind, (row,) if row else (), options)
    listed = options.pop("columns", None)
    patterns = [name] if listed is None else _names(listed, f"`columns` of field {name!r}")
    if not patterns:
        raise BadArgument(f"Field {name!r} lists no column. Leave `columns` out for the column of its own name.")
    chosen = tuple(dict.fromkeys(c for p in patterns for c in _matches(p, columns, f"field {name!r} in the schema")))
    for option in OPTIONS:
        if option in options and KINDS[kind].timed:
            known(options[option], columns, f"`{option}` of field {name!r}")
        elif option in options:
            able = " or ".join(KINDS.of(timed=True))
            raise BadArgument(f"Field {name!r}: `{option}` is for a stretch of a recording ({able}), not of {kind}.")
    for option in CALIBRATION:
        if option in options and KINDS[kind].calibrated:
            known(options[option], columns, f"`{option}` of field {name!r}")
    if "camera" in options and "projection" not in options and KINDS[kind].calibrated:
        raise BadArgument(f"Field {name!r}: `camera` needs `projection`, the column of the 3 x 4 matrix onto it.")
    many = options.get("many", False)
    if not isinstance(many, bool):
        raise BadArgument(f"Field {name!r}: many is true (each column is an item of its own) or false; got {many!r}.")
    if len(chosen) > 1 and not KINDS[kind].many and not many:
        matches = ", ".join(chosen[:5])
        raise BadArgument(
            f"Field {name!r} of kind {kind} takes one column; {len(chosen)} match: {matches}. To align several items a "
            "row, say `many: true`."
        )
    return Described(kind, chosen, options, frozenset(name for name in patterns if name in columns))


def _matches(pattern: str, columns: Collection[str], what: str) -> list[str]:
    if pattern in columns:
        return [pattern]
    matched = [column for column in columns if fnmatchcase(column, pattern)]
    if not matched:
        raise UnknownName(f"The table has no column {pattern!r}, named as {what}.{suggest(pattern, columns)}")
    return matched
