"""Plan: what a fit would do with these data, resolved and explained before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as default
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.config import Config
from polymodal.core.errors import BadArgument, BadData, UnknownName, suggest
from polymodal.core.html import pre_html
from polymodal.core.registry import Spec, label, plain
from polymodal.core.shown import many
from polymodal.data.answers import faults, target_cells
from polymodal.data.copies import held_together, stretched
from polymodal.data.inputs import Inputs
from polymodal.data.inspection.proposals import weighty
from polymodal.data.kinds import KINDS
from polymodal.data.links import link_notes
from polymodal.data.ranked import ENTITY
from polymodal.data.schema import Schema
from polymodal.data.split import PARTS
from polymodal.data.tables.source import Table
from polymodal.data.tables.table import noted
from polymodal.experiment.contenders import Contender, check_deploy, contenders_of
from polymodal.experiment.encodings import Towers, encoder_of, features_by_formula, find_towers
from polymodal.experiment.folds import MANY, Folds, parts_of_fitted, split_by
from polymodal.experiment.outcome import judges, order_notes
from polymodal.experiment.strategies import (
    PRODUCT,
    check,
    check_aligner,
    compared,
    fused,
    settled,
    strategies,
    together,
    varied,
)  # fmt: skip
from polymodal.heads import HEADS
from polymodal.inference.start import Start
from polymodal.metrics.build import target_metrics
from polymodal.models.build import Heads, build_answer
from polymodal.models.specs import (
    encoder_words,
    features_of,
    fitted_in_one_go,
    listed,
    part_class,
    portable,
    processor_spec,
)  # fmt: skip
from polymodal.models.strategy import Strategy
from polymodal.targets import TARGETS
from polymodal.targets.base import Target, asked, fitted, written
from polymodal.targets.columns import answer_columns, renamed
from polymodal.targets.real import RealTarget

GAPS = 0.2  # of the training rows that lack a stream and have another: so many are worth a word


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """Everything a fit needs, resolved. `split` [N] is 0 train, 1 valid, 2 test; `fold` [N] the cross-fitting part."""

    table: Table
    schema: Schema
    targets: tuple[Target, ...]
    truth: Mapping[str, np.ndarray]
    split: np.ndarray
    fold: np.ndarray
    processors: Mapping[str, Spec]
    encoders: Mapping[str, Spec]
    strategies: tuple[Strategy, ...]
    config: Config
    joint: tuple[Strategy, ...] = ()  # who may be trained with their encoders from the start
    fitted: Mapping[str, tuple[Spec, ...]] = default(default_factory=dict)  # a stream's encoders without gradient
    towers: Towers = default(default_factory=Towers)  # pretrained ones, beside the others
    part: np.ndarray = default(default_factory=lambda: np.zeros(0, np.int8))  # [N] by which these are cross-fitted
    bag: np.ndarray = default(default_factory=lambda: np.zeros(0, np.int8))  # [N] 1 … K: evidence by folds; 0: none
    compared: tuple[Strategy, ...] = ()  # objectives on a fusion; those of the best one where none is named
    metrics: Mapping[str, Sequence[Spec]] = default(default_factory=dict)  # of each target, where any was asked for
    sources: Mapping[str, str] = default(default_factory=dict)
    digests: Mapping[str, str] = default(default_factory=dict)  # of the sources that are files
    notes: tuple[str, ...] = ()
    start: Start | None = None  # where encoders from scratch start from …
    started: tuple[str, ...] = ()  # … those of these streams
    contenders: tuple[Contender, ...] = ()  # pretrained models as they are, beside the strategies

    def __repr__(self) -> str:
        counts = "/".join(str(len(self.rows(part))) for part in PARTS)
        what = ", ".join(target.name for target in self.targets)
        compared = many(len(self.strategies), "strategy", "strategies")
        return f"Plan({what} from {', '.join(self.streams)}: {compared}, {counts} rows)"

    def _repr_html_(self) -> str:
        return pre_html(self.text())

    @property
    def streams(self) -> tuple[str, ...]:
        return tuple(self.schema.fields)

    @property
    def linked(self) -> tuple[str, ...]:
        """The streams that are links between rows."""
        return tuple(name for name, field in self.schema.fields.items() if field.about.reads_neighbours)

    @property
    def trained(self) -> tuple[str, ...]:
        """The streams whose encoder is trained by gradients on its own, or is a frozen one as it is."""
        kinds = {name: self.schema.fields[name].about for name in self.streams}
        free = [name for name in self.streams if not fitted_in_one_go(self.encoders[name])]
        tried = self.config.encodings != "fitted" and not (written(self.targets) or self.drawn)
        return tuple(name for name in free if (tried and kinds[name].tried) or not self.fitted.get(name))

    @property
    def drawn(self) -> bool:
        """Whether answers are drawn at random: what costs many trainings or drawings is then left out unless asked."""
        return any(target.drawn for target in self.targets)

    @property
    def unlinked(self) -> tuple[str, ...]:
        """The other streams: what linked rows read of one another."""
        return tuple(name for name in self.streams if name not in self.linked)

    def rows(self, part: str) -> np.ndarray:
        """Row numbers of `train`, `valid` or `test`."""
        return np.flatnonzero(self.split == PARTS.index(part))

    @property
    def bagged(self) -> int:
        """The number of parts by which strategies are trained and judged; 0 where validation rows judge."""
        return int(self.bag.max(initial=0))

    @property
    def parts(self) -> int:
        """Into how many parts training rows are cut for encoders trained by gradients; 0: into none."""
        return int(self.fold.max()) + 1 if self.fold.any() else 0

    @property
    def seen(self) -> np.ndarray:
        """[N] bool: the rows that encoders fitted in one go learn from."""
        return self.bag > 0 if self.bagged else self.split == 0

    def evidence(self) -> np.ndarray:
        """The rows by whose answers strategies are chosen."""
        return np.flatnonzero(self.bag > 0) if self.bagged else self.rows("valid")

    @property
    def trainings(self) -> range:
        """The seeds with which every strategy is trained; by folds, one a part."""
        return range(self.config.seed, self.config.seed + (self.bagged or self.config.seeds))

    def groups(self) -> list[Any] | None:
        """What rows share that are no independent evidence: the group within which they are put in order, their group,
        or all their cells; None: nothing."""
        return list(self.schema.rank.values(self.table)) if self.schema.rank else held_together(self.table, self.schema)

    @property
    def encoder_fits(self) -> int:
        """Encoders to fit or train, cross-fitting included (an upper bound: what is behind goes no further)."""
        trained = len(self.trained) + len(self.towers.aware)
        beside = len({*self.started} & {*self.trained})  # tried from scratch
        return sum(map(len, self.fitted.values())) + trained * (1 + self.parts) + beside

    def without_tower(self, stream: str, why: str) -> Plan:
        """The same plan, where `stream` has no pretrained tower."""
        left = tuple(s for s in self.fitted[stream] if s != self.towers.frozen[stream])
        return replace(self, fitted={**self.fitted, stream: left}, towers=self.towers.without(stream, why))

    def to_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {
            "sources": dict(self.sources),
            "rows": {part: len(self.rows(part)) for part in PARTS},
            "targets": [t.to_json() for t in self.targets],
            "fields": {
                n: {"kind": f.kind, "columns": list(f.columns), "why": f.why} for n, f in self.schema.fields.items()
            },
            "ignored": dict(self.schema.ignored),
            "processors": plain(dict(self.processors)),
            "encoders": dict(self.encoders),
            "fitted": {name: list(specs) for name, specs in self.fitted.items()},
            "towers": self.towers.lines(),
            **({"start": [*self.starting, self.start.mark]} if self.start else {}),
            "strategies": [s.to_json() for s in self.strategies],
            "metrics": {name: list(specs) for name, specs in self.metrics.items()},
            "config": self.config.to_dict(),
            "notes": list(self.notes),
        }

    @property
    def starting(self) -> list[str]:
        """Which encoders start from where; empty where all are from scratch."""
        if self.start is None:
            return []
        alone = [name for name in self.started if name in self.trained]
        said = self.start.lines(alone, self.trained) if alone else []
        if rest := ", ".join(name for name in self.started if name not in alone):
            how = "starts from it only where it is trained together with an answer" if self.joint else "is not trained"
            said.append(f"Of {self.start.told}, {rest} is not used alone: its encoder from scratch {how}.")
        return said

    def _encoding(self) -> list[str]:
        """What stage 1 does, in words."""
        said = []
        if any(self.fitted.values()):
            count = parts_of_fitted(int(self.seen.sum()))
            learned = f"fit learners to features in {count} parts of the training rows"
            said.append("encode by frozen encoders" if written(self.targets) else learned)
        if self.trained:
            parts = f" on all training rows and on {self.parts} parts of them" if self.parts else ""
            said.append(f"train encoders{parts}")
        return said

    def text(self) -> str:
        """The plan in words."""
        counts = ", ".join(f"{len(self.rows(part))} {part}" for part in PARTS)
        lines = [f"Rows: {counts}."]
        for target in self.targets:
            first, *others = [m.name for m in target_metrics(self.metrics.get(target.name, ()), target)]
            beside = f"; beside it, {', '.join(others)}" if others else ""
            lines.append(f"Target: {target.name} ({target.summary}), judged by {first}{beside}.")
        lines.append("Streams:")
        for name, f in self.schema.fields.items():
            every = [features_of(spec) for spec in self.fitted.get(name, ())]
            every += [self.encoders[name]] if name in self.trained else []
            every += [self.towers.aware[name]] if name in self.towers.aware else []
            encoder = " or ".join(dict.fromkeys(map(encoder_words, every)))
            lines.append(f"  {name}: {f.kind}, encoded by {encoder}. {f.why}")
        lines += [f"Pretrained: {line}" for line in self.towers.lines()]
        if self.starting:
            tried = "Each is tried beside one from scratch, on one part for half the epochs; the better goes on."
            lines.append(f"Start: {' '.join(self.starting)} {tried}")
        for column, why in self.schema.ignored.items():
            lines.append(f"  not used: {column}. {why}")
        c = self.config
        lines.append(f"Stage 1: {', '.join(self._encoding())}: at most {self.encoder_fits} fits, tokens stored.")
        times = many(self.bagged, "part") if self.bagged else many(c.seeds, "seed")
        lines.append(f"Stage 2: {len(self.strategies)} strategies x {times} on stored tokens:")
        words = {"single": "single modalities", "fusion": "fusions", "decision": "late fusions", "answer": "answers",
                 "learner": "learners"}  # fmt: skip
        for family, word in words.items():
            if names := [s.name for s in self.strategies if s.family == family]:
                lines.append(f"  {word}: {', '.join(names)}")
        if self.compared:
            rows = dict.fromkeys(s.variant for s in self.compared)
            where = ", ".join(map(label, listed(c.objectives_on)))
            lines.append(f"  objectives, on {where}, each with an adapter a stream: {', '.join(rows)}")
        if self.joint:
            when = " where stage 2 says that there is more to learn so" if c.joint == "auto" else ""
            named = [f"the best fusion by validation, {PRODUCT}", *(s.fusion for s in self.joint if fused(s))]
            named = named if c.joint_on == "auto" else listed(c.joint_on)
            which = ", ".join([*dict.fromkeys([*named, "concat"]), "every single modality"])
            lines.append(f"Stage 3: train encoders and answer together{when}: {which}.")
        asked = f"{len(self.evidence()) + len(self.rows('test')):,} rows of choice and of the test"
        lines += [f"Beside them, for the {asked}: {one.line}." for one in self.contenders]
        if c.finetune:
            lines.append("Last: fine-tune the best fusion and its encoders together.")
        by = "validation score"
        if self.bagged:
            by = f"the answers to {len(self.evidence())} training and validation rows by models that did not see them"
        lines.append(f"Choice by {by}; the test rows are read once, at the end.")
        return "\n".join([*lines, *(f"Note: {n}" for n in self.notes)])


def plan(
    data: Any,
    target: str | Sequence[str] | None = None,
    *,
    valid: Any = None,
    test: Any = None,
    schema: Schema | str | Path | Mapping[str, Any] | None = None,
    config: Config | str | Path | Mapping[str, Any] | None = None,
    **options: Any,
) -> Plan:
    """Resolve data and options into a `Plan`; no media is opened but the pictures of a target, and no model trained.

    `data`, `valid`, `test`: whatever `read_table` reads. `schema`: a `Schema`, a YAML file or a dict that corrects what
    is inferred. `options`: the fields of `Config`; `config`: a `Config`, a YAML file or a dict of them. Raises
    `BadData`, `BadArgument` or `UnknownName`, naming what to do.
    """
    config = Config.given(config, options)
    with config.fetching():
        given = Inputs.read(data, valid, test, target=target, schema=schema)
    resolved = given.schema(target, schema, rank=config.rank)
    table = read = given.joined(resolved)
    if not resolved.targets:
        raise BadData(f"No target: name the column to predict (target=...). Columns: {', '.join(table.columns)}.")
    if not resolved.fields:
        raise BadData("No column can be used as a stream; `polymodal inspect` says why. Name fields in a schema.")
    _check_names(config, resolved)
    split, notes = given.split(
        table, resolved, config.fractions, config.seed, lambda rows: split_by(table.select(rows), resolved)
    )
    targets, truth, table = _targets(table, resolved, split, notes)
    config = replace(config, heads={**{t.name: t.proposed for t in targets if t.proposed != t.head}, **config.heads})
    objectives = _objectives(config, targets, notes)
    table, split, truth = _labelled(table, targets, split, truth, notes)
    if empty := [part for i, part in enumerate(PARTS) if not (split == i).any()]:
        raise BadData(
            f"No row is left for {' and '.join(empty)}, of {len(table)}: train, valid and test must share the target's "
            "values. Give more rows, another target, or --valid and --test."
        )
    notes += renamed(answer_columns(targets, [c for c in (resolved.id, *resolved.keys) if c]))
    notes += given.lacking(resolved)
    metrics = judges(config.metric, targets, truth, split, notes, resolved.ranked(table))
    notes += order_notes(targets[0], resolved)
    notes += _endless(targets, truth, split)
    encoders = {name: encoder_of(name, f.kind, config) for name, f in resolved.fields.items()}
    words = written(targets)
    one_go = {
        name: features_by_formula(name, f.kind, encoders[name], config, written=words)
        for name, f in resolved.fields.items()
    }
    reads = {name: (*one_go[name], encoder)[0] for name, encoder in encoders.items()}  # who says what cells must be
    processors = {n: processor_spec(f, reads[n], config.processors) for n, f in resolved.fields.items()}
    own = [part_class(spec).__module__ for spec in encoders.values()]  # named here, so trusted there
    start = Start.load(config.start, trust=own) if config.start else None
    # Features by formula read what their own processor makes; an encoder alone reads what the start was made with.
    fixed = {name: processors[name] for name in processors if one_go[name]}
    started = start.fitting(resolved, encoders, config.dim, {**config.processors, **fixed}) if start else ()
    processors |= {name: start.specs[name] for name in started} if start else {}
    towers = find_towers(resolved, table, split, config, targets)
    one_go |= {name: (*one_go[name], spec) for name, spec in towers.frozen.items()}
    entities = [name for name, f in resolved.fields.items() if f.kind == ENTITY]
    candidates = strategies(tuple(resolved.fields), config.fusion, targets, notes, entities=entities)
    objective = None if config.objective is None else [portable(spec) for spec in listed(config.objective)]
    align = None if config.align is None else portable(config.align)
    candidates = varied(candidates, objective, align, config.align_weight)
    linked = any(f.about.reads_neighbours for f in resolved.fields.values())
    drawn = any(target.drawn for target in targets)
    joint = together(candidates, config.joint_on) if config.joint and not linked else ()
    if drawn:
        joint = joint if config.joint is True else ()  # "auto" would need drawings to say
        held = f"{int((split > 0).sum()):,} validation and test rows"
        notes.append(f"Every strategy draws for {held} once it is trained; where that takes long, give fewer of them.")
    apart = linked or bool(objectives) or not all(target.scores for target in targets)
    strata = targets[0].strata(truth[targets[0].name])
    folds = Folds(strata, held_together(table, resolved), config.seed, resolved.time is not None)
    if folds.groups and not resolved.group:
        shared = " or overlap them within one recording" if stretched(resolved) else ""
        notes.append(f"{folds.tied()} rows are copies of others, cell by cell{shared}: such rows stay in one part.")
    bag = folds.evidence(split, config, apart)
    learned = (bag > 0) if bag.any() else split == 0
    finer = folds.crossfit(learned, parts_of_fitted(int(learned.sum())))
    contenders = contenders_of(config.contenders, table, resolved, targets)
    check_deploy(config.deploy, [s.name for s in (*candidates, *joint)], contenders)
    _check_options(candidates, targets, config)
    return Plan(
        table=table,
        schema=resolved,
        targets=targets,
        truth=truth,
        split=split,
        fold=folds.crossfit(split == 0, 0 if drawn else config.crossfit),
        part=np.maximum(bag - 1, 0) if bag.any() and learned.sum() < MANY else finer,
        fitted=one_go,
        bag=bag,
        towers=towers,
        processors={**processors, **towers.processors},
        encoders=encoders,
        strategies=candidates,
        joint=joint,
        config=config,
        compared=compared(candidates, objectives, listed(config.objectives_on)),
        metrics=metrics,
        sources=given.told(),
        digests=given.digests(),
        start=start,
        started=started,
        contenders=contenders,
        notes=(
            *noted(read),
            *notes,
            *_link_notes(table, resolved, config),
            *_gaps(table.select(split == 0), resolved, candidates),
            *resolved.warnings,
            *map(str, weighty(read, resolved, given.parts(resolved))),
        ),
    )


def _check_options(found: Sequence[Strategy], targets: Sequence[Target], config: Config) -> None:
    """Build what the user gave options for, so that a wrong one is said now and not in the middle of the training; a
    head once, since it may be large."""
    given = [target for target in targets if isinstance(config.heads.get(target.name), Mapping)]
    built = {target.name: Heads(config.heads).build(config.dim, target) for target in given}
    heads = Heads({**config.heads, **built})
    for strategy in found:
        spec = strategy.spec
        if isinstance(spec, Mapping) and strategy.family != "learner" and "cv" not in map(str, spec.values()):
            widths = dict.fromkeys(strategy.streams, config.dim)
            build_answer(strategy, widths, targets, config.dim, heads)


def _link_notes(table: Table, schema: Schema, config: Config) -> list[str]:
    """What is wrong with edge lists, and whose features are read over them.

    Raises `BadData` for an edge list that cannot be read or where rows have nothing else to be known by, `BadArgument`
    for encoders trained with the answer, which would leave the features behind that neighbours are known by.
    """
    linked = [field for field in schema.fields.values() if field.about.reads_neighbours]
    if not linked:
        return []
    if len(linked) == len(schema.fields):
        raise BadData("Links read the features of the linked rows: the table needs another field beside them.")
    if asked := [name for name in ("finetune", "joint") if getattr(config, name) is True]:
        raise BadArgument(
            f"{asked[0]} does not go with links: neighbours are known by features from before it. Leave out one."
        )
    return [note for field in linked for note in link_notes(table, field.name, field.options)]


def _gaps(train: Table, schema: Schema, found: Sequence[Strategy]) -> list[str]:
    """Whether many training rows lack a stream beside another, by cells that are empty; no cell is opened."""
    each = [[train.column(c) for c in f.columns] for f in schema.fields.values() if not f.about.reads_neighbours]
    empty = np.array(
        [[all(column[row] is None for column in columns) for row in range(len(train))] for columns in each]
    )
    lacking = int((empty.any(0) & ~empty.all(0)).sum()) if len(each) > 1 else 0
    tried = any(strategy.level == "imputed" for strategy in found)
    if lacking < GAPS * len(train) or tried:
        return []
    how = "Masks stand for what is absent; the fusion `imputed`, which fills it in, is compared where it is named."
    return [f"{lacking} of {len(train)} training rows lack a stream and have another. {how}"]


def _check_names(config: Config, schema: Schema) -> None:
    """Every stream, kind and target that the options name must exist, and a head must be able to answer its target."""
    streams = [*schema.fields, *KINDS.of(trained=True)]
    for option, allowed, what in (
        ("encoders", streams, "neither a stream nor a kind"),
        ("processors", streams, "neither a stream nor a kind"),
        ("heads", list(schema.targets), "no target"),
    ):
        for name in getattr(config, option):
            if name not in allowed:
                raise UnknownName(f"{option} names {name!r}, which is {what}.{suggest(name, allowed)}")
    for name, spec in config.heads.items():
        target, answers = asked(name, schema.targets[name]), HEADS.resolve(spec)[0].answers  # type: ignore[attr-defined]
        if not isinstance(target, answers):
            kinds = " and ".join(TARGETS.name_of(cls) for cls in answers)
            raise BadArgument(f"The head {label(spec)} answers {kinds}; the target {name!r} is {target.kind}.")


def _targets(
    table: Table, schema: Schema, split: np.ndarray, notes: list[str]
) -> tuple[tuple[Target, ...], dict[str, np.ndarray], Table]:
    """Targets learned from the training rows, their encoded cells, and the table with cells that cannot be opened among
    its problems."""
    targets, truth = [], {}
    train = np.flatnonzero(split == 0)
    for name, kind in schema.targets.items():
        values = target_cells(table, asked(name, kind))
        target = fitted(name, kind, [values[i] for i in train])
        targets.append(target)
        if strange := target.unseen(values):
            shown = ", ".join(f"{value!r} ({count})" for value, count in list(strange.items())[:5])
            notes.append(f"{name}: {target.unseen_are}: {shown}.")
        notes += target.remarks(values)
        truth[name] = target.encode(values)
        table = replace(table, problems=[*table.problems, *faults(table, target, values)])
    return tuple(targets), truth, table


def _labelled(
    table: Table, targets: Sequence[Target], split: np.ndarray, truth: Mapping[str, np.ndarray], notes: list[str]
) -> tuple[Table, np.ndarray, dict[str, np.ndarray]]:
    """Rows without any target cannot be learned from or judged: they are left out, and counted in a note."""
    known = np.any([target.known(truth[target.name]) for target in targets], axis=0)
    if known.all():
        return table, split, dict(truth)
    notes.append(f"Left out for want of a usable target: {int((~known).sum())} of {len(known)} rows.")
    return table.select(known), split[known], {n: v[known] for n, v in truth.items()}


def _endless(targets: Sequence[Target], truth: Mapping[str, np.ndarray], split: np.ndarray) -> list[str]:
    """What the validation rows are too few to promise."""
    numbers = {t.name: (t, truth[t.name][split == 1]) for t in targets if isinstance(t, RealTarget)}
    return [
        f"{name}: {len(rows)} validation rows are too few for an interval: its ends are as wide as can be. Give more."
        for name, (target, rows) in numbers.items()
        if target.radius(np.zeros((len(rows), target.width)), rows) == float("inf")
    ]


def _objectives(config: Config, targets: Sequence[Target], notes: list[str]) -> list[Spec | Sequence[Spec]]:
    """The objectives to compare, as JSON can carry them. Raises for a name or option that the catalogues lack."""
    if config.objective is not None:
        check(config.objective, targets)
    if config.align is not None:
        check_aligner(config.align)
    shown = settled(config.objectives, targets, notes)
    return [[portable(s) for s in o] if isinstance(o, list | tuple) else portable(o) for o in shown]
