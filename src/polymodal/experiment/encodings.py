"""Which encodings a fit tries for a stream: by formula, from scratch, and pretrained towers, or why there is none.

A tower reads cells by the processor of its checkpoint, other encoders by that of the kind: a stream with a tower has
two readings of the same cells, each a stream of the dataset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from polymodal.config import Config
from polymodal.core.errors import BadArgument, BadData
from polymodal.core.registry import Spec
from polymodal.data.kinds import KINDS
from polymodal.data.schema import Schema
from polymodal.data.split import some_of
from polymodal.data.tables.source import Table
from polymodal.encoders import ENCODERS
from polymodal.encoders.checkpoints import SAMPLE, Search, Shelf, strange_letters
from polymodal.models.specs import features_of, fitted_in_one_go, part_class, portable, processor_spec
from polymodal.targets.base import MEANINGS, Target, written

OFF = (
    "No pretrained model is used: `pretrained` is false, as the presets fast and edge have it: encoding costs more "
    "than all else there, and the weights would be part of the model."
)


@dataclass(frozen=True)
class Towers:
    """What was found for each stream that could have a tower or a pretrained learner: `searches`; `readings` names the
    dataset's stream with a tower's arrays, `processors` what makes them, `frozen` (learners too) and `aware` the
    encoders to try; `off` says why none was looked for."""

    searches: Mapping[str, Search] = field(default_factory=dict)
    readings: Mapping[str, str] = field(default_factory=dict)
    processors: Mapping[str, Spec] = field(default_factory=dict)
    frozen: Mapping[str, Spec] = field(default_factory=dict)
    aware: Mapping[str, Spec] = field(default_factory=dict)
    off: str = ""

    def reads(self, stream: str, spec: Spec) -> str:
        """The dataset's stream whose arrays an encoder of `stream` reads."""
        if stream in self.readings and getattr(part_class(features_of(spec)), "pretrained", False):
            return self.readings[stream]
        return stream

    def without(self, stream: str, why: str) -> Towers:
        """The same, where `stream` has no tower."""

        def rest(values: Mapping[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in values.items() if name != stream}

        searches = {**self.searches, stream: Search(None, why.rstrip("."))}
        readings, frozen, aware = map(rest, (self.readings, self.frozen, self.aware))
        return replace(self, searches=searches, readings=readings, frozen=frozen, aware=aware)

    def lines(self) -> list[str]:
        """Which checkpoint each stream uses, from where, its licence and size; or why none."""
        said = [self.off] if self.off else []
        for stream, search in self.searches.items():
            if search.found is None:
                said.append(f"{stream}: no pretrained model; {search.why}.")
                continue
            how = "frozen, and tuned to the target" if stream in self.aware else "frozen"
            if stream not in self.readings:
                how = "a learner that reads training rows as it answers, and keeps them"
            said.append(f"{stream}: {search.found.told()}, {how}" + (f"; {search.why}." if search.why else "."))
        return said


def find_towers(
    schema: Schema, table: Table, split: np.ndarray, config: Config, targets: Sequence[Target] = ()
) -> Towers:
    """The tower of every stream whose encoder is left to evidence and whose kind has one, or the pretrained learner
    where all `targets` are scored; where all are written, the tower's tokens, and no learner on its vectors.

    Raises `BadArgument` where `pretrained` is true and no stream finds a checkpoint.
    """
    free = {
        name: one for name, one in schema.fields.items()
        if (one.about.tower or one.about.learner) and name not in config.encoders and one.kind not in config.encoders
    }  # fmt: skip
    if not free or config.encodings == "trained" or config.pretrained is False:
        return Towers(off=OFF if free and config.pretrained is False else "")
    meanings = {target.scores for target in targets}
    shelf = Shelf(config.models, hub=config.pretrained is True)
    rows = some_of(np.flatnonzero(split == 0), SAMPLE)
    searches = {}
    for name, one in free.items():
        if one.about.learner:
            if meanings and meanings <= set(MEANINGS):
                searches[name] = shelf.learner(one.about.learner, meanings)
            continue
        cells = table.column(one.columns[0]) if one.about.words else ()
        searches[name] = shelf.of(one.about.tower, strange_letters(cells[i] for i in rows) if cells else 0.0)
    found = {name: search.found for name, search in searches.items() if search.found}
    if config.pretrained is True and not found and any(one.about.tower for one in free.values()):
        why = "; ".join(f"{name}: {search.why}" for name, search in searches.items())
        raise BadArgument(
            f"pretrained=true, and no checkpoint is at hand ({why}). Put a model's folder into one that --models names "
            "(hf download NAME --local-dir FOLDER/NAME on a machine that reaches the hub), or leave `pretrained` out."
        )
    words = bool(targets) and written(targets)
    learners = {n: one.on(free[n].about.features[0]) for n, one in found.items() if free[n].about.learner}
    frozen = {name: one.grid if words else one.frozen for name, one in found.items() if name not in learners}
    return Towers(
        searches,
        {name: _reading(name, schema) for name in frozen},
        {_reading(n, schema): processor_spec(free[n], spec, {}) for n, spec in frozen.items()},
        {**frozen, **learners},
        {name: found[name].aware for name in frozen} if config.target_aware and not words else {},
    )


def _reading(stream: str, schema: Schema) -> str:
    """What the dataset calls a stream as its tower reads it: no field's name."""
    name = f"{stream} tower"
    while name in schema.fields:
        name += "'"
    return name


def features_by_formula(
    stream: str, kind: str, encoder: Spec, config: Config, *, written: bool = False
) -> tuple[Spec, ...]:
    """A stream's encoders that are fitted in one go: those of its kind, where the user named none.

    Where all answers are `written`, learners have nothing to say, and there is none.
    """
    if fitted_in_one_go(encoder):
        return (encoder,)
    if written or stream in config.encoders or kind in config.encoders or config.encodings == "trained":
        return ()
    return tuple(n if fitted_in_one_go(n) else {"name": "scored", "of": n} for n in KINDS[kind].features)


def encoder_of(stream: str, kind: str, config: Config) -> Spec:
    """The encoder of a stream: the one that was asked for, or its kind's. Raises `BadData` where there is none."""
    spec = config.encoders.get(stream, config.encoders.get(kind)) or KINDS[kind].encoder
    if not spec:
        raise BadData(f"The stream {stream!r} is of the kind {kind!r}, which names no encoder; name one in encoders.")
    ENCODERS.resolve(spec)
    return portable(spec)
