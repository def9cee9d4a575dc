"""Quantiles of a number."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.types import Tokens
from polymodal.heads.base import ScoringHead
from polymodal.heads.scorer import Scorer
from polymodal.nn.precision import at_least_float32
from polymodal.targets.base import Target
from polymodal.targets.quantiles import QuantilesTarget

NEAREST = 1e-3  # of neighbouring quantiles at the start, in spreads


class Quantiles(ScoringHead):
    """Predicts the target's quantiles, standardised, by the pinball loss (Koenker & Bassett 1978).

    Of scores s the first quantile is s_1 and each further one lies softplus(s_q) above the one before, so that they
    never cross (increments as in Gasthaus et al. 2019). They start at the training rows' own quantiles, which are also
    the answer to a row without tokens. `hidden` units make it an MLP.
    """

    answers: ClassVar[tuple[type[Target], ...]] = (QuantilesTarget,)

    def __init__(self, width: int, target: QuantilesTarget, *, hidden: int = 0, dropout: float = 0.0):
        super().__init__(width, target)
        self.hidden = hidden
        self.dropout = dropout
        levels = torch.tensor(target.levels, dtype=torch.float64)
        start = torch.tensor(target.marginal, dtype=torch.float64) if target.marginal else torch.special.ndtri(levels)
        gaps = start.diff().clamp(min=NEAREST).expm1().log()  # softplus undone
        self.scorer = Scorer(width, torch.cat([start[:1], gaps]).float(), hidden=hidden, dropout=dropout)

    def score(self, tokens: Tokens) -> Tensor:
        scores = at_least_float32(self.scorer(tokens))
        return torch.cat([scores[:, :1], F.softplus(scores[:, 1:])], 1).cumsum(1)

    def loss_of_scores(self, scores: Tensor, truth: Tensor) -> Tensor:
        truth = truth.reshape(-1)
        known = ~truth.isnan()
        rows = self.target.pinball(at_least_float32(scores), torch.where(known, truth, 0.0)).mean(1)
        return (rows * known).sum() / known.sum().clamp(min=1)
