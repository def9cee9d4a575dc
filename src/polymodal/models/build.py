"""From specs to modules: the one place where widths that join two parts are known.

An answer of the family `answer` subclasses `models.base.Answer` and is built as `(widths, targets, parts, *, options)`:
the width of each stream, the targets, and `Parts`, which builds fusions, rules, heads and whole answers from specs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from polymodal.aligners import ALIGNERS
from polymodal.aligners.base import Aligner
from polymodal.core.errors import BadArgument
from polymodal.core.registry import Spec
from polymodal.core.types import Output, Target, Tokens
from polymodal.encoders import ENCODERS
from polymodal.encoders.base import Encoder
from polymodal.fusion import DECISIONS, FUSIONS, TREES
from polymodal.fusion.base import DecisionFusion, Fusion
from polymodal.fusion.boosted import Boosted, pooled_features
from polymodal.heads import HEADS
from polymodal.heads.base import Head
from polymodal.models import ANSWERS
from polymodal.models.base import Answer, Decisions, Joint
from polymodal.models.specs import listed, resolved
from polymodal.models.strategy import Strategy
from polymodal.models.towers import Towered
from polymodal.nn.layers.named import Named
from polymodal.objectives import OBJECTIVES
from polymodal.objectives.base import Objective, Setting


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
        match resolved(spec).family:
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


@dataclass(frozen=True)
class Heads:
    """Specs of heads by target name; a target not named gets the head of its kind."""

    specs: Mapping[str, Spec] = field(default_factory=dict)

    def build(self, width: int, target: Target) -> Head:
        return HEADS.build(self.specs.get(target.name, target.kind), width, target)


def build_answer(
    strategy: Strategy, widths: Mapping[str, int], targets: Sequence[Target], dim: int, heads: Heads,
    *, cost: Mapping[str, float] | None = None, budget_ms: float | None = None,
) -> Answer:  # fmt: skip
    """The trainable part of a strategy for streams of the given widths; `cost` and `budget_ms` as in `Parts`."""
    widths = {name: widths[name] for name in strategy.streams}
    if strategy.family == "trees":
        sizes = strategy.facts or {}
        built = {t.name: TREES.resolve(strategy.spec) for t in targets}
        trees = {name: cls(sizes.get(name), **options) for name, (cls, options) in built.items()}
        return Trees(trees, {t.name: heads.build(1, t) for t in targets})
    parts = Parts(dim, heads.build, cost or {}, budget_ms)
    if strategy.family == "single":
        return parts.late("late_mean", widths, targets)
    if not (strategy.towers or strategy.align):
        return parts.answer(strategy.spec, widths, targets)
    aligner: Aligner | None = ALIGNERS.build(strategy.align, widths, dim) if strategy.align else None
    met = _met(strategy, widths, dim)
    answer = parts.answer(strategy.spec, met, targets)
    return Towered(answer, widths, aligner, strategy.align_weight)


def build_objectives(
    strategy: Strategy, widths: Mapping[str, int], targets: Sequence[Target], dim: int, heads: Heads
) -> list[Objective]:
    """What a strategy is trained by besides its own loss, in the order given."""
    if strategy.objective is None:
        return []
    setting = Setting(_met(strategy, widths, dim), tuple(targets), heads.build)
    return [OBJECTIVES.build(spec, setting) for spec in listed(strategy.objective)]


def _met(strategy: Strategy, widths: Mapping[str, int], dim: int) -> dict[str, int]:
    """The streams' widths where they meet: an aligner brings all to one."""
    return {name: dim if strategy.align else widths[name] for name in strategy.streams}


class Trees(Answer):
    """Gradient-boosted trees over the streams' pooled vectors, one forest a target; fitted, not trained."""

    def __init__(self, trees: Mapping[str, Boosted], heads: Mapping[str, Head]):
        super().__init__()
        self.trees = Named(trees)
        self._heads = dict(heads)  # they decode only, and have no weights to keep

    def fit(self, streams: Mapping[str, Tokens], targets: Mapping[str, np.ndarray], seed: int) -> None:
        """Fit to the tokens of all training rows and their encoded targets [N, …]."""
        features = pooled_features(streams).numpy()
        for name, forest in self.trees.items():
            target = self._heads[name].target
            forest.fit(features, targets[name], target.kind, width=target.width, seed=seed)  # type: ignore[operator]

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        features = pooled_features(streams)
        return Output(streams, None, {n: t.scores(features) for n, t in self.trees.items()})  # type: ignore[operator]

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: self._heads[n].loss(s, targets[n]) for n, s in output.predictions.items()}

    def head(self, target: str) -> Head:
        return self._heads[target]

    def facts(self) -> dict[str, Any]:
        """The sizes of every fitted forest."""
        return {name: forest.facts() for name, forest in self.trees.items()}  # type: ignore[operator]


def build_encoder(spec: Spec, facts: Mapping[str, Any], dim: int) -> Encoder:
    """An encoder for a processor's facts."""
    return ENCODERS.build(spec, facts, dim)


def parameters(*modules: Any) -> int:
    """How many numbers the modules hold in their parameters."""
    return sum(p.numel() for m in modules for p in m.parameters())
