"""A number."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.types import Tokens
from polymodal.core.values import check_range
from polymodal.heads.base import ScoringHead
from polymodal.heads.scorer import Scorer
from polymodal.nn.precision import at_least_float32
from polymodal.targets.base import Target
from polymodal.targets.number import NumberTarget
from polymodal.targets.numbers import NumbersTarget


class Number(ScoringHead):
    """Predicts the standardised value, or several; entries that are not known do not count.

    `huber` is the residual, in spreads of the target, from which the loss grows linearly instead of quadratically, so
    that outliers pull less (Huber 1964); None is half the squared error. Prediction intervals come from
    validation residuals (`nn.calibrate.conformal_radius`), not from the head. `hidden` units make it an MLP.

    Raises `BadArgument` for a value out of range.
    """

    answers: ClassVar[tuple[type[Target], ...]] = (NumberTarget, NumbersTarget)

    def __init__(
        self,
        width: int,
        target: NumberTarget | NumbersTarget,
        *,
        hidden: int = 0,
        dropout: float = 0.0,
        huber: float | None = 1.0,
    ):
        super().__init__(width, target)
        self.hidden = hidden
        self.dropout = dropout
        self.huber = huber
        check_range("(0, inf)", huber=huber)
        self.scorer = Scorer(width, torch.zeros(target.width), hidden=hidden, dropout=dropout)

    def score(self, tokens: Tokens) -> Tensor:
        return self.scorer(tokens)

    def linear(self) -> tuple[Tensor, Tensor] | None:
        return self.scorer.linear()

    def loss_of_scores(self, scores: Tensor, truth: Tensor) -> Tensor:
        values = at_least_float32(scores)
        truth = truth.reshape(values.shape)
        known = ~truth.isnan()
        truth = torch.where(known, truth, 0.0).to(values.dtype)
        if self.huber is None:
            each = 0.5 * (values - truth) ** 2
        else:
            each = F.huber_loss(values, truth, reduction="none", delta=self.huber)
        return (each * known).sum() / known.sum().clamp(min=1)
