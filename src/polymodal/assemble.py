"""From specs to modules: the one place where widths that join two parts are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from polymodal.align import ALIGNERS
from polymodal.align.base import Aligner
from polymodal.answers.base import CATALOGUES, Parts, reads_tokens
from polymodal.core.registry import Spec
from polymodal.core.types import Output, Target, Tokens
from polymodal.encoders import ENCODERS
from polymodal.encoders.base import Encoder
from polymodal.fusion import TREES
from polymodal.fusion.boosted import Boosted, pooled_features
from polymodal.heads import HEADS
from polymodal.heads.base import Head
from polymodal.model import Answer
from polymodal.nn.named import Named
from polymodal.objectives import OBJECTIVES
from polymodal.objectives.base import Objective, Setting
from polymodal.towers import Towered


@dataclass(frozen=True)
class Strategy:
    """One row of the leaderboard: a way to answer from some streams.

    `family` is `single`, `fusion`, `decision`, `answer` or `trees`; `spec` names the part within it. `facts` size
    fitted trees, a target each, so that their weights find their place. `objective` is what it is trained by besides
    its own loss; `towers` puts an adapter a stream before it, and `align` an aligner, whose loss counts `align_weight`.
    """

    name: str
    family: str
    spec: Spec
    streams: tuple[str, ...]
    facts: Mapping[str, Any] | None = None
    objective: Spec | Sequence[Spec] | None = None
    align: Spec | None = None
    align_weight: float = 0.1
    towers: bool = False

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "streams": list(self.streams)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Strategy:
        return cls(**{**values, "streams": tuple(values["streams"])})

    @property
    def level(self) -> str:
        """The word for the leaderboard: where the streams meet."""
        if self.family in ("fusion", "answer"):
            return CATALOGUES[self.family].resolve(self.spec)[0].level  # type: ignore[attr-defined]
        return self.family

    @property
    def reads_tokens(self) -> bool:
        """Whether sequences are needed, or pooled vectors do."""
        return self.family in ("fusion", "answer") and reads_tokens(self.spec)


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


def listed(spec: Spec | Sequence[Spec]) -> list[Spec]:
    """One spec or several, as a list."""
    return [spec] if isinstance(spec, str | Mapping | type) else list(spec)


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
