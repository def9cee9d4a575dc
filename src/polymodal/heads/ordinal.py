"""One of several classes that have an order."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.types import Tokens
from polymodal.heads.base import ScoringHead
from polymodal.heads.scorer import Scorer
from polymodal.nn.precision import at_least_float32
from polymodal.targets.base import Target
from polymodal.targets.ordinal import OrdinalTarget

RAREST = 1e-4  # a class never seen in training is given this share, so that its threshold stays finite


class Ordinal(ScoringHead):
    """Rank-consistent ordinal regression: CORAL (Cao, Mirjalili, Raschka 2020).

    One score f and K - 1 descending thresholds: P(y > k) = σ(f + b_k), the proportional odds of McCullagh (1980). The
    loss is the sum over k of the binary cross-entropy of "is y above k?", so that a miss costs the more the farther it
    is. The paper proves that trained thresholds descend; here their gaps are softplus of a parameter, so that they
    always do and P(y = k) = P(y > k - 1) - P(y > k) is never negative. Scores are log P(y = k) [B, K]: rules, blends
    and temperatures treat them as those of classes, and the loss reads P(y > k) back from whatever they became.

    They start at the training frequencies, which are also the answer to a row without tokens. `hidden` units make f an
    MLP.
    """

    answers: ClassVar[tuple[type[Target], ...]] = (OrdinalTarget,)
    first: Tensor
    log_prior: Tensor

    def __init__(self, width: int, target: OrdinalTarget, *, hidden: int = 0, dropout: float = 0.0):
        super().__init__(width, target)
        self.hidden = hidden
        self.dropout = dropout
        shares = torch.tensor(target.frequencies or [1 / target.width] * target.width, dtype=torch.float64)
        shares = shares.clamp(min=RAREST) / shares.clamp(min=RAREST).sum()
        above = (1 - shares.cumsum(0)[:-1]).clamp(RAREST / 2, 1 - RAREST / 2).logit()
        self.scorer = Scorer(width, torch.zeros(1), hidden=hidden, dropout=dropout)
        self.register_buffer("first", above[:1].float(), persistent=False)
        self.register_buffer("log_prior", shares.log().float(), persistent=False)
        gaps = (above[:-1] - above[1:]).clamp(min=1e-3)
        self.gaps = nn.Parameter(gaps.expm1().log().float()) if len(gaps) else None  # softplus undone

    def score(self, tokens: Tokens) -> Tensor:
        above = at_least_float32(self.scorer(tokens)) + self.first
        gaps = above.new_zeros(0) if self.gaps is None else F.softplus(self.gaps)
        above = above - F.pad(gaps, (1, 0)).cumsum(0)  # [B, K - 1], descending
        # log(σ(a) - σ(b)) for a > b is log σ(a) + log σ(-b) + log(1 - exp(b - a)), whatever a is
        between = F.logsigmoid(above[:, :-1]) + F.logsigmoid(-above[:, 1:]) + torch.log(-torch.expm1(-gaps))
        scores = torch.cat([F.logsigmoid(-above[:, :1]), between, F.logsigmoid(above[:, -1:])], 1)
        return torch.where(tokens.present[:, None], scores, self.log_prior)

    def loss_of_scores(self, scores: Tensor, truth: Tensor) -> Tensor:
        known = truth >= 0
        log_p = at_least_float32(scores).log_softmax(1)
        above = log_p.flip(1).logcumsumexp(1).flip(1)[:, 1:]  # log P(y > k), k = 0 … K - 2
        below = log_p.logcumsumexp(1)[:, :-1]
        is_above = truth[:, None] > torch.arange(above.shape[1], device=truth.device)
        rows = -torch.where(is_above, above, below).sum(1)
        return (rows * known).sum() / known.sum().clamp(min=1)
