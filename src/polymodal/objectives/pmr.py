"""Prototypical modal rebalance (PMR)."""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.core.values import check_range
from polymodal.objectives.base import Objective, Setting, Step
from polymodal.objectives.contribution import beside_others
from polymodal.targets.base import CLASSES


class Pmr(Objective):
    """Pulls the streams that answer worst to the prototypes of their classes (Fan et al. 2023, equations 6 to 12).

    A prototype c is the mean of a stream's pooled vectors z of a class; p(class) is the softmax of -|z - c|. With s_k
    the mean p of the truth and ρ_k = s_k / (the mean of the others' s), the loss gains weight · clip(1/ρ_k - 1, 0, 1) ·
    (-log p(truth)) of every stream. In the first `calm` epochs the streams that answer best lose certainty: it also
    gains -entropy · clip(ρ_k - 1, 0, 1) times their entropy of p. For two streams this is the paper's rule; the mean
    over the others is ours.

    Prototypes come from the batches of the epoch before and move by 1 - `momentum`, so none act in the first epoch;
    the authors measure a sample of rows once more instead. One target of classes.
    """

    needs = (CLASSES,)
    single = True
    prototypes: Tensor
    sums: Tensor
    counts: Tensor
    known: Tensor
    epochs: Tensor

    def __init__(
        self,
        setting: Setting,
        *,
        weight: float = 1.0,
        entropy: float = 0.01,
        calm: int = 5,
        momentum: float = 0.5,
    ):
        super().__init__(setting)
        self.weight = weight
        self.entropy = entropy
        self.calm = calm
        self.momentum = momentum
        check_range("(0, inf)", weight=weight)
        check_range("[0, inf)", entropy=entropy, calm=calm)
        check_range("[0, 1)", momentum=momentum)
        self.target = setting.targets[0]
        shape = (self.target.width, sum(setting.widths.values()))
        self.register_buffer("prototypes", torch.zeros(shape))  # the streams side by side, in the order of names
        self.register_buffer("sums", torch.zeros(shape))
        self.register_buffer("counts", torch.zeros(self.target.width, len(self.names)))
        self.register_buffer("known", torch.zeros(self.target.width, len(self.names), dtype=torch.bool))
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))

    def losses(self, step: Step) -> dict[str, Tensor]:
        truth = step.targets[self.target.name]
        if step.answer.training:
            self._gather(step, truth)
        logs, sure = {}, {}
        for k, (name, prototypes) in enumerate(zip(self.names, self._each(self.prototypes))):
            stream, known = step.streams[name], self.known[:, k]
            rows = stream.present & (truth >= 0) & known[truth.clamp(min=0)]
            if not rows.any():
                continue
            log_p = log_shares(stream.pooled[rows].to(prototypes), prototypes[known])
            place = (known.cumsum(0) - 1)[truth[rows]]  # of the row's class among those with a prototype
            logs[name] = (log_p, log_p.gather(1, place[:, None])[:, 0])
            sure[name] = float(logs[name][1].detach().exp().mean())
        losses = {}
        for name, other in beside_others(sure).items():
            pull, calm = weights(sure[name], other)
            if pull:
                losses[f"pmr/{name}"] = -self.weight * pull * logs[name][1].mean()
            if calm and int(self.epochs) < self.calm and self.entropy:
                log_p = logs[name][0]
                losses[f"pmr/{name} entropy"] = self.entropy * calm * (log_p.exp() * log_p).sum(1).mean()
        return losses

    def between_epochs(self, done: int, read: object) -> None:
        if not done:
            return
        self.epochs.fill_(done)
        seen = self.counts > 0
        for k, (old, total) in enumerate(zip(self._each(self.prototypes), self._each(self.sums))):
            new = total / self.counts[:, k, None].clamp(min=1)
            share = torch.where(self.known[:, k], 1 - self.momentum, 1.0)[:, None]
            old.copy_(torch.where(seen[:, k, None], old + share * (new - old), old))
        self.known |= seen
        self.sums.zero_()
        self.counts.zero_()

    @torch.no_grad()
    def _gather(self, step: Step, truth: Tensor) -> None:
        """Add the batch to the sums of its classes."""
        for k, (name, total) in enumerate(zip(self.names, self._each(self.sums))):
            rows = step.streams[name].present & (truth >= 0)
            total.index_add_(0, truth[rows], step.streams[name].pooled[rows].to(total))
            self.counts[:, k] += torch.bincount(truth[rows], minlength=len(self.counts))

    def _each(self, side_by_side: Tensor) -> tuple[Tensor, ...]:
        """A view a stream."""
        return side_by_side.split([self.setting.widths[name] for name in self.names], dim=1)


def log_shares(vectors: Tensor, prototypes: Tensor) -> Tensor:
    """[B, C] log softmax of minus the distance of `vectors` [B, D] to `prototypes` [C, D]."""
    square = (vectors[:, None] - prototypes).square().sum(2)
    return (-(square + 1e-12).sqrt()).log_softmax(1)  # the small number keeps the gradient finite at a prototype


def weights(own: float, other: float) -> tuple[float, float]:
    """How much a stream is pulled to its prototypes, and how much it is calmed, from the two certainties."""
    if not own > 0 or not other > 0:
        return 0.0, 0.0
    ratio = own / other
    return min(max(1 / ratio - 1, 0.0), 1.0), min(max(ratio - 1, 0.0), 1.0)
