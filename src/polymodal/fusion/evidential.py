"""Trusted multi-view classification: each stream says how much evidence it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.fusion.base import DecisionFusion, Loss
from polymodal.nn.check import check_count
from polymodal.nn.dirichlet import evidential_loss, joined_evidence, log_joined, log_mean
from polymodal.nn.precision import at_least_float32
from polymodal.targets.base import CLASSES


class Tmc(DecisionFusion):
    """Evidence of all streams joined by the reduced rule of Dempster (Han, Zhang, Fu, Zhou 2021).

    A stream's scores become evidence e = softplus(scores), a Dirichlet distribution with parameters e + 1: little
    evidence is much uncertainty, and an absent stream is all uncertainty, which changes nothing. The answer is the
    logarithm of the combined distribution's mean (see `nn.dirichlet`).

    The streams' heads learn by the evidential loss of each and of the combination, in place of their own loss (so a
    head's class weights do not count here). Evidence for wrong classes is punished in full after `anneal` steps, and
    in proportion before. Only for classes: raises `BadArgument` for other targets.
    """

    needs: ClassVar[tuple[str, ...]] = (CLASSES,)
    steps: Tensor

    def __init__(self, names: Sequence[str], meaning: str, width: int, *, anneal: int = 200):
        super().__init__(names, meaning, width)
        self.anneal = check_count("anneal", anneal)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def combine(self, scores: Tensor, present: Tensor) -> Tensor:
        return log_mean(log_joined(_evidence(scores), present))

    def losses(
        self, scores: Mapping[str, Tensor], present: Mapping[str, Tensor], truth: Tensor, own: Mapping[str, Loss]
    ) -> dict[str, Tensor]:
        if self.training:
            self.steps += 1
        annealed = min(1.0, int(self.steps) / self.anneal)
        evidence = {n: _evidence(scores[n]) for n in self.names}
        known = truth >= 0
        losses = {}
        for name, given in evidence.items():
            rows = known & present[name]
            losses[name] = evidential_loss(given[rows], truth[rows], annealed)
        there = torch.stack([present[n] for n in self.names], 1)
        zero = next(iter(evidence.values())).new_zeros(())
        clean = [torch.where(present[n][:, None], evidence[n], zero) for n in self.names]
        joined = joined_evidence(log_joined(torch.stack(clean, 1), there))
        return {**losses, "": evidential_loss(joined[known], truth[known], annealed)}


def _evidence(scores: Tensor) -> Tensor:
    return F.softplus(at_least_float32(scores))
