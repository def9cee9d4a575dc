"""What an `align` run would do with these data: streams, items, splits, towers; nothing is computed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.aligners import ALIGNERS
from polymodal.alignment.config import AlignConfig
from polymodal.core.errors import BadArgument, BadData, UnknownName, suggest
from polymodal.core.registry import Spec, label
from polymodal.data.inputs import Inputs
from polymodal.data.kinds import KINDS
from polymodal.data.media.clusters import joined
from polymodal.data.schema import Field, Schema
from polymodal.data.split import PARTS
from polymodal.data.tables.source import Table
from polymodal.encoders import ENCODERS
from polymodal.encoders.checkpoints import SAMPLE, Shelf, strange_letters
from polymodal.inference.start import Start
from polymodal.models.specs import part_class, portable, processor_spec


@dataclass(frozen=True, eq=False)
class AlignPlan:
    """Everything an `align` run needs, resolved. `split` [N] is 0 train, 1 valid, 2 test, a row each."""

    table: Table
    schema: Schema
    split: np.ndarray
    processors: Mapping[str, Spec]
    encoders: Mapping[str, Spec]
    method: Spec
    towers: str
    config: AlignConfig
    sources: Mapping[str, str]
    notes: tuple[str, ...]
    start: Start | None = None  # where towers from scratch start from …
    started: tuple[str, ...] = ()  # … those of these streams

    @property
    def streams(self) -> tuple[str, ...]:
        return tuple(self.schema.fields)

    @property
    def learns(self) -> str:
        """`gradient` or `fit`."""
        return ALIGNERS.resolve(self.method)[0].learns  # type: ignore[attr-defined]

    def rows(self, part: str) -> np.ndarray:
        """Row numbers of `train`, `valid` or `test`."""
        return np.flatnonzero(self.split == PARTS.index(part))

    def to_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        config = self.config.to_dict()
        if config["matching"] is False:
            del config["matching"]  # so that a run begun before there was any goes on
        return {
            "sources": dict(self.sources),
            "rows": {part: len(self.rows(part)) for part in PARTS},
            "fields": {n: {"kind": f.kind, "columns": list(f.columns)} for n, f in self.schema.fields.items()},
            "processors": dict(self.processors),
            "encoders": dict(self.encoders),
            "method": self.method,
            "towers": self.towers,
            "config": config,
            "notes": list(self.notes),
            **({"start": self.start.mark} if self.start else {}),
        }


def plan_align(
    data: Any,
    streams: str | Sequence[str] | None = None,
    *,
    valid: Any = None,
    test: Any = None,
    schema: Schema | str | Path | Mapping[str, Any] | None = None,
    config: AlignConfig | str | Path | Mapping[str, Any] | None = None,
    **options: Any,
) -> AlignPlan:
    """Resolve data and options; `config` is an `AlignConfig`, a YAML file or a dict.

    Raises `BadData`, `BadArgument` or `UnknownName`, naming what to do.

    `streams` names two or more: a field of the schema, a column, `name=column`, or a pattern such as `caption_*`, whose
    columns become one stream with several items a row, called `caption`. None takes all fields.
    """
    config = AlignConfig.given(config, options)
    with config.fetching():
        given = Inputs.read(data, valid, test)
    known = given.schema(None, schema)
    chosen = replace(known, fields=chosen_fields(known, given.tables["train"], streams), targets={})
    for source in given.tables.values():
        for field in chosen.fields.values():
            for column in field.columns:
                source.column(column)
    table = given.joined(chosen)
    found, told = _checkpoints(chosen, table, config)
    towers, encoders = _towers(chosen, config, found)
    solved = ALIGNERS.resolve(config.method)[0].learns == "fit"  # type: ignore[attr-defined]
    method = portable(config.method)
    if solved and towers != "frozen":
        raise BadArgument(
            f"{label(method)} finds its maps in one go from stored vectors, so towers are frozen; {towers!r} was "
            "asked (or followed from the encoders). Name pretrained encoders, or a method that learns by gradient."
        )
    if solved and config.training:
        raise BadArgument(
            f"{label(method)} is solved from all pairs, not trained: leave out training={dict(config.training)}."
        )
    split, notes = given.split(
        table, chosen, config.fractions, config.seed, lambda rows: {"groups": _together(table.select(rows), chosen)}
    )
    start: Start | None = None
    started: tuple[str, ...] = ()
    if config.start:
        if towers == "frozen":
            raise BadArgument("start is for towers from scratch, and these are frozen. Leave it out, or name encoders.")
        start = Start.load(config.start, trust=[part_class(spec).__module__ for spec in encoders.values()])
        started = start.fitting(chosen, encoders, config.width, config.processors, "width")
        told += start.lines(started, [n for n in chosen.fields if not _is_ready(encoders[n])])
    fed = {n: processor_spec(f, encoders[n], config.processors) for n, f in chosen.fields.items()}
    return AlignPlan(
        table,
        chosen,
        split,
        fed | ({name: start.specs[name] for name in started} if start else {}),
        encoders,
        method,
        towers,
        config,
        given.told(),
        (*notes, *told, *known.unread(chosen.fields.values())),
        start,
        started,
    )


def chosen_fields(schema: Schema, table: Table, streams: str | Sequence[str] | None) -> dict[str, Field]:
    """The fields of the streams that were asked for; see `plan_align`. Raises `UnknownName` or `BadArgument`."""
    asked = streams.split(",") if isinstance(streams, str) else list(schema.fields if streams is None else streams)
    fields: dict[str, Field] = {}
    for entry in (item.strip() for item in asked if item.strip()):
        field = schema.fields[entry] if entry in schema.fields else _of_columns(entry, schema, table)
        if field.name in fields:
            raise BadArgument(f"The stream {field.name!r} was given twice. Name one `OTHER=column`.")
        fields[field.name] = field
    if len(fields) < 2:
        raise BadArgument(
            f"Alignment needs two streams or more; got {', '.join(fields) or 'none'}. Name them: "
            f"--streams A,B.{suggest('', [*schema.fields, *table.columns])}"
        )
    return fields


def _of_columns(entry: str, schema: Schema, table: Table) -> Field:
    name, given, pattern = entry.partition("=")
    pattern = pattern if given else entry
    columns = [c for c in table.columns if c == pattern] or [c for c in table.columns if fnmatchcase(c, pattern)]
    if not columns:
        raise UnknownName(
            f"No field and no column is called {pattern!r}.{suggest(pattern, [*schema.fields, *table.columns])}"
        )
    kinds = {column: _kind(column, schema) for column in columns}
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{column} is {kind}" for column, kind in kinds.items())
        raise BadArgument(f"{pattern!r} joins columns of several kinds ({told}); a stream has one. Name them apart.")
    kind = kinds[columns[0]]
    name = name if given else pattern if len(columns) == 1 else pattern.rstrip("*?[]").rstrip("_-. ") or "items"
    own = schema.fields.get(columns[0])
    joined = KINDS[kind].is_record
    options = dict(own.options) if own is not None and not joined else {}
    if len(columns) > 1 and not joined:
        options["many"] = True
    why = f"{len(columns)} items a row" if options.get("many") else (own.why if own is not None else "as asked")
    return Field(name, kind, tuple(columns), options, why)


def _kind(column: str, schema: Schema) -> str:
    for field in schema.fields.values():
        if column in field.columns:
            return field.kind
    reason = schema.ignored.get(column) or schema.notes.get(column, "it is not used")
    raise BadArgument(f"Column {column!r} is no stream: {reason}. Say what it is in a schema (`kinds`).")


def _checkpoints(schema: Schema, table: Table, config: AlignConfig) -> tuple[dict[str, Spec], list[str]]:
    """Pretrained towers from the folder of models, for streams whose encoder is not named; and what is to be said."""
    shelf = Shelf(config.models)
    if not shelf.folder or config.towers == "scratch":
        return {}, []
    specs, told = {}, []
    for name, field in schema.fields.items():
        if not field.about.tower or name in config.encoders or field.kind in config.encoders:
            continue
        search = shelf.of(field.about.tower, strange_letters(table.column(field.columns[0])[:SAMPLE]))
        if search.found:
            specs[name] = {"name": field.about.tower, "model": search.found.model}
        told.append(f"{name}: {search.found.told() if search.found else f'no pretrained model; {search.why}'}.")
    return specs, told


def _towers(schema: Schema, config: AlignConfig, found: Mapping[str, Spec]) -> tuple[str, dict[str, Spec]]:
    """How towers are used, and the encoder of each stream: asked for, or a pretrained one that was found."""
    for name in (*config.encoders, *config.processors):
        if name not in (allowed := [*schema.fields, *KINDS.of(trained=True)]):
            raise UnknownName(
                f"encoders or processors name {name!r}, which is neither a stream nor a kind.{suggest(name, allowed)}"
            )
    asked = {n: config.encoders.get(n, config.encoders.get(f.kind, found.get(n))) for n, f in schema.fields.items()}
    ready = [n for n, f in schema.fields.items() if _is_ready(asked[n] or f.about.ready_encoder)]
    towers = config.towers
    if towers == "auto":
        towers = "frozen" if len(ready) == len(schema.fields) else "scratch"
    if towers == "frozen" and (bare := [n for n in schema.fields if n not in ready]):
        raise BadArgument(
            f"Frozen towers need an encoder that is trained already; {', '.join(bare)} would have none. Name it, as in "
            f"--set 'encoders={{{bare[0]}: {{name: pretrained_text, model: FOLDER}}}}' (`polymodal list encoders`), or "
            "use --towers scratch."
        )
    if towers == "finetune":
        asked = {n: _tuned(spec) for n, spec in asked.items()}
    encoders = {}
    for name, field in schema.fields.items():
        spec = asked[name] or field.about.ready_encoder or field.about.encoder
        if not spec:
            raise BadData(f"The kind {field.kind!r} names no encoder; name one for {name!r} in encoders.")
        ENCODERS.resolve(spec)
        encoders[name] = portable(spec)
    return towers, encoders


def _is_ready(spec: Spec) -> bool:
    """Whether a tower can be used as it is: pretrained and not tuned, or without anything to train."""
    if not spec:
        return False
    cls, options = ENCODERS.resolve(spec)
    if getattr(cls, "pretrained", False):
        return options.get("tune", "frozen") == "frozen"
    return any(cls is ENCODERS.load(kind.ready_encoder) for kind in KINDS.values() if kind.ready_encoder)


def _tuned(spec: Spec | None) -> Spec | None:
    """A pretrained tower with adapters to learn, unless it says how it is tuned."""
    if spec is None or not getattr(part_class(spec), "pretrained", False):
        return spec
    given = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    return {"tune": "lora", **given} if "tune" in ENCODERS.resolve(spec)[0].__init__.__kwdefaults__ else given  # type: ignore[misc]


def _together(table: Table, schema: Schema) -> list[Hashable]:
    """A group a row: that of the schema, else rows joined by equal cells of media."""
    if schema.group:
        return table.column(schema.group)
    columns = [c for f in schema.fields.values() if f.about.media for c in f.columns]
    pairs: list[tuple[int, int]] = []
    for column in columns:
        first: dict[str, int] = {}
        values = enumerate(table.column(column))
        pairs += [(first.setdefault(value, row), row) for row, value in values if isinstance(value, str)]
    first_rows, rows = np.array(pairs, np.int64).reshape(-1, 2).T
    return joined(first_rows, rows, len(table)).tolist()
