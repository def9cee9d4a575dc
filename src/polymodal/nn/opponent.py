"""A network that learns against the module that holds it, by turns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


class Opponent(nn.Module, ABC):
    """What a module is trained against: the critic of a generator, say. An author writes `loss`.

    Its parameters ask for a gradient in its own turn alone, so that losses of the module that holds it reach through it
    without moving it, and no other optimiser has them. Whoever holds it calls `meet` in training; after each step the
    loop gives it a turn (`train.turns`), by Adam at the rate `lr` with decays `betas`.
    """

    def __init__(self, *, lr: float, betas: tuple[float, float]):
        super().__init__()
        self.lr, self.betas = lr, betas
        self._met: list[tuple[Tensor, ...]] = []

    @abstractmethod
    def loss(self, *met: Tensor) -> Tensor:
        """The mean loss of a batch that it met."""

    def meet(self, *batch: Tensor) -> None:
        """Remember tensors [B, …], cut off from the graph, for the turn that comes next."""
        self._met.append(tuple(one.detach() for one in batch))

    def forget(self) -> list[tuple[Tensor, ...]]:
        """What was met since the last turn, which is remembered no longer."""
        met, self._met = self._met, []
        return met

    @contextmanager
    def learning(self) -> Iterator[None]:
        """While the block runs, the parameters ask for gradients."""
        self.requires_grad_(True)
        try:
            yield
        finally:
            self.requires_grad_(False)


def opponents_of(module: nn.Module) -> list[Opponent]:
    """Those within a module."""
    return [part for part in module.modules() if isinstance(part, Opponent)]
