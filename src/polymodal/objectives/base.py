"""Objective: what training lowers, or changes, besides the loss of the answer itself.

A joint model learns greedily: the stream that answers first takes the gradient away from the others, which then stay
under-trained in their towers (Wang, Tran, Feiszli 2020; Huang, Lin, Zhou, Yin, Huang 2022). An objective works against
it by further losses, by changing the towers' gradients before the step, or by both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, final

from torch import Tensor, nn

from polymodal.core.errors import BadArgument
from polymodal.core.part import Part
from polymodal.core.types import Output, Tokens
from polymodal.targets.base import MEANINGS, ScoredTarget


class Answering(Protocol):
    """What an objective may ask of the answer in training."""

    training: bool

    def join(self, prepared: Mapping[str, Tokens]) -> Output:
        """Scores from streams as they come out of their towers."""

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The answer's own named losses."""

    def train(self, mode: bool = True) -> Any:
        """Into training mode, or out of it."""


@dataclass(frozen=True)
class Setting:
    """What is known before training: the streams' widths as the fusion sees them, the targets, and how to build a head.

    `head(width, target)` gives a module from `Tokens` to scores with `loss(tokens, truth)`.
    """

    widths: Mapping[str, int]
    targets: Sequence[ScoredTarget]
    head: Callable[[int, ScoredTarget], Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The streams, sorted."""
        return tuple(sorted(self.widths))


@dataclass(frozen=True)
class Step:
    """One batch under way.

    `streams` are as they come out of their towers, in the graph; `losses` those that are there already: the answer's
    own and those of objectives before this one. `towers` are the parameters that belong to one stream: its encoder in
    fine-tuning, and its adapter. `progress` is the share of epochs that are over.
    """

    answer: Answering
    streams: Mapping[str, Tokens]
    output: Output
    targets: Mapping[str, Tensor]
    losses: Mapping[str, Tensor]
    towers: Mapping[str, Sequence[nn.Parameter]]
    progress: float = 0.0


Read = Callable[[Tensor], Step]  # a step of given rows in eval mode and without gradient


class Objective(Part):
    """Something that training lowers or changes, for a joint answer to all targets of `setting`.

    An author writes one or several of `losses`, `act`, `after_step`, `mask_streams`, `hold` and `between_epochs`. What
    is kept from step to step or from epoch to epoch is a buffer, so that an interrupted training goes on to the same
    result.

    Raises `BadArgument` for a target whose scores do not mean what it needs.
    """

    needs: ClassVar[tuple[str, ...]] = MEANINGS  # what a target's scores may mean for it to be served
    single: ClassVar[bool] = False  # True: serves one target only

    def __init__(self, setting: Setting):
        super().__init__()
        self.setting = setting
        self.names = setting.names
        if self.single and len(setting.targets) > 1:
            raise BadArgument(
                f"The objective {type(self).__name__} is for one target; there are {len(setting.targets)}. `unimodal` "
                "and `ogm` serve several."
            )
        for target in setting.targets:
            if target.scores not in self.needs:
                raise BadArgument(
                    f"The objective {type(self).__name__} needs scores of {' or '.join(self.needs)}; the "
                    f"target {target.name!r} is {target.kind}. `unimodal` and `ogm` serve all that have scores."
                )

    @final  # type: ignore[misc]
    def forward(self, step: Step) -> dict[str, Tensor]:
        """Named losses to add to those of `step`."""
        return self.losses(step)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Named scalars that training lowers besides the answer's own; none unless overridden."""
        return {}

    def act(self, step: Step) -> None:
        """Change the towers' gradients (`parameter.grad`) between backward and the optimiser's step."""

    def after_step(self) -> None:
        """Called after the optimiser's step, to change what it did to the towers."""

    def mask_streams(self, streams: dict[str, Tokens]) -> dict[str, Tokens]:
        """The raw streams of a training batch, with some of them masked."""
        return streams

    def hold(self, rows: Tensor) -> Tensor:
        """The training rows [n] that may be trained on; others are kept for the objective's own measuring."""
        return rows

    def between_epochs(self, done: int, read: Read) -> None:
        """Called before the first epoch, with `done` 0, and after each; `read` measures rows."""
