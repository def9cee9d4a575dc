"""The other side of a training by turns: what opponents do after each step of the module that they are within."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from polymodal.core.runtime import autocast
from polymodal.nn.opponent import Opponent, opponents_of
from polymodal.train.optim import Adam


class Turns:
    """An optimiser for each opponent within `module`; of a module without any, nothing happens."""

    def __init__(self, module: nn.Module, precision: str):
        self.each = opponents_of(module)
        self.precision = precision
        self.optimizers = [_optimizer(one) for one in self.each]

    def begin(self) -> None:
        """Forget what was met in a step that was not finished."""
        for one in self.each:
            one.forget()

    def take(self, scale: float) -> None:
        """One step of every opponent that met something since `begin`, at `scale` times its rate."""
        for one, optimizer in zip(self.each, self.optimizers):
            met = one.forget()
            rows = sum(len(batch[0]) for batch in met)
            with one.learning():
                optimizer.zero_grad()
                for batch in met:
                    with autocast(batch[0].device, self.precision):
                        value = one.loss(*batch)
                    (value * (len(batch[0]) / rows)).backward()
                for group in optimizer.param_groups:
                    group["lr"] = one.lr * scale
                optimizer.step()
                optimizer.zero_grad()

    def state(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state(self, states: list[Mapping[str, Any]]) -> None:
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)


def _optimizer(one: Opponent) -> Adam:
    return Adam(
        [{"params": list(one.parameters()), "weight_decay": 0.0}], lr=one.lr, betas=one.betas, decoupled=False
    )  # fmt: skip
