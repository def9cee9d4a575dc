"""What a `pretrain` run would do with these data: streams, rows, encoders; nothing is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.config import Config
from polymodal.core.errors import BadArgument, BadData, UnknownName, suggest
from polymodal.core.registry import Spec, plain
from polymodal.data.copies import held_together
from polymodal.data.inputs import Inputs
from polymodal.data.kinds import KINDS
from polymodal.data.schema import Field, Schema
from polymodal.data.split import PARTS
from polymodal.data.tables.source import Table
from polymodal.experiment.encodings import encoder_of, features_by_formula
from polymodal.experiment.folds import split_by
from polymodal.models.specs import fitted_in_one_go, part_class, processor_spec
from polymodal.pretraining.config import PretrainConfig


@dataclass(frozen=True, eq=False)
class PretrainPlan:
    """Everything a `pretrain` run needs, resolved. `split` [N] is 0 train, 1 valid, 2 test, a row each."""

    table: Table
    schema: Schema
    split: np.ndarray
    processors: Mapping[str, Spec]
    encoders: Mapping[str, Spec]
    config: PretrainConfig
    sources: Mapping[str, str]
    notes: tuple[str, ...]
    targets: Mapping[str, Spec] = field(default_factory=dict)  # by which rows were cut
    written: tuple[str, ...] = ()  # streams of text whose words are written

    @property
    def learned(self) -> np.ndarray:
        """Numbers of the rows that are learned from: those of train, and of test only where that was asked."""
        return np.flatnonzero((self.split == 0) | (self.split == 2) * self.config.test_rows)

    @property
    def judged(self) -> np.ndarray:
        """Numbers of the validation rows: by them the epoch is chosen."""
        return np.flatnonzero(self.split == 1)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {
            "sources": dict(self.sources),
            "rows": {part: int((self.split == i).sum()) for i, part in enumerate(PARTS)},
            "fields": {n: {"kind": f.kind, "columns": list(f.columns)} for n, f in self.schema.fields.items()},
            "processors": plain(dict(self.processors)),
            "encoders": dict(self.encoders),
            "written": list(self.written),
            "config": self.config.to_dict(),
            "notes": list(self.notes),
        }


def plan_pretrain(
    data: Any,
    target: str | Sequence[str] | None = None,
    *,
    streams: str | Sequence[str] | None = None,
    valid: Any = None,
    test: Any = None,
    schema: Schema | str | Path | Mapping[str, Any] | None = None,
    config: PretrainConfig | str | Path | Mapping[str, Any] | None = None,
    **options: Any,
) -> PretrainPlan:
    """Resolve data and options. `target` names columns that are no stream here, nor learned from: with them the rows
    are cut as a fit of that target cuts them. `streams` are some of the fields, by default all.

    Raises `BadData`, `BadArgument` or `UnknownName`, naming what to do.
    """
    config = PretrainConfig.given(config, options)
    given = Inputs.read(data, valid, test, target=target, schema=schema)
    known = given.schema(target, schema)
    table = given.joined(known)
    notes: list[str] = []
    asked = streams.split(",") if isinstance(streams, str) else streams
    if strange := [name for name in asked or () if name not in known.fields]:
        raise UnknownName(f"There is no stream {strange[0]!r}.{suggest(strange[0], known.fields)}")
    fields = {n: f for n, f in known.fields.items() if asked is None or n in asked}
    for name in (*config.encoders, *config.processors):
        if name not in (allowed := [*known.fields, *KINDS.of(trained=True)]):
            raise UnknownName(
                f"encoders or processors name {name!r}, which is neither a stream nor a kind.{suggest(name, allowed)}"
            )
    written = _written(fields, config) if config.writes else ()
    usual = Config(encoders=config.encoders)
    encoders = {name: encoder_of(name, f.kind, usual) for name, f in fields.items()}
    for name, spec in [*encoders.items()]:
        if config.objective == "captioning" and name in written:
            notes.append(f"{name} is written, which teaches its own encoder nothing: none is kept of it.")
            del encoders[name]
        elif why := _unfit(spec, fields[name].about.reads_neighbours):
            del encoders[name]
            if name in written:
                notes.append(f"{name} is written, and not read: {why}.")
            else:
                notes.append(f"{name} is left out: {why}.")
                del fields[name]
    if not encoders:
        raise BadData(f"No stream has an encoder that could learn here. {' '.join(notes)}".strip())

    def held(rows: np.ndarray) -> dict[str, Any]:
        some = table.select(rows)
        return split_by(some, known) if known.targets else {"groups": held_together(some, known)}

    split, told = given.split(table, known, config.fractions, config.seed, held)
    if not known.targets and any("cut from" in line for line in told):
        told.append(
            "No target was named, so a fit may cut other test rows: name it (--target), or give a split column."
        )
    specs = {n: encoders.get(n, f.about.encoder) for n, f in fields.items()}
    reads = {n: (*features_by_formula(n, f.kind, specs[n], usual), specs[n])[0] for n, f in fields.items()}
    return PretrainPlan(
        table,
        replace(known, fields=fields, targets={}),
        split,
        {n: processor_spec(f, reads[n], config.processors) for n, f in fields.items()},
        encoders,
        config,
        given.told(),
        (*told, *notes),
        known.targets,
        written,
    )


def _written(fields: Mapping[str, Field], config: PretrainConfig) -> tuple[str, ...]:
    """The streams whose words are written. Raises `BadData` or `BadArgument` where there is none, or none to read."""
    texts = [name for name, field in fields.items() if field.about.cell == "text"]
    for name in config.captioned:
        if name not in texts:
            what = f"is of the kind {fields[name].kind!r}" if name in fields else "is no stream"
            raise BadArgument(f"captions names {name!r}, which {what}; text is written.{suggest(name, texts)}")
    written = tuple(config.captioned or texts)
    if not written:
        raise BadData(
            f"objective={config.objective} writes text, and none of {', '.join(fields)} is of the kind text. Give a "
            "column of text, say by --schema with `kinds` that it is one, or use another objective."
        )
    if len(written) == len(fields):
        raise BadData(
            f"objective={config.objective} writes {', '.join(written)} from other streams, and there is none. Give "
            "another, or name in captions those that are written; the others are read."
        )
    return written


def _unfit(encoder: Spec, linked: bool) -> str:
    """Why an encoder cannot learn here; empty where it can."""
    if linked:
        return "links are read by what other streams learned"
    if fitted_in_one_go(encoder):
        return "its encoder is fitted to labels in one go"
    return "its encoder is pretrained already" if getattr(part_class(encoder), "pretrained", False) else ""
