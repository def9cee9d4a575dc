"""More versus fewer: a ranking loss by which more modalities never hurt."""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.core.values import check_range
from polymodal.nn.mask_streams import fewer_streams
from polymodal.objectives.base import Objective, Setting, Step


class Ranking(Objective):
    """weight · mean max(0, L(more) - L(fewer) + margin) + fewer · L(fewer) (SimMLM, Li, Chen & Han 2025).

    L(more) is a row's loss with the streams it has, L(fewer) with a random part of them, drawn anew at each step. The
    loss of the smaller set is lowered too: the ranking alone could be met by answering worse with fewer streams.
    """

    def __init__(self, setting: Setting, *, weight: float = 1.0, fewer: float = 1.0, margin: float = 0.0):
        super().__init__(setting)
        self.weight = weight
        self.fewer = fewer
        self.margin = margin
        check_range("(0, inf)", weight=weight)
        check_range("[0, inf)", fewer=fewer, margin=margin)

    def losses(self, step: Step) -> dict[str, Tensor]:
        output = step.answer.join(fewer_streams(step.streams))
        terms = {}
        if self.fewer:
            losses = step.answer.losses(output, step.targets)
            terms = {f"ranking/{name} fewer": self.fewer * loss for name, loss in losses.items()}
        for target in self.setting.targets:
            truth = step.targets[target.name]
            more, less = (target.row_losses(o.predictions[target.name], truth) for o in (step.output, output))
            worse = torch.relu(more - less + self.margin)
            known = worse.isfinite()
            if known.any():
                terms[f"ranking/{target.name}"] = self.weight * worse[known].mean()
        return terms
