"""A number."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.errors import BadArgument
from polymodal.core.types import Target, Tokens
from polymodal.heads.base import Head
from polymodal.heads.scorer import Scorer
from polymodal.nn.precision import at_least_float32

FARTHEST = 20.0  # spreads from the mean; beyond it exp() of a logarithmic target means nothing and may overflow


class Number(Head):
    """Predicts the standardised value.

    `huber` is the residual, in spreads of the target, from which the loss grows linearly instead of quadratically, so
    that outliers pull less (Huber 1964); None is half the squared error. Prediction intervals come from
    validation residuals (`evaluate.calibration.conformal_radius`), not from the head. `hidden` units make it an MLP.

    Raises `BadArgument` for a value out of range.
    """

    kinds: ClassVar[tuple[str, ...]] = ("number",)

    def __init__(self, width: int, target: Target, *, hidden: int = 0, dropout: float = 0.0, huber: float | None = 1.0):
        super().__init__(width, target)
        self.hidden = hidden
        self.dropout = dropout
        self.huber = huber
        if huber is not None and huber <= 0:
            raise BadArgument(f"huber must be above 0, or None for the squared error; got {huber}.")
        self.scorer = Scorer(width, torch.zeros(1), hidden=hidden, dropout=dropout)

    def score(self, tokens: Tokens) -> Tensor:
        return self.scorer(tokens)

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        target = target.reshape(-1)
        known = ~target.isnan()
        values = at_least_float32(scores)[:, 0]
        truth = torch.where(known, target, 0.0).to(values.dtype)
        if self.huber is None:
            rows = 0.5 * (values - truth) ** 2
        else:
            rows = F.huber_loss(values, truth, reduction="none", delta=self.huber)
        return (rows * known).sum() / known.sum().clamp(min=1)

    def decode(self, scores: Tensor) -> dict[str, np.ndarray]:
        """{"value": [B] float64} in the user's units."""
        values = scores.detach().float()[:, 0].cpu().numpy()
        return {"value": self.target.restore(values.clip(-FARTHEST, FARTHEST) if self.target.log else values)}
