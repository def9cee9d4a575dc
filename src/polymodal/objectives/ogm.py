"""On-the-fly gradient modulation with generalisation enhancement (OGM-GE)."""

from __future__ import annotations

import math

import torch

from polymodal.core.values import check_range
from polymodal.objectives.base import Objective, Setting, Step
from polymodal.objectives.contribution import beside_others, confidence
from polymodal.objectives.modulation import Modulation


class Ogm(Objective):
    """The tower of the stream that answers best takes smaller steps (Peng et al. 2022, equations 8 to 11).

    With s_k the mean probability of the truth with stream k alone, ρ_k = s_k / (the mean of the others' s): the
    tower's step is multiplied by 1 - tanh(alpha · ρ_k) where ρ_k > 1, and by 1 elsewhere. For two streams this is the
    paper's rule; the mean over the others is ours. With `noise`, normal noise of the spread of each gradient matrix is
    added to it (generalisation enhancement). It acts in the first `until` of the epochs. `on` says what is multiplied:
    the optimiser's `update`, or the `gradient` (see `objectives.modulation`).

    s_k comes from the model with the other streams' masks cleared, which any fusion can do; the paper splits the
    weights of a linear layer over concatenated features. Labels and numbers use exp(-loss) as probability of the truth.
    """

    def __init__(
        self, setting: Setting, *, alpha: float = 0.3, noise: bool = True, until: float = 1.0, on: str = "update"
    ):
        super().__init__(setting)
        self.alpha = alpha
        self.noise = noise
        self.until = until
        self.on = on
        self.modulation = Modulation(on)
        check_range("(0, inf)", alpha=alpha)
        check_range("(0, 1]", until=until)

    def act(self, step: Step) -> None:
        if step.progress >= self.until:
            return
        factors = coefficients(confidence(step, self.setting.targets, self.names), self.alpha)
        matrices = [p.grad for name in self.names for p in step.towers.get(name, ()) if p.ndim > 1]
        gradients = [g for g in matrices if self.noise and g is not None]
        spreads = [float(g.std()) for g in gradients]
        self.modulation.start(step, factors)
        for gradient, spread in zip(gradients, spreads):
            gradient.add_(torch.randn_like(gradient), alpha=spread)

    def after_step(self) -> None:
        self.modulation.finish()


def coefficients(confidences: dict[str, float], alpha: float) -> dict[str, float]:
    """What each tower's step is multiplied by; 1 where nothing can be said."""
    factors = {}
    for name, other in beside_others(confidences).items():
        ratio = confidences[name] / other if other else math.nan
        factors[name] = 1 - math.tanh(alpha * ratio) if ratio > 1 else 1.0
    return factors
