"""Optimisers and learning-rate schedules by name."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import Optimizer

from polymodal.config import Training


def make_optimizer(module: nn.Module, options: Training) -> Optimizer:
    """The named optimiser over the trainable parameters; weight decay on matrices only, not on biases and norms."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    match options.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=options.lr, fused=True)
        case "adam":
            return torch.optim.Adam(groups, lr=options.lr, fused=True)
        case "sgd":
            return torch.optim.SGD(groups, lr=options.lr, momentum=0.9, nesterov=True, fused=True)
        case _:
            return torch.optim.Adagrad(groups, lr=options.lr, fused=True)


class Schedule:
    """Sets the learning rate before each step: warm-up, then the named curve.

    `cosine` falls to zero at the last step (Loshchilov & Hutter 2017); `step` divides by ten at 1/2 and 3/4 of the
    steps;
    `plateau` halves whenever three epochs bring no better validation score; `constant` stays.
    """

    def __init__(self, optimizer: Optimizer, options: Training, steps: int):
        self.optimizer = optimizer
        self.options = options
        self.steps = max(steps, 1)
        self.warm = max(1, round(self.steps * options.warmup)) if options.warmup else 0
        self.factor = 1.0
        self.waited = 0

    def before_step(self, step: int) -> None:
        """`step` counts from 0."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.lr * self._scale(step)

    def after_epoch(self, improved: bool) -> None:
        """Only `plateau` listens."""
        if self.options.schedule != "plateau":
            return
        self.waited = 0 if improved else self.waited + 1
        if self.waited >= 3:
            self.factor, self.waited = self.factor / 2, 0

    def _scale(self, step: int) -> float:
        if step < self.warm:
            return (step + 1) / self.warm
        done = (step - self.warm) / max(1, self.steps - self.warm)
        match self.options.schedule:
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
            case "step":
                return 0.1 ** ((done >= 0.5) + (done >= 0.75))
            case _:
                return self.factor

    def state(self) -> dict[str, float]:
        return {"factor": self.factor, "waited": self.waited}

    def load_state(self, state: dict[str, float]) -> None:
        self.factor, self.waited = float(state["factor"]), int(state["waited"])
