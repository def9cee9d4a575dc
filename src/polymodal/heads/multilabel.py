"""Any number of labels at once."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens
from polymodal.core.values import check_range
from polymodal.heads.base import ScoringHead
from polymodal.heads.scorer import Scorer
from polymodal.nn.precision import at_least_float32
from polymodal.targets.base import Target
from polymodal.targets.multilabel import MultilabelTarget

RAREST = 1e-4  # keeps the prior score of a label that training always, or never, carries finite
HEAVIEST = 100.0  # the largest weight of a positive: beyond it one rare label would drown the others


class Multilabel(ScoringHead):
    """One logistic regression a label, trained with binary cross-entropy.

    `positive_weight="balanced"` weighs a label's positives by (1 - f) / f, f its share in training, so that both its
    sides count the same (at most 100). A label is given where its probability is at least `threshold`. Entries whose
    target is NaN do not count. `hidden` units make it an MLP.

    Raises `BadArgument` for a value out of range, or for balancing without known frequencies.
    """

    answers: ClassVar[tuple[type[Target], ...]] = (MultilabelTarget,)
    weight: Tensor | None

    def __init__(
        self,
        width: int,
        target: MultilabelTarget,
        *,
        hidden: int = 0,
        dropout: float = 0.0,
        positive_weight: str | None = None,
        threshold: float = 0.5,
    ):
        super().__init__(width, target)
        self.hidden = hidden
        self.dropout = dropout
        self.positive_weight = positive_weight
        self.threshold = threshold
        check_range("(0, 1)", threshold=threshold)
        shares = torch.tensor(target.frequencies or [0.5] * target.width)
        self.scorer = Scorer(width, shares.clamp(RAREST, 1 - RAREST).logit(), hidden=hidden, dropout=dropout)
        self.register_buffer("weight", self._weight(), persistent=False)

    def _weight(self) -> Tensor | None:
        if self.positive_weight is None:
            return None
        if self.positive_weight != "balanced":
            raise BadArgument(f"positive_weight is None or 'balanced'; got {self.positive_weight!r}.")
        if not self.target.frequencies:
            raise BadArgument(f"positive_weight='balanced' needs the frequencies of {self.target.name!r}; it has none.")
        shares = torch.tensor(self.target.frequencies).clamp(RAREST, 1 - RAREST)
        return ((1 - shares) / shares).clamp(max=HEAVIEST)

    def score(self, tokens: Tokens) -> Tensor:
        return self.scorer(tokens)

    def linear(self) -> tuple[Tensor, Tensor] | None:
        return self.scorer.linear()

    def loss_of_scores(self, scores: Tensor, truth: Tensor) -> Tensor:
        scores, known = at_least_float32(scores), ~truth.isnan()
        entries = F.binary_cross_entropy_with_logits(
            scores, torch.where(known, truth, 0.0).to(scores.dtype), pos_weight=self.weight, reduction="none"
        )
        return (entries * known).sum() / known.sum().clamp(min=1)

    def decode(self, answer: Tensor) -> dict[str, np.ndarray]:
        return self.target.decode(answer, self.threshold)
