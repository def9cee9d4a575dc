"""From specs to modules: the one place where widths that join two parts are known.

An answer of the family `answer` subclasses `models.base.Answer` and is built as `(widths, targets, parts, *, options)`:
the width of each stream, the targets, and `Parts`, which builds fusions, rules, heads and whole answers from specs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.aligners import ALIGNERS
from polymodal.aligners.base import Aligner
from polymodal.core.errors import BadArgument
from polymodal.core.registry import Spec
from polymodal.core.types import Output, Tokens, presence
from polymodal.encoders import ENCODERS
from polymodal.encoders.base import Encoder
from polymodal.encoders.scoring import Said
from polymodal.fusion import DECISIONS, FUSIONS
from polymodal.fusion.base import DecisionFusion, Fusion
from polymodal.heads import HEADS
from polymodal.heads.base import Head, ScoringHead
from polymodal.heads.said import SaidHead
from polymodal.learners import LEARNERS
from polymodal.learners.base import Learner
from polymodal.models import ANSWERS
from polymodal.models.adapted import Adapted
from polymodal.models.base import Answer, Decisions, Joint
from polymodal.models.specs import listed, resolved, serves
from polymodal.models.strategy import Strategy
from polymodal.nn.layers.named import Named, module_name
from polymodal.objectives import OBJECTIVES
from polymodal.objectives.base import Objective, Setting
from polymodal.targets.base import MEANINGS, ScoredTarget, Target


@dataclass(frozen=True)
class Heads:
    """Specs of heads by target name; a target not named gets the head that it names itself."""

    specs: Mapping[str, Spec] = field(default_factory=dict)

    def build(self, width: int, target: Target) -> Head:
        return HEADS.build(self.spec(target), width, target)

    def planned(self, target: Target) -> Head:
        """What can tell what the target's head asks for, without its weights (see `Head.planned`)."""
        spec = self.spec(target)
        if isinstance(spec, Head):
            return spec
        cls, options = HEADS.resolve(spec)
        return cls.planned(target, options)  # type: ignore[attr-defined,no-any-return]

    def spec(self, target: Target) -> Spec:
        """What the target's head is. Raises `BadArgument` where none was named and it names none itself."""
        if spec := self.specs.get(target.name, target.head):
            return spec
        raise BadArgument(f"No head answers {target.kind} unless one is named: heads={{{target.name!r}: ...}}.")

    def recipe(self, targets: Sequence[Target]) -> dict[str, Any]:
        """Training options that the heads of targets ask for; the first target's go before."""
        each = [self.planned(target).recipe() for target in reversed(targets)]
        return {name: value for recipe in each for name, value in recipe.items()}


@dataclass(frozen=True)
class Parts:
    """Builds the parts of an answer.

    `dim` is the width of fused tokens; `heads` are those of the targets. `cost` is what each stream takes to process
    and encode, in ms a row; empty where it was not measured. `budget_ms` is the most that a row may take, None for no
    limit. `says` tells, by stream and target, where tokens carry an answer already.
    """

    dim: int
    heads: Heads
    cost: Mapping[str, float] = field(default_factory=dict)
    budget_ms: float | None = None
    says: Mapping[str, Mapping[str, Said]] = field(default_factory=dict)

    def build_head(self, width: int, target: Target) -> Any:
        """The target's head for tokens of `width`."""
        return self.heads.build(width, target)

    def fusion(self, spec: Spec, widths: Mapping[str, int]) -> Fusion:
        """A fusion of streams of these widths."""
        return FUSIONS.build(spec, widths, self.dim)

    def rule(self, spec: Spec, names: Sequence[str], target: ScoredTarget) -> DecisionFusion:
        """A rule that combines the scores of the streams `names`. Raises `BadArgument` for a meaning that it lacks."""
        return DECISIONS.build(spec, tuple(names), target.scores, target.width)

    def head(self, width: int, target: ScoredTarget) -> ScoringHead:
        """The same of a target that is scored."""
        return self.build_head(width, target)  # type: ignore[no-any-return]

    def head_of(self, stream: str, width: int, target: ScoredTarget) -> ScoringHead:
        """The same for the tokens of `stream`: where these carry an answer already, it is read."""
        said = self.says.get(stream, {}).get(target.name)
        head = self.head(width, target)
        return head if said is None else SaidHead(width, head, said.read)

    def joint(self, fusion: Fusion, targets: Sequence[Target]) -> Joint:
        """A fusion and a head a target."""
        return Joint(fusion, {t.name: self.build_head(fusion.dim, t) for t in targets})

    def late(self, spec: Spec, widths: Mapping[str, int], targets: Sequence[ScoredTarget]) -> Decisions:
        """A head a stream and target, and the rule that combines them."""
        rules = {t.name: self.rule(spec, tuple(widths), t) for t in targets}
        return Decisions({t.name: {n: self.head_of(n, w, t) for n, w in widths.items()} for t in targets}, rules)

    def answer(self, spec: Spec, widths: Mapping[str, int], targets: Sequence[Any]) -> Answer:
        """The whole answer that `--fusion spec` names. Raises `BadArgument` for learners, which are not trained."""
        match resolved(spec).family:
            case "fusion":
                return self.joint(self.fusion(spec, widths), targets)
            case "decision":
                return self.late(spec, widths, targets)
            case "answer":
                return ANSWERS.build(spec, widths, targets, self)
            case _:
                raise BadArgument(f"A learner cannot be part of another answer, since it is not trained; got {spec!r}.")

    def without_cost(self) -> Parts:
        """The same, of which nothing is known about costs."""
        return replace(self, cost={}, budget_ms=None)


def build_answer(
    strategy: Strategy, widths: Mapping[str, int], targets: Sequence[Any], dim: int, heads: Heads,
    *, cost: Mapping[str, float] | None = None, budget_ms: float | None = None,
    says: Mapping[str, Mapping[str, Said]] | None = None,
) -> Answer:  # fmt: skip
    """The trainable part of a strategy for streams of these widths; `cost`, `budget_ms` and `says` as in `Parts`."""
    widths = {name: widths[name] for name in strategy.streams}
    if strategy.family == "learner":
        sizes = strategy.facts or {}
        learners = {t.name: LEARNERS.build(strategy.spec, sizes.get(t.name)) for t in targets}
        return Fitted(learners, {t.name: heads.build(1, t) for t in targets})  # type: ignore[misc]
    plain = not (strategy.adapters or strategy.align)  # adapters change what tokens carry
    parts = Parts(dim, heads, cost or {}, budget_ms, says or {} if plain else {})
    if strategy.family == "single":
        if serves(MEANINGS, targets):
            return parts.late("late_mean", widths, targets)
        return parts.joint(Alone(widths, next(iter(widths.values()))), targets)
    if plain:
        return parts.answer(strategy.spec, widths, targets)
    aligner: Aligner | None = ALIGNERS.build(strategy.align, widths, dim) if strategy.align else None
    met = _met(strategy, widths, dim)
    answer = parts.answer(strategy.spec, met, targets)
    return Adapted(answer, widths, aligner, strategy.align_weight)


def build_objectives(
    strategy: Strategy, widths: Mapping[str, int], targets: Sequence[Any], dim: int, heads: Heads
) -> list[Objective]:
    """What a strategy is trained by besides its own loss, in the order given."""
    if strategy.objective is None:
        return []
    setting = Setting(_met(strategy, widths, dim), tuple(targets), heads.build)
    return [OBJECTIVES.build(spec, setting) for spec in listed(strategy.objective)]


def _met(strategy: Strategy, widths: Mapping[str, int], dim: int) -> dict[str, int]:
    """The streams' widths where they meet: an aligner brings all to one."""
    return {name: dim if strategy.align else widths[name] for name in strategy.streams}


class Alone(Fusion):
    """One stream as it is: what a head reads that answers from a single modality and gives no scores to combine."""

    reads_tokens = True

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        return streams[self.names[0]]


class Fitted(Answer):
    """A shallow learner over the streams' pooled vectors, one a target; fitted in one go, not trained."""

    def __init__(self, learners: Mapping[str, Learner], heads: Mapping[str, ScoringHead]):
        super().__init__()
        self.learners = Named(learners)
        self._heads = dict(heads)  # they decode only, and have no weights to keep
        for name, head in self._heads.items():
            self.register_buffer(_prior_of(name), head.prior(), persistent=False)

    def fit(self, streams: Mapping[str, Tokens], targets: Mapping[str, np.ndarray], seed: int) -> None:
        """Fit to the tokens of all training rows and their encoded targets [N, …]."""
        features = pooled_features(streams).numpy()
        for name, learner in self.learners.items():
            learner.fit_to(self._heads[name].target, features, targets[name], seed)  # type: ignore[operator]

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        features = pooled_features(streams)
        known = presence(streams.values()).any(1, keepdim=True)  # a learner would answer gaps as it does most rows
        each: dict[str, Tensor] = {n: t.scores(features) for n, t in self.learners.items()}  # type: ignore[operator]
        return Output(streams, None, {n: torch.where(known, s, getattr(self, _prior_of(n))) for n, s in each.items()})

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: self._heads[n].loss_of_scores(s, targets[n]) for n, s in output.predictions.items()}

    def head(self, target: str) -> ScoringHead:
        return self._heads[target]

    def facts(self) -> dict[str, Any]:
        """The sizes of every fitted learner."""
        return {name: learner.facts() for name, learner in self.learners.items()}  # type: ignore[operator]


def pooled_features(streams: Mapping[str, Tokens]) -> Tensor:
    """The streams' pooled vectors side by side, by sorted name: [B, Σ widths], NaN where a stream is absent."""
    ordered = [streams[name] for name in sorted(streams)]
    return torch.cat([s.pooled.masked_fill(~s.present[:, None], torch.nan) for s in ordered], 1)


def _prior_of(target: str) -> str:
    return f"prior_{module_name(target)}"


def build_encoder(spec: Spec, facts: Mapping[str, Any], dim: int) -> Encoder:
    """An encoder for a processor's facts."""
    return ENCODERS.build(spec, facts, dim)


def said_by(encoders: Mapping[str, Encoder]) -> dict[str, Mapping[str, Said]]:
    """Where the tokens of encoders carry answers already, by stream and target."""
    return {name: getattr(encoder, "says", {}) for name, encoder in encoders.items()}


def parameters(*modules: Any) -> int:
    """How many learned numbers the modules hold: their parameters, and what learners were fitted to."""
    learners = [part for m in modules for part in m.modules() if isinstance(part, Learner)]
    learned = [p for m in modules for p in m.parameters()] + [b for one in learners for b in one.buffers()]
    return sum(one.numel() for one in learned)
