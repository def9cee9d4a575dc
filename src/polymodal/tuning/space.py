"""What `tune` searches: settings by dotted names, derived from a plan and corrected by the user."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from polymodal.config import Config, Training
from polymodal.core.errors import BadArgument, PolymodalError, UnknownName, suggest
from polymodal.core.registry import Spec, label, options, plain
from polymodal.core.values import check_type
from polymodal.encoders import ENCODERS
from polymodal.experiment.plan import Plan
from polymodal.models.build import Heads, build_answer, build_objectives
from polymodal.models.specs import (
    features_of,
    fitted_in_one_go,
    listed,
    part_class,
    portable,
    processor_spec,
    resolved,
)
from polymodal.models.strategy import Strategy
from polymodal.ops import AUGMENT
from polymodal.preparation.recipe import Recipe
from polymodal.process import PROCESSORS

AUTO = "auto"  # a stream's encodings as the plan has them
TRAININGS = ("training", "encoder_training", "answer_training")
SEARCHED = ("lr", "weight_decay", "modality_dropout")  # of the answer's training
WIDTHS = ("width", "hidden")  # of encoders, which are tried at half and twice their size
SHARES = ("dropout", "drop", "noise", "jitter", "mask", "mix", "erase", "rate", "modality_dropout")  # none to half
AMOUNTS = ("amount", "most", "copies")  # of augmentations
ENCODER_LR = (5e-4, 8e-3)  # every encoder has a recipe of its own, and with it another start
BY_GRADIENT = ("fusion", "answer")


@dataclass(frozen=True)
class Setting:
    """One setting: numbers from `low` to `high`, or the `values` by what they are called.

    `start` is the default's value. It is an option of the part `part[1]` where `part[0]` chooses that.
    """

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    values: Mapping[Any, Any] = field(default_factory=dict)
    start: Any = None
    part: tuple[str, str] | None = None
    asked: bool = False  # whether the user named it

    def to_json(self) -> dict[str, Any]:
        """As a user writes it."""
        if self.values:
            return {"values": [called if value is None else plain(value) for called, value in self.values.items()]}
        return {"low": self.low, "high": self.high, **({"log": True} if self.log else {})}

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> list[Any]:
        """What is tried first whether it can be: every value, or the least and the greatest number."""
        return list(self.values) if self.values else [self.low, self.high]

    def holds(self, value: Any) -> bool:
        """Whether a value can be drawn."""
        if self.values:
            return value in list(self.values)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high  # type: ignore[operator]

    def value(self, drawn: Any) -> Any:
        """What a fit gets for what was drawn: four digits of a number."""
        if self.values:
            return self.values[drawn]
        return float(f"{drawn:.4g}") if isinstance(drawn, float) else drawn

    def suggest(self, trial: Any) -> Any:
        """What an Optuna trial says of it."""
        if self.values:
            return trial.suggest_categorical(self.name, list(self.values))
        return (trial.suggest_int if self.whole else trial.suggest_float)(self.name, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Space:
    """The settings of a search in the order in which they are drawn: which parts first, then their options."""

    plan: Plan
    settings: Mapping[str, Setting]

    @classmethod
    def of(cls, plan: Plan, given: Mapping[str, Any]) -> Space:
        """The space of a plan, with what the user says of it in `given`.

        Raises `UnknownName` for a setting that the plan has not, `BadArgument` for a range that cannot be searched.
        """
        given = dict(given)
        derive = given.pop("derive", True)
        check_type("derive of space", derive, bool)
        choices = dict(_choices(plan))
        kept: dict[str, Setting] = {}
        for name, one in choices.items():
            if given.get(name, derive) is not False:
                choices[name] = one = _chosen(plan, one, given[name]) if name in given else one
                kept |= {name: one} if len(one.values) > 1 or one.asked else {}
            elif name != "fusion":  # what the plan has there, and no options of others
                choices[name] = replace(one, values={one.start: one.values[one.start]})
        known = {option.name: option for option in _options(plan, choices)}
        if unknown := [name for name in given if name not in known and name not in choices]:
            raise UnknownName(
                f"space names {unknown[0]!r}, which is no setting here.{suggest(unknown[0], [*choices, *known])}"
            )
        for name, option in known.items():
            wanted = given.get(name, derive)
            found = None if wanted is False else _given(option, wanted) if name in given else option.derived()
            kept |= {} if found is None else {name: found}
        space = cls(plan, kept)
        for name in list(kept):
            if why := space._fault(kept[name]):
                if name in given:
                    raise BadArgument(f"space {name}: {why}")
                del kept[name]
        if not kept:
            raise BadArgument("Nothing is left to search: name settings in space, as in {dim: {values: [32, 64]}}.")
        return space

    def to_json(self) -> dict[str, Any]:
        """The space as a user writes it: given back, it is the same."""
        return {name: one.to_json() for name, one in self.settings.items()}

    def suggest(self, trial: Any) -> dict[str, Any]:
        """What an Optuna trial tries of those settings that change anything beside the parts drawn before."""
        drawn: dict[str, Any] = {}
        for name, one in self.settings.items():
            if self._matters(one, drawn):
                drawn[name] = one.suggest(trial)
        return drawn

    def start(self, fusion: str) -> dict[str, Any]:
        """What the plan is as it stands, where `fusion` is its best one: of its settings those that can be drawn."""
        drawn: dict[str, Any] = {}
        for name, one in self.settings.items():
            value = fusion if name == "fusion" else one.start
            if self._matters(one, drawn) and one.holds(value):
                drawn[name] = value
        return drawn

    def options(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a fit that the values `drawn` stand for."""
        config = self.plan.config
        plain = {name: self.settings[name].value(value) for name, value in drawn.items()}
        changes: dict[str, Any] = {name: plain[name] for name in ("dim", "align_weight") if name in plain}
        for name in TRAININGS:
            own = {n.partition(".")[2]: value for n, value in plain.items() if n.startswith(f"{name}.")}
            if own:
                changes[name] = {**getattr(config, name), **own}
        for stream, spec in self._encoders(drawn).items():
            own = self._own(f"encoders.{stream}", spec, drawn)
            if own or f"encoders.{stream}" in drawn:
                changes["encoders"] = {**changes.get("encoders", config.encoders), stream: _with(spec, own)}
        if fusions := self._fusions(drawn):
            changes["fusion"] = [_with(spec, self._own("fusion", spec, drawn)) for spec in fusions]
        for root, specs in (("objective", _objectives(config)), ("augment", _steps(config))):
            if specs:
                changes[root] = [_with(spec, self._own(root, spec, drawn)) for spec in specs]
        return changes

    def trained(self, drawn: Mapping[str, Any], found: tuple[Strategy, ...]) -> tuple[Strategy, ...]:
        """Of a trial's strategies those that it is about: the fusion that was drawn, in every way it is trained."""
        if "fusion" not in drawn:
            return found
        names = {drawn["fusion"]} if self._alone(drawn) else {label(spec) for spec in self.options(drawn)["fusion"]}
        return tuple(strategy for strategy in found if {strategy.fusion, strategy.name} & names)

    def _alone(self, drawn: Mapping[str, Any]) -> str:
        """The stream that answers alone, if one was drawn."""
        return "" if drawn.get("fusion") is None else _singles(self.plan).get(drawn["fusion"], "")

    def _own(self, root: str, spec: Spec, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The options drawn for the part `spec` of `root`."""
        mine = [s for n in drawn if (s := self.settings[n]).part == (root, _called(spec))]
        return {s.name.rpartition(".")[2]: s.value(drawn[s.name]) for s in mine}

    def _fusions(self, drawn: Mapping[str, Any]) -> list[Spec]:
        """The fusions that are trained: the one drawn, none where a stream answers alone, or all of the plan."""
        if self._alone(drawn):
            return []
        if "fusion" in drawn:
            return [self.settings["fusion"].values[drawn["fusion"]]]
        return _fusions(self.plan)

    def _encoders(self, drawn: Mapping[str, Any]) -> dict[str, Spec]:
        """The encoders of streams that have one by its name; a stream's own panel has none."""
        found = {}
        alone = self._alone(drawn)
        for stream in (alone,) if alone else self.plan.streams:
            panel = _panel(self.plan, stream)
            if (name := f"encoders.{stream}") in drawn:
                found[stream] = self.settings[name].values[drawn[name]]
            elif len(panel) == 1:
                found[stream] = panel[0]
        return {stream: spec for stream, spec in found.items() if spec is not None}

    def _matters(self, one: Setting, drawn: Mapping[str, Any]) -> bool:
        """Whether a setting changes anything beside the parts that were drawn."""
        families = {resolved(spec).family for spec in self._fusions(drawn)}
        encoders = self._encoders(drawn)
        learning = any(not fitted_in_one_go(spec) for spec in encoders.values())
        root, _, stream = one.name.partition(".")
        if root == "encoders" and not one.part:
            return self._alone(drawn) in ("", stream)
        if one.part and root in ("fusion", "encoders"):
            used = self._fusions(drawn) if root == "fusion" else [encoders.get(one.part[0].partition(".")[2])]
            return any(spec is not None and _called(spec) == one.part[1] for spec in used)
        if root == "encoder_training":
            return learning or (one.asked and bool(self.plan.trained))
        if root in ("objective", "align_weight"):
            return bool(families & {*BY_GRADIENT})
        if root == "answer_training":
            return learning or bool(families & {*BY_GRADIENT})
        return root != "dim" or learning or bool(families - {"decision"})

    def _fault(self, one: Setting) -> str:
        """Why an end of a setting cannot be used, if one cannot; encoders, which ask for facts of cells, go unbuilt."""
        for value in one.ends:
            drawn: dict[str, Any] = {one.name: value}
            choice = self.settings.get(one.part[0]) if one.part else None
            if choice is not None and one.part is not None:
                drawn[choice.name] = next(n for n, s in choice.values.items() if s and _called(s) == one.part[1])
            try:
                changes = self.options(drawn)
                config = replace(self.plan.config, **changes)
                if one.name.partition(".")[0] in ("fusion", "objective", "dim"):
                    _build(self.plan, config, changes.get("fusion", ()))
                elif one.name.startswith("augment."):
                    for step in _steps(config):
                        AUGMENT.build(step)
            except PolymodalError as error:
                return str(error)
        return ""


@dataclass(frozen=True)
class Option:
    """An option that can be searched: of what type its values are, what it starts from, whether it is searched unasked,
    and by what values where its part says so."""

    name: str
    hint: Any
    start: Any = None
    part: tuple[str, str] | None = None
    unasked: bool = True
    grid: tuple[Any, ...] = ()

    def derived(self) -> Setting | None:
        """What is tried of it unasked; None for nothing."""
        key, start = self.name.rpartition(".")[2], self.start
        rest: dict[str, Any] = {"start": start, "part": self.part}
        if not self.unasked:
            return None
        if self.name == "encoder_training.lr":
            return Setting(self.name, *ENCODER_LR, log=True, **rest)
        if self.grid == (0.0, 1.0):
            return Setting(self.name, 0.0, 1.0, **rest)
        if self.grid:
            return Setting(self.name, values={str(value): value for value in self.grid}, **rest)
        if isinstance(start, bool):
            return Setting(self.name, values={True: True, False: False}, **rest)
        if key in SHARES and isinstance(start, int | float):
            return Setting(self.name, 0.0, 0.5, **rest)
        if isinstance(start, int) and start > 0:
            return Setting(self.name, values={n: n for n in sorted({max(1, start // 2), start, 2 * start})}, **rest)
        if isinstance(start, float) and start > 0:  # a share stays one
            most = min(start * 4, (1 + start) / 2) if start < 1 else start * 4
            return Setting(self.name, start / 4, most, log=True, **rest)
        return None


def _choices(plan: Plan) -> Iterator[tuple[str, Setting]]:
    """Which parts can be chosen: fusions, or a stream alone; then encoders a stream."""
    if found := _fusions(plan):
        alone: dict[str, Spec | None] = dict.fromkeys(_singles(plan))
        yield "fusion", Setting("fusion", values={**{label(spec): spec for spec in found}, **alone})
    for stream, one in plan.schema.fields.items():
        panel, features = _panel(plan, stream), one.about.features
        values: dict[str, Spec | None] = {_called(panel[0]): panel[0]} if len(panel) == 1 else {AUTO: None}
        if not {stream, one.kind} & {*plan.config.encoders}:
            if plan.config.encodings != "trained":
                values |= {n: n if fitted_in_one_go(n) else {"name": "scored", "of": n} for n in features}
            if plan.config.encodings != "fitted":
                values |= {n: n for n in ENCODERS if n not in (*features, "scored", "beside") and _reads(n, one.kind)}
        yield f"encoders.{stream}", Setting(f"encoders.{stream}", values=values, start=next(iter(values)))


def _options(plan: Plan, choices: Mapping[str, Setting]) -> Iterator[Option]:
    """Every option that can be searched, of the parts that can be chosen too."""
    config, hints = plan.config, typing.get_type_hints(Training)
    yield Option("dim", int, config.dim)
    if config.align is not None:
        yield Option("align_weight", float, config.align_weight)
    for name in TRAININGS:
        held = {**config.training, **getattr(config, name)}
        for one in fields(Training):
            start = held.get(one.name, None if name == "encoder_training" else one.default)
            unasked = name == "answer_training" and one.name in SEARCHED
            learning = name == "encoder_training" and one.name == "lr" and _learns(plan, choices)
            yield Option(f"{name}.{one.name}", hints[one.name], start, unasked=unasked or learning)
    for stream in plan.streams:
        root = f"encoders.{stream}"
        for spec in {_called(spec): spec for spec in choices[root].values.values() if spec is not None}.values():
            searched = () if fitted_in_one_go(spec) else (*WIDTHS, *SHARES)
            yield from _of_part(root, features_of(spec), searched)
    for spec in filter(None, choices["fusion"].values.values() if "fusion" in choices else ()):
        grid = getattr(part_class(spec), "cv_grid", None)
        yield from _of_part("fusion", spec, None, {} if grid is None else _grid(grid(plan.streams), plan.streams))
    for spec in _objectives(config):
        yield from _of_part("objective", spec, None)
    for spec in _steps(config):
        if _called(spec) in AUGMENT:
            yield from _of_part("augment", spec, AMOUNTS, cls=AUGMENT.load(_called(spec)))


def _of_part(
    root: str, spec: Spec, searched: tuple[str, ...] | None, grid: Mapping[str, tuple[Any, ...]] | None = None,
    cls: type | None = None,
) -> Iterator[Option]:  # fmt: skip
    """The options of a part; `searched` are those that are searched unasked, None all."""
    cls, name = cls or part_class(spec), _called(spec)
    hints = typing.get_type_hints(cls.__init__)  # type: ignore[misc]
    for key, start in _defaults(spec, cls).items():
        unasked = searched is None or key in searched
        own = (grid or {}).get(key, ())
        yield Option(f"{root}.{name}.{key}", hints.get(key, Any), start, (root, name), unasked, own)


def _defaults(spec: Spec, cls: type | None = None) -> dict[str, Any]:
    """What the options of a part are."""
    given = dict(spec) if isinstance(spec, Mapping) else {}
    return {name: given.get(name, one.default) for name, one in options(cls or part_class(spec)).items()}


def _grid(found: list[dict[str, Any]], streams: tuple[str, ...]) -> dict[str, tuple[Any, ...]]:
    """What a part says that a cross-validation should try; the weight of the first of two streams is a number."""
    grid = {name: tuple(one[name] for one in found) for name in found[0]}
    return {n: (0.0, 1.0) if n == "alpha" and len(streams) == 2 else each for n, each in grid.items()}


def _given(option: Option, given: Any) -> Setting:
    """What the user says of an option. Raises `BadArgument` for what is no range, or not of its type."""
    what = f"space {option.name}"
    rest: dict[str, Any] = {"start": option.start, "part": option.part, "asked": True}
    if not isinstance(given, Mapping) or not ({*given} <= {"low", "high", "log"} or {*given} == {"values"}):
        raise BadArgument(f"{what} takes {{low, high, log}}, {{values: […]}} or false; got {given!r}.")
    if "values" in given:
        values = given["values"]
        if not isinstance(values, list | tuple) or not values:
            raise BadArgument(f"{what}: values is a list of at least one value; got {values!r}.")
        for value in values:
            check_type(what, value, option.hint)
        called = {value if isinstance(value, str | int | float | bool) else str(value): value for value in values}
        return Setting(option.name, values=called, **rest)
    low: Any = given.get("low")
    high: Any = given.get("high")
    log = given.get("log", False)
    for end in (low, high):
        if isinstance(end, bool) or not isinstance(end, int | float):
            raise BadArgument(f"{what} needs low and high, two numbers; got {dict(given)!r}.")
        check_type(what, end, option.hint)
    if not isinstance(log, bool):
        raise BadArgument(f"{what}: log is true or false; got {log!r}.")
    if low >= high or (log and low <= 0):
        raise BadArgument(f"{what}: low must be below high{', and above 0 with log' * log}; got {low} to {high}.")
    if option.hint is float or not (isinstance(low, int) and isinstance(high, int)):
        low, high = float(low), float(high)
    return Setting(option.name, low, high, log, **rest)


def _chosen(plan: Plan, choice: Setting, given: Any) -> Setting:
    """The parts that the user offers. Raises `UnknownName` or `BadArgument` for one that does not fit."""
    what = f"space {choice.name}"
    specs = given.get("values") if isinstance(given, Mapping) and {*given} == {"values"} else None
    if not isinstance(specs, list | tuple) or not specs:
        raise BadArgument(f"{what} takes {{values: […]}} of at least one part, or false; got {given!r}.")
    values: dict[str, Any] = {}
    for spec in specs:
        if isinstance(spec, str) and spec in choice.values and choice.values[spec] is None:
            values[spec] = None
            continue
        if choice.name == "fusion":
            resolved(spec)
        else:
            spec = choice.values.get(spec, spec) if isinstance(spec, str) else spec
            ENCODERS.resolve(spec)
            processor_spec(plan.schema.fields[choice.name.partition(".")[2]], spec, plan.config.processors)
        values[label(features_of(spec) if choice.name != "fusion" else spec)] = portable(spec)
    return Setting(choice.name, values=values, start=choice.start, asked=True)


def _build(plan: Plan, config: Config, fusions: list[Spec]) -> None:
    """Build what a trial would train, so that what cannot be is said before."""
    widths, heads = dict.fromkeys(plan.streams, config.dim), Heads(config.heads)
    for spec in fusions:
        if (part := resolved(spec)).family == "learner" or "cv" in [
            v for v in part.options.values() if isinstance(v, str)
        ]:
            continue
        one = Strategy(part.family, spec, plan.streams)
        build_answer(one, widths, plan.targets, config.dim, heads)
        if one.joint and config.objective is not None:
            with_ = Strategy(part.family, spec, plan.streams, objective=config.objective, adapters=True)
            build_objectives(with_, widths, plan.targets, config.dim, heads)


def _fusions(plan: Plan) -> list[Spec]:
    """The plan's ways to fuse, each once."""
    return list({s.fusion: s.spec for s in plan.strategies if s.family != "single"}.values())


def _singles(plan: Plan) -> dict[str, str]:
    """The plan's streams that answer alone, by what the leaderboard calls that."""
    return {s.name: s.streams[0] for s in plan.strategies if s.family == "single"}


def _objectives(config: Config) -> list[Spec]:
    return [] if config.objective is None else [portable(spec) for spec in listed(config.objective)]


def _steps(config: Config) -> list[Spec]:
    """The steps of augmentation as specs."""
    return list(Recipe.read(list(config.augment)).steps) if config.augment else []


def _panel(plan: Plan, stream: str) -> list[Spec]:
    """The encodings that the plan tries for a stream."""
    return [*plan.fitted.get(stream, ()), *([plan.encoders[stream]] if stream in plan.trained else [])]


def _learns(plan: Plan, choices: Mapping[str, Setting]) -> bool:
    """Whether an encoder that can be chosen by its name is trained by gradients."""
    every = [spec for n, one in choices.items() if n != "fusion" for spec in one.values.values() if spec is not None]
    return any(not fitted_in_one_go(spec) for spec in every)


def _reads(encoder: str, kind: str) -> bool:
    """Whether an encoder reads streams of a kind and needs no weights from elsewhere."""
    cls = ENCODERS.load(encoder)
    return not cls.pretrained and PROCESSORS.load(cls.processor).kind == kind  # type: ignore[attr-defined]


def _called(spec: Spec) -> str:
    """What a part is called, whatever its options: the encoder within, where it stands within another."""
    spec = spec["of"] if isinstance(spec, Mapping) and spec.get("name") == "scored" else spec
    return label(spec["name"] if isinstance(spec, Mapping) else spec)


def _with(spec: Spec, changes: Mapping[str, Any]) -> Spec:
    """A spec with options changed: those of the encoder within, where it stands within another."""
    if not changes:
        return spec
    if isinstance(spec, Mapping) and spec.get("name") == "scored":
        return {**spec, "of": _with(spec["of"], changes)}
    return {**(spec if isinstance(spec, Mapping) else {"name": spec}), **changes}
