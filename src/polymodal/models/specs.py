"""Specs of parts before they are built: which class, which processor feeds it, and as what JSON carries it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polymodal.aligners import ALIGNERS
from polymodal.core.errors import BadArgument, UnknownName, suggest
from polymodal.core.registry import Spec, import_part, label, options_of, plain
from polymodal.data.schema import Field
from polymodal.encoders import ENCODERS
from polymodal.encoders.scoring import ScoringEncoder
from polymodal.fusion import DECISIONS, FUSIONS
from polymodal.fusion.base import DecisionFusion, Fusion
from polymodal.learners import LEARNERS
from polymodal.models import ANSWERS
from polymodal.models.base import Answer
from polymodal.objectives import OBJECTIVES
from polymodal.process import PROCESSORS
from polymodal.targets.base import MEANINGS, Target

CATALOGUES = {"fusion": FUSIONS, "decision": DECISIONS, "answer": ANSWERS, "learner": LEARNERS}
_BASES = {"fusion": Fusion, "decision": DecisionFusion, "answer": Answer}


@dataclass(frozen=True)
class Part:
    """What a spec says of the part that answers: its `family` (`fusion`, `decision`, `answer` or `learner`), class and
    options, and the parts that an answer is built from, its defaults included."""

    family: str
    cls: Any
    options: Mapping[str, Any]
    inner: tuple[Part, ...] = ()

    @property
    def level(self) -> str:
        """The word for the leaderboard: where the streams meet."""
        return self.cls.level if self.family in ("fusion", "answer") else self.family

    @property
    def reads_tokens(self) -> bool:
        """Whether it, or a fusion anywhere within, reads sequences; else pooled vectors do."""
        own = self.family in ("fusion", "answer") and self.cls.reads_tokens
        return bool(own) or any(part.reads_tokens for part in self.inner)

    @property
    def needs(self) -> set[str] | None:
        """What a target's scores may mean for a rule, a learner, or an answer and all within; None: it needs none."""
        if self.family == "fusion":
            return None
        own = set(MEANINGS if self.family == "learner" else self.cls.needs)
        return own.intersection(*(needs for part in self.inner if (needs := part.needs) is not None))


def serves(needs: Collection[str] | None, targets: Iterable[Target]) -> bool:
    """Whether all `targets` have scores that mean what is needed, or truth of that form; None: nothing is needed."""
    return needs is None or {t.scores or t.form for t in targets} <= set(needs)


def resolved(spec: Spec) -> Part:
    """The part that `--fusion spec` names. Raises `UnknownName`; `BadArgument` for wrong options or another class."""
    if isinstance(spec, Mapping) and "name" not in spec:
        raise BadArgument(f"A fusion given as a dict needs the key 'name'; got {sorted(spec)}.")
    name = spec["name"] if isinstance(spec, Mapping) else spec
    if isinstance(name, str) and ":" not in name:
        family = next((family for family, catalogue in CATALOGUES.items() if name in catalogue), None)
        if family is None:
            allowed = [*(part for catalogue in CATALOGUES.values() for part in catalogue), "all", "auto"]
            raise UnknownName(f"No fusion is called {name!r}.{suggest(name, allowed)}")
    else:
        given = import_part(name, CATALOGUES.values()) if isinstance(name, str) else name
        named = given if isinstance(given, type) or isinstance(name, str) else type(given)
        family = next((f for f, base in _BASES.items() if isinstance(named, type) and issubclass(named, base)), None)
        if family is None:
            raise BadArgument(f"{label(name)} is neither a Fusion nor a DecisionFusion, nor an Answer.")
    instance = not isinstance(spec, str | Mapping | type)
    cls: Any
    cls, options = (type(spec), options_of(spec)) if instance else CATALOGUES[family].resolve(spec)
    if family != "answer":
        return Part(family, cls, options)
    nested = [options.get(option, cls.__init__.__kwdefaults__[option]) for option in cls.nested]
    return Part(family, cls, options, tuple(resolved(inner) for value in nested for inner in listed(value)))


def listed(spec: Spec | Sequence[Spec]) -> list[Spec]:
    """One spec or several, as a list."""
    return list(spec) if isinstance(spec, list | tuple) else [spec]


def processor_spec(field: Field, encoder: Spec, asked: Mapping[str, Spec]) -> Spec:
    """The processor's spec: asked for by stream or kind, or the one that feeds the encoder, with the field's options.

    An encoder that names the processor of another kind is fed by its own kind's where that makes the same arrays: it is
    a subclass of the other, or the encoder is the one that the kind names. Raises `BadArgument` when the encoder reads
    another kind.
    """
    given = asked.get(field.name, asked.get(field.kind))
    encoder = features_of(encoder)
    cls = part_class(encoder)
    spec = given if given is not None else getattr(cls, "processor", "") or field.about.processor
    if given is None and field.about.processor and PROCESSORS.load(spec).kind != field.kind:  # type: ignore[attr-defined]
        alike = issubclass(PROCESSORS.load(field.about.processor), PROCESSORS.load(spec))
        spec = field.about.processor if alike or cls is part_class(field.about.encoder) else spec
    options = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    if options["name"] == getattr(cls, "processor", ""):
        options = {**getattr(cls, "processor_options", {}), **options}  # how the encoder wants its arrays
    if getattr(cls, "pretrained", False) and isinstance(encoder, Mapping):
        options = {"model": encoder.get("model"), **options}  # a pretrained tower and its processor are one model
    spec = {**options, **field.processor_options}
    reads = PROCESSORS.resolve(spec)[0].kind  # type: ignore[attr-defined]
    if reads and reads != field.kind:
        raise BadArgument(
            f"{label(encoder)} reads {reads}, but the stream {field.name!r} is {field.kind}. Name another encoder, or "
            f"correct the kind in a schema, as in `kinds: {{{field.columns[0]}: {reads}}}`."
        )
    return spec


def features_of(encoder: Spec) -> Spec:
    """The encoder that says what cells must be: the first one within, where encoders stand within another."""
    within = getattr(part_class(encoder), "within", "")
    if not within or not isinstance(encoder, Mapping) or within not in encoder:
        return encoder
    return features_of(listed(encoder[within])[0])


def encoder_words(encoder: Spec) -> str:
    """An encoder in words: of options of a pretrained one the model, a folder by its name."""
    if isinstance(encoder, Mapping) and encoder.get("model"):
        return label({**encoder, "model": str(encoder["model"]).partition("@")[0].rsplit("/", 1)[-1]})
    return label(encoder)


def fitted_in_one_go(encoder: Spec) -> bool:
    """Whether no gradient reaches it: learners are fitted to fixed features."""
    return issubclass(part_class(encoder), ScoringEncoder)


def part_class(spec: Spec) -> type:
    """The class behind the spec of an encoder or of a strategy."""
    name = spec["name"] if isinstance(spec, Mapping) else spec
    if isinstance(name, type):
        return name
    catalogues = (*CATALOGUES.values(), ENCODERS, OBJECTIVES, ALIGNERS)
    for catalogue in catalogues:
        if name in catalogue:
            return catalogue.load(name)
    return import_part(str(name), catalogues)


def portable(spec: Spec) -> Spec:
    """The spec as JSON can carry it to another process: parts from outside the package by their dotted path."""
    if not isinstance(
        spec, str | Mapping | type
    ):  # an instance stands for its class and options: each seed builds anew
        spec = {"name": type(spec), **options_of(spec)}
    cls = part_class(spec)
    if cls.__module__.startswith("polymodal."):
        return plain(spec)
    path = f"{cls.__module__}:{cls.__qualname__}"
    return plain({**spec, "name": path}) if isinstance(spec, Mapping) else path
