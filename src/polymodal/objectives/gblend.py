"""Gradient-Blending: losses weighted by how well each generalises for how much it overfits."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_range
from polymodal.nn.check import check_count
from polymodal.objectives.base import Objective, Read, Setting, Step
from polymodal.objectives.stream_heads import StreamHeads

JOINT = "joint"
CHUNK = 256
LEAST = 1e-6  # of a squared overfitting: below it, weights would rest on rounding


class GBlend(Objective):
    """w_0 L + Σ_k w_k L_k with w ∝ G / O² (Wang, Tran, Feiszli 2020, section 3.3, the online form).

    The joint loss and a head a stream are measured in eval mode on training rows and on a share `holdout` of them that
    is not trained on, before training and after every `every` epochs. G is by how much the held-out loss fell since the
    last measuring, O by how much the gap between held-out and training loss grew. Weights add up to the number of
    losses; all are 1 until the first measuring, and a loss whose G is not above 0 gets none.

    The paper trains copies of each stream alone and of the fusion from the checkpoint to measure them; here the very
    heads that are blended are measured, which costs two readings of a few rows. The fusion alone answers.
    """

    weights: Tensor
    before: Tensor

    def __init__(self, setting: Setting, *, every: int = 5, holdout: float = 0.1):
        super().__init__(setting)
        self.every = every
        self.holdout = holdout
        check_count("every", every)
        check_range("(0, 0.5]", holdout=holdout)
        self.alone = StreamHeads(setting)
        self.register_buffer("weights", torch.ones(1 + len(self.names), dtype=torch.float64))
        self.register_buffer("before", torch.zeros(2, 1 + len(self.names), dtype=torch.float64))  # training, held out
        self._seen = self._held = torch.zeros(0, dtype=torch.int64)

    def hold(self, rows: Tensor) -> Tensor:
        """All rows but the held-out share, drawn with a seed of its own: the same rows whatever the training's seed."""
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
        count = max(1, round(self.holdout * len(rows)))
        if len(rows) - count < 1:
            raise BadArgument(f"gblend keeps {count} of {len(rows)} training rows for measuring; give more rows.")
        self._held = rows[order[:count].sort().values]
        kept = rows[order[count:].sort().values]
        self._seen = kept[torch.linspace(0, len(kept) - 1, min(count, len(kept))).long()]
        return kept

    def losses(self, step: Step) -> dict[str, Tensor]:
        joint, *each = self.weights.tolist()
        total = sum(step.losses.values(), next(iter(step.losses.values())).new_zeros(()))
        alone = self.alone.losses(step.streams, step.targets)
        losses = {f"gblend/{name}": weight * alone[name] for weight, name in zip(each, self.names)}
        return {"gblend/joint": (joint - 1) * total, **losses}

    @torch.no_grad()
    def between_epochs(self, done: int, read: Read) -> None:
        if done % self.every or not len(self._held):
            return
        now = torch.stack([self._measured(self._seen, read), self._measured(self._held, read)])
        if done:
            weights = blending(*self.before, *now)
            if weights.sum() > 0:
                self.weights.copy_(weights)
        self.before.copy_(now)

    def _measured(self, rows: Tensor, read: Read) -> Tensor:
        """[1 + K] losses of the fusion and of each stream's head on `rows`."""
        total = torch.zeros_like(self.weights)
        for chunk in rows.split(CHUNK):
            step = read(chunk)
            losses: Mapping[str, Tensor] = self.alone.losses(step.streams, step.targets)
            joint = torch.stack([v.double() for v in step.losses.values()]).sum()
            total += torch.stack([joint, *(losses[name].double() for name in self.names)]) * len(chunk)
        return total / len(rows)


def blending(train_before: Tensor, held_before: Tensor, train_now: Tensor, held_now: Tensor) -> Tensor:
    """[L] weights that add up to L, from training and held-out losses at two checkpoints; zero if none generalised."""
    gain = (held_before - held_now).clamp(min=0)
    overfit = (held_now - train_now) - (held_before - train_before)
    raw = gain / overfit.square().clamp(min=LEAST)
    return raw * len(raw) / raw.sum() if raw.sum() > 0 else torch.zeros_like(raw)
