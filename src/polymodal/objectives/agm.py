"""Adaptive gradient modulation (AGM)."""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_range
from polymodal.objectives.base import Objective, Setting, Step
from polymodal.objectives.contribution import beside_others, scores_with, shapley
from polymodal.objectives.modulation import Modulation

MOST_STREAMS = 6  # 63 forward passes a step
STRONGEST = 10.0  # the largest exponent, over alpha, as the authors' code has it


class Agm(Objective):
    """Each tower's step is multiplied by exp(alpha · (τ_k - r_k)) (Li et al. 2023, section 3).

    φ_k is stream k's Shapley share of the scores, and ℓ_k the loss of answering with φ_k alone. r_k = exp(the mean of
    the others' ℓ minus ℓ_k) is above 1 where stream k answers better than the others; τ_k is the same of the running
    means of ℓ. A stream that runs further ahead than it used to is slowed, one that falls behind is hastened.

    φ needs the model's scores with every subset of the streams: other masks are cleared, which any fusion can do, and
    no stream at all counts as zero, as in the paper. That is 2^K - 1 forward passes a step, so at most 6 streams.
    Raises `BadArgument` above. `on` says what is multiplied: the optimiser's `update`, or the `gradient` (see
    `objectives.modulation`).
    """

    losses_so_far: Tensor
    steps: Tensor

    def __init__(self, setting: Setting, *, alpha: float = 1.0, on: str = "update"):
        super().__init__(setting)
        self.alpha = alpha
        self.on = on
        self.modulation = Modulation(on)
        check_range("(0, inf)", alpha=alpha)
        if len(self.names) > MOST_STREAMS:
            raise BadArgument(
                f"agm tries every subset of the streams, up to {MOST_STREAMS} of them; there are {len(self.names)}. "
                "`ogm` needs one pass a stream."
            )
        self.register_buffer("losses_so_far", torch.zeros(len(self.names), dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def act(self, step: Step) -> None:
        losses = self._losses(step)
        if not all(math.isfinite(v) for v in losses.values()):
            return  # a batch without labels, or without any row of some stream, says nothing
        before = dict(zip(self.names, self.losses_so_far.tolist()))
        if int(self.steps):
            self.modulation.start(step, coefficients(losses, before, self.alpha))
        self.steps += 1
        now = torch.tensor([losses[name] for name in self.names], dtype=torch.float64, device=self.steps.device)
        self.losses_so_far += (now - self.losses_so_far) / self.steps

    def after_step(self) -> None:
        self.modulation.finish()

    def _losses(self, step: Step) -> dict[str, float]:
        """The mean loss of each stream's Shapley share, over its rows and the targets."""
        sets = [s for size in range(1, len(self.names) + 1) for s in combinations(self.names, size)]
        scores = scores_with(step, sets)
        losses = dict.fromkeys(self.names, 0.0)
        for target in self.setting.targets:
            full = {frozenset(s): given[target.name].float() for s, given in zip(sets, scores)}
            for name, share in shapley(full, self.names).items():
                each = target.row_losses(share, step.targets[target.name])
                losses[name] += float(each[step.streams[name].present].nanmean()) / len(self.setting.targets)
        return losses


def coefficients(losses: dict[str, float], running: dict[str, float], alpha: float) -> dict[str, float]:
    """What each tower's step is multiplied by, from the losses now and their running means."""
    now, usual = beside_others(losses), beside_others(running)
    ahead = {name: math.exp(now[name] - losses[name]) for name in losses}
    wonted = {name: math.exp(usual[name] - running[name]) for name in losses}
    return {name: math.exp(alpha * min(wonted[name] - ahead[name], STRONGEST)) for name in losses}
