"""From specs to modules: the one place where widths that join two parts are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polymodal.core.registry import Spec
from polymodal.core.types import Target
from polymodal.encoders import ENCODERS
from polymodal.encoders.base import Encoder
from polymodal.fusion import DECISIONS, FUSIONS
from polymodal.fusion.base import DecisionFusion, Fusion
from polymodal.heads import HEADS
from polymodal.heads.base import Head
from polymodal.model import Answer, Decisions, Joint


@dataclass(frozen=True)
class Strategy:
    """One row of the leaderboard: a way to answer from some streams.

    `family` is `single`, `fusion`, `decision` or `boosted`; `spec` names the part within it.
    """

    name: str
    family: str
    spec: Spec
    streams: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "family": self.family, "spec": self.spec, "streams": list(self.streams)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Strategy:
        return cls(values["name"], values["family"], values["spec"], tuple(values["streams"]))

    @property
    def level(self) -> str:
        """The word for the leaderboard: where the streams meet."""
        if self.family == "fusion":
            return FUSIONS.resolve(self.spec)[0].level  # type: ignore[attr-defined]
        return {"decision": "decision", "single": "single", "boosted": "trees"}[self.family]

    @property
    def reads_tokens(self) -> bool:
        """Whether sequences are needed, or pooled vectors do."""
        return self.family == "fusion" and FUSIONS.resolve(self.spec)[0].reads_tokens  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Heads:
    """Specs of heads by target name; a target not named gets the head of its kind."""

    specs: Mapping[str, Spec] = field(default_factory=dict)

    def build(self, width: int, target: Target) -> Head:
        return HEADS.build(self.specs.get(target.name, target.kind), width, target)


def build_answer(
    strategy: Strategy, widths: Mapping[str, int], targets: Sequence[Target], dim: int, heads: Heads
) -> Answer:
    """The trainable part of a strategy for streams of the given widths."""
    widths = {name: widths[name] for name in strategy.streams}
    if strategy.family == "fusion":
        fusion: Fusion = FUSIONS.build(strategy.spec, widths, dim)
        return Joint(fusion, {t.name: heads.build(fusion.dim, t) for t in targets})
    rule = strategy.spec if strategy.family == "decision" else "late_mean"
    rules: dict[str, DecisionFusion] = {t.name: DECISIONS.build(rule, tuple(widths), t.kind, t.width) for t in targets}
    return Decisions({t.name: {n: heads.build(w, t) for n, w in widths.items()} for t in targets}, rules)


def build_encoder(spec: Spec, facts: Mapping[str, Any], dim: int) -> Encoder:
    """An encoder for a processor's facts."""
    return ENCODERS.build(spec, facts, dim)


def parameters(*modules: Any) -> int:
    """How many numbers the modules hold in their parameters."""
    return sum(p.numel() for m in modules for p in m.parameters())
