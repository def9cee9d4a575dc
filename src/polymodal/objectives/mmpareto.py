"""MMPareto: unimodal losses that never work against the joint one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from polymodal.core.values import check_range
from polymodal.objectives.base import Objective, Setting, Step
from polymodal.objectives.stream_heads import StreamHeads


class MMPareto(Objective):
    """A head a stream; each tower steps along what helps both its own loss and the joint one (Wei & Hu 2024).

    With g the joint loss's gradient of a tower and u its own head's: where g·u ≥ 0 the tower takes gamma · (g + u).
    Where they conflict it takes gamma · h with h = 2 (a g + (1 - a) u), a such that h is as short as can be (then
    h·g ≥ 0 and h·u ≥ 0), lengthened to |g + u| if it is shorter. The heads and the fusion get their plain gradients.
    """

    def __init__(self, setting: Setting, *, gamma: float = 1.5):
        super().__init__(setting)
        self.gamma = gamma
        check_range("(0, inf)", gamma=gamma)
        self.alone = StreamHeads(setting)
        self._change: dict[str, Tensor] = {}  # between `losses` and `act` of one step

    def losses(self, step: Step) -> dict[str, Tensor]:
        alone = self.alone.losses(step.streams, step.targets)
        self._change = {}
        if not torch.is_grad_enabled():
            return {f"mmpareto/{name}": loss for name, loss in alone.items()}
        joint = sum(step.losses.values(), next(iter(alone.values())).new_zeros(()))
        for name, loss in alone.items():
            tower = [p for p in step.towers.get(name, ()) if p.requires_grad]
            if tower and loss.requires_grad and joint.requires_grad:
                g, u = _gradient(joint, tower), _gradient(loss, tower)
                self._change[name] = integrated(g, u, self.gamma) - (g + u)
        return {f"mmpareto/{name}": loss for name, loss in alone.items()}

    def act(self, step: Step) -> None:
        """Adds what the integrated gradient differs by from g + u, so that other objectives' gradients stay."""
        for name, change in self._change.items():
            tower = [p for p in step.towers[name] if p.requires_grad]
            for parameter, part in zip(tower, change.split([p.numel() for p in tower])):
                if parameter.grad is not None:
                    parameter.grad.add_(part.view_as(parameter))
        self._change = {}


def integrated(g: Tensor, u: Tensor, gamma: float) -> Tensor:
    """The gradient [P] that a tower takes, from the joint one `g` [P] and its own `u` [P]."""
    both = g + u
    if g @ u >= 0:
        return gamma * both
    a = least_norm(g, u)
    combined = 2 * (a * g + (1 - a) * u)
    length = combined.norm()
    return gamma * combined * (both.norm() / length).clamp(min=1) if length > 0 else combined


def least_norm(g: Tensor, u: Tensor) -> Tensor:
    """a in [0, 1] for which a g + (1 - a) u is shortest (Sener & Koltun 2018)."""
    difference = u - g
    return ((difference @ u) / (difference @ difference).clamp(min=torch.finfo(u.dtype).tiny)).clamp(0, 1)


def _gradient(loss: Tensor, tower: Sequence[Tensor]) -> Tensor:
    """One vector of the gradients of `loss`, which stays in the graph; zero where it does not depend on a parameter."""
    gradients = torch.autograd.grad(loss, tower, retain_graph=True, allow_unused=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for p, g in zip(tower, gradients)])
