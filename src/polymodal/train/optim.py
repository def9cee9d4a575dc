"""Optimisers and learning-rate schedules by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from polymodal.config import Training

EPS = 1e-8


class Adam:
    """Adam (Kingma & Ba 2015), or with `decoupled` weight decay AdamW (Loshchilov & Hutter 2019), by torch's kernel.

    The steps are those of `torch.optim` with `fused=True`, bit by bit, and so is the state. Torch's own class imports
    its compiler when it is built, which costs a process 1.2 s and most trainings here more than their steps.
    """

    def __init__(
        self, groups: Sequence[Mapping[str, Any]], *,
        lr: float, decoupled: bool, betas: Sequence[float] = (0.9, 0.999),
    ):  # fmt: skip
        self.param_groups = [{"lr": lr, **group} for group in groups]
        self.decoupled = decoupled
        self.betas = betas
        self._kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
        self._parameters = [p for group in self.param_groups for p in group["params"]]
        self._state: list[tuple[Tensor, Tensor, Tensor] | None] = [None] * len(self._parameters)  # moments, steps

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or set them to zero."""
        for parameter in self._parameters:
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad = torch.zeros_like(parameter.grad)

    @torch.no_grad()
    def step(self) -> None:
        """One step of the parameters that have a gradient."""
        start = 0
        for group in self.param_groups:
            moved, held = [], []
            for i, p in enumerate(group["params"], start):
                if p.grad is None:
                    continue
                if (state := self._state[i]) is None:
                    state = torch.zeros_like(p), torch.zeros_like(p), torch.zeros((), device=p.device)
                    self._state[i] = state
                moved.append(p)
                held.append(state)
            start += len(group["params"])
            if not moved:
                continue
            first, second, steps = map(list, zip(*held))
            torch._foreach_add_(steps, 1)
            self._kernel(
                moved, [p.grad for p in moved], first, second, [], steps, lr=group["lr"], beta1=self.betas[0],
                beta2=self.betas[1], weight_decay=group["weight_decay"], eps=EPS, amsgrad=False, maximize=False,
            )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """As `torch.optim` has it, so that a training begun with that goes on."""
        names = ("exp_avg", "exp_avg_sq", "step")
        state = {i: dict(zip(names, held)) for i, held in enumerate(self._state) if held is not None}
        return {"state": state, "param_groups": [{**g, "params": len(g["params"])} for g in self.param_groups]}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a state; the groups' options stay those given."""
        for i, held in saved["state"].items():
            self._state[i] = held["exp_avg"].clone(), held["exp_avg_sq"].clone(), held["step"].clone()


@torch.no_grad()
def clip_gradients(parameters: Sequence[nn.Parameter], most: float) -> None:
    """Scale all gradients so that together their norm is `most` at most, as `torch.nn.utils.clip_grad_norm_` does.

    That sorts them by device and type first, which takes a small step longer than the norm itself.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if gradients:
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        torch._foreach_mul_(gradients, (most / (norm + 1e-6)).clamp(max=1.0))


def make_optimizer(module: nn.Module, options: Training) -> Adam | Optimizer:
    """The named optimiser over the trainable parameters; weight decay on matrices only, not on biases and norms."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    match options.optimizer:
        case "adamw" | "adam" as name:
            return Adam(groups, lr=options.lr, decoupled=name == "adamw", betas=options.betas)
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

    def __init__(self, optimizer: Adam | Optimizer, options: Training, steps: int):
        self.optimizer = optimizer
        self.options = options
        self.steps = max(steps, 1)
        self.warm = max(1, round(self.steps * options.warmup)) if options.warmup else 0
        self.factor = 1.0
        self.waited = 0

    def before_step(self, step: int) -> None:
        """`step` counts from 0."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.lr * self.scale(step)

    def after_epoch(self, improved: bool) -> None:
        """Only `plateau` listens."""
        if self.options.schedule != "plateau":
            return
        self.waited = 0 if improved else self.waited + 1
        if self.waited >= 3:
            self.factor, self.waited = self.factor / 2, 0

    def scale(self, step: int) -> float:
        """The share of the peak rate."""
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
