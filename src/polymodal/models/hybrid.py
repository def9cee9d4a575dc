"""Hybrid fusion: features joined early and decisions joined late, in one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from polymodal.core.registry import Spec
from polymodal.core.types import Output, Tokens
from polymodal.heads.base import ScoringHead
from polymodal.models.base import Answer
from polymodal.models.build import Parts
from polymodal.targets.base import ScoredTarget


class Hybrid(Answer):
    """A joint fusion and each stream's own decision, combined by a rule (Atrey et al. 2010, section 3.1.3).

    The fused tokens count as one more stream, called by all names with a `+` after each: of streams a and b the `rule`
    combines the decisions of a, b and a+b+. Each decision learns on its own and the rule from scores cut off from them
    (unless the rule says otherwise), so joint features cannot drown a stream that is enough by itself.

    `fusion` is any feature-level fusion, `rule` any rule of late fusion.
    """

    level: ClassVar[str] = "hybrid"
    nested: ClassVar[tuple[str, ...]] = ("fusion", "rule")

    def __init__(
        self, widths: Mapping[str, int], targets: Sequence[ScoredTarget], parts: Parts, *,
        fusion: Spec = "concat", rule: Spec = "stacking",
    ):  # fmt: skip
        super().__init__()
        self.fusion = fusion
        self.rule = rule
        widths = {name: widths[name] for name in sorted(widths)}
        self.joint = "+".join((*widths, ""))  # longer than any one name, so never one of the streams'
        self.fuse = parts.fusion(fusion, widths)
        self.decisions = parts.late(rule, {**widths, self.joint: self.fuse.dim}, targets)

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        fused = self.fuse(streams)
        decided = self.decisions({**streams, self.joint: fused})
        return Output(decided.streams, fused, decided.predictions)

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.decisions.losses(output, targets)

    def head(self, target: str) -> ScoringHead:
        return self.decisions.head(target)

    def see(self, rows: Tensor) -> None:
        self.decisions.see(rows)
