"""One of several classes that have an order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.numbers import as_number
from polymodal.core.registry import Spec
from polymodal.core.words import key_of, label_of
from polymodal.targets.classes import ClassesTarget
from polymodal.targets.labels import place_of, places

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class OrdinalTarget(ClassesTarget):
    """One of several classes that have an order: grades, stages, stars.

    `order` names the classes from the least to the greatest. Without it they are ordered by value where all are
    numbers, or by the number that each of them holds ("grade 2", "10-20"); words alone are not guessed. Scores are
    logits of the classes [B, K], so that whatever serves classes serves these; the head knows their order.

    Raises `BadArgument` for an order that names a class twice, or for words without one.
    """

    order: tuple[Any, ...] = field(default=(), kw_only=True)

    head: ClassVar[str] = "ordinal"

    def __post_init__(self) -> None:
        order = tuple(label_of(label) for label in self.order)
        if len(set(map(key_of, order))) != len(order):
            raise BadArgument(f"The order of {self.name!r} names a class twice: {', '.join(order)}.")
        object.__setattr__(self, "order", order)

    def ordered(self, labels: Mapping[str, int]) -> tuple[str, ...]:
        if self.order:
            known = places(self.order)
            if lacking := sorted(label for label in labels if place_of(label, known) < 0):
                raise BadData(
                    f"Target {self.name!r} is {lacking[0]!r} in a training row, which its order lacks: "
                    f"{', '.join(self.order)}. Add it to the order, or correct or empty the cell."
                )
            return self.order
        held = {label: _place(label) for label in labels}
        if None in held.values() or len(set(held.values())) < len(held):
            shown = ", ".join(sorted(labels)[:8])
            raise BadArgument(
                f"The order of {self.name!r} cannot be told from its classes: {shown}. Give it in the schema: "
                f"target: {{{self.name}: {{kind: ordinal, order: [least, …, greatest]}}}}."
            )
        return tuple(sorted(labels, key=lambda label: held[label] or 0.0))

    @property
    def summary(self) -> str:
        return f"{len(self.classes)} ordered classes, {self.classes[0]} to {self.classes[-1]}"

    @property
    def task(self) -> str:
        return f"one of {len(self.classes)} ordered classes"

    @property
    def metrics(self) -> tuple[Spec, ...]:
        return ("accuracy", "quadratic_kappa", "balanced_accuracy", "f1_macro", "log_loss", "auroc", "ece")

    def row_score(self, scores: Tensor, truth: Tensor) -> Tensor:
        """One minus the steps between the likeliest class and the true one, as a share of all steps."""
        steps = (scores.argmax(-1) - truth).abs().float() / (len(self.classes) - 1)
        return torch.where(truth >= 0, 1 - steps, torch.nan)


def _place(label: str) -> float | None:
    """The number that a label is, or the first that it holds."""
    number = as_number(label)
    if number is None and (held := _NUMBER.search(label)):
        number = float(held[0])
    return number
