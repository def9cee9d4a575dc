"""Slowing and hastening towers: what gradient modulation multiplies."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument, suggest
from polymodal.objectives.base import Step

ON = ("update", "gradient")


class Modulation:
    """Multiplies each tower's gradient, or the step that the optimiser makes of it, by a factor.

    The papers write θ ← θ - η k g for plain SGD, where the two are the same. An optimiser of Adam's kind divides the
    gradient by its own running size, and so divides a lasting k out again; on the update it stays.
    """

    def __init__(self, on: str):
        if on not in ON:
            raise BadArgument(f"on says what is multiplied, 'update' or 'gradient'; got {on!r}.{suggest(on, ON)}")
        self.on = on
        self._before: list[tuple[nn.Parameter, Tensor, float]] = []

    def start(self, step: Step, factors: Mapping[str, float]) -> None:
        """Between backward and the optimiser's step."""
        self._before = []
        for name, factor in factors.items():
            for parameter in step.towers.get(name, ()):
                if parameter.grad is None:
                    continue
                if self.on == "gradient":
                    parameter.grad.mul_(factor)
                elif factor != 1:
                    self._before.append((parameter, parameter.detach().clone(), factor))

    @torch.no_grad()
    def finish(self) -> None:
        """After the optimiser's step."""
        for parameter, before, factor in self._before:
            parameter.sub_(before).mul_(factor).add_(before)
        self._before = []
