"""Unimodal auxiliary heads."""

from __future__ import annotations

from torch import Tensor

from polymodal.core.values import check_range
from polymodal.objectives.base import Objective, Setting, Step
from polymodal.objectives.stream_heads import StreamHeads


class Unimodal(Objective):
    """L + weight · Σ_k L_k: a head a stream, trained with the fusion; the towers get the gradients of both.

    The simplest cure of greedy learning, and the baseline of Gradient-Blending and MMPareto.
    """

    def __init__(self, setting: Setting, *, weight: float = 1.0):
        super().__init__(setting)
        self.weight = weight
        check_range("(0, inf)", weight=weight)
        self.alone = StreamHeads(setting)

    def losses(self, step: Step) -> dict[str, Tensor]:
        alone = self.alone.losses(step.streams, step.targets)
        return {f"unimodal/{name}": self.weight * loss for name, loss in alone.items()}
