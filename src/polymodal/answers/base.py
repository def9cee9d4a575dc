"""What an answer of the family `answer` is built from.

Such a part subclasses `model.Answer` and is built as `(widths, targets, parts, *, options)`: the width of each stream,
the targets, and `Parts`, which builds fusions, rules, heads and whole answers from specs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from polymodal.answers import ANSWERS
from polymodal.core.errors import BadArgument, UnknownName, suggest
from polymodal.core.registry import Spec, import_path
from polymodal.core.types import Target
from polymodal.fusion import DECISIONS, FUSIONS, TREES
from polymodal.fusion.base import DecisionFusion, Fusion
from polymodal.heads.base import Head
from polymodal.model import Answer, Decisions, Joint

CATALOGUES = {"fusion": FUSIONS, "decision": DECISIONS, "answer": ANSWERS, "trees": TREES}
_BASES = {"fusion": Fusion, "decision": DecisionFusion, "answer": Answer}


@dataclass(frozen=True)
class Parts:
    """Builds the parts of an answer.

    `dim` is the width of fused tokens; `build_head(width, target)` gives the target's head. `cost` is what each stream
    takes to process and encode, in ms a row; empty where it was not measured. `budget_ms` is the most that a row may
    take, None for no limit.
    """

    dim: int
    build_head: Callable[[int, Target], Head]
    cost: Mapping[str, float] = field(default_factory=dict)
    budget_ms: float | None = None

    def fusion(self, spec: Spec, widths: Mapping[str, int]) -> Fusion:
        """A fusion of streams of these widths."""
        return FUSIONS.build(spec, widths, self.dim)

    def rule(self, spec: Spec, names: Sequence[str], target: Target) -> DecisionFusion:
        """A rule that combines the scores of the streams `names`. Raises `BadArgument` for a kind it does not know."""
        return DECISIONS.build(spec, tuple(names), target.kind, target.width)

    def head(self, width: int, target: Target) -> Head:
        """The target's head for tokens of `width`."""
        return self.build_head(width, target)

    def late(self, spec: Spec, widths: Mapping[str, int], targets: Sequence[Target]) -> Decisions:
        """A head a stream and target, and the rule that combines them."""
        rules = {t.name: self.rule(spec, tuple(widths), t) for t in targets}
        return Decisions({t.name: {n: self.head(w, t) for n, w in widths.items()} for t in targets}, rules)

    def answer(self, spec: Spec, widths: Mapping[str, int], targets: Sequence[Target]) -> Answer:
        """The whole answer that `--fusion spec` names. Raises `BadArgument` for trees, which are not trained."""
        match family_of(spec):
            case "fusion":
                fusion = self.fusion(spec, widths)
                return Joint(fusion, {t.name: self.head(fusion.dim, t) for t in targets})
            case "decision":
                return self.late(spec, widths, targets)
            case "answer":
                return ANSWERS.build(spec, widths, targets, self)
            case _:
                raise BadArgument(f"Trees cannot be part of another answer, since they are not trained; got {spec!r}.")

    def without_cost(self) -> Parts:
        """The same, of which nothing is known about costs."""
        return replace(self, cost={}, budget_ms=None)


def family_of(spec: Spec) -> str:
    """`fusion`, `decision`, `answer` or `trees`. Raises `UnknownName`, and `BadArgument` for wrong options."""
    if isinstance(spec, Mapping) and "name" not in spec:
        raise BadArgument(f"A fusion given as a dict needs the key 'name'; got {sorted(spec)}.")
    name = spec.get("name") if isinstance(spec, Mapping) else spec
    if isinstance(name, str) and ":" not in name:
        for family, catalogue in CATALOGUES.items():
            if name in catalogue:
                catalogue.resolve(spec)
                return family
        allowed = [*(part for catalogue in CATALOGUES.values() for part in catalogue), "all", "auto"]
        raise UnknownName(f"No fusion is called {name!r}.{suggest(name, allowed)}")
    cls = name if isinstance(name, type) else import_path(name) if isinstance(name, str) else type(name)
    for family, base in _BASES.items():
        if issubclass(cls, base):
            return family
    raise BadArgument(f"{cls.__name__} is neither a Fusion nor a DecisionFusion, nor an Answer.")


def reads_tokens(spec: Spec) -> bool:
    """Whether a fusion, or one anywhere within an answer, reads sequences; else pooled vectors do."""
    family = family_of(spec)
    if family == "fusion":
        return bool(FUSIONS.resolve(spec)[0].reads_tokens)  # type: ignore[attr-defined]
    return any(reads_tokens(inner) for inner in inner_specs(spec)) if family == "answer" else False


def inner_specs(spec: Spec) -> list[Spec]:
    """The specs that an answer is built from, its defaults included; none of anything else."""
    if family_of(spec) != "answer":
        return []
    cls, given = ANSWERS.resolve(spec)
    found: list[Spec] = []
    for option in cls.nested:  # type: ignore[attr-defined]
        value = given.get(option, cls.__init__.__kwdefaults__[option])  # type: ignore[misc]
        found += value if isinstance(value, list | tuple) else [value]
    return found


def kinds_of(spec: Spec) -> set[str] | None:
    """The kinds of target that a rule, or one anywhere within an answer, is defined for; None: all."""
    if family_of(spec) == "decision":
        return set(DECISIONS.resolve(spec)[0].kinds)  # type: ignore[attr-defined]
    narrowed = [kinds for inner in inner_specs(spec) if (kinds := kinds_of(inner)) is not None]
    return set.intersection(*narrowed) if narrowed else None
