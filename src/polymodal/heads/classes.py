"""One of several classes."""

from __future__ import annotations

from typing import ClassVar

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
from polymodal.targets.classes import ClassesTarget

RAREST = 1e-4  # a class never seen in training is given this share, so that its prior score stays finite


class Classes(ScoringHead):
    """Softmax over the classes.

    The loss of a row of class y is `-w_y (1 - p_y)^focal log p_y`, averaged with weights w. `class_weight="balanced"`
    takes w_c = 1 / (C f_c), f the training frequencies, so that every class weighs the same (King & Zeng 2001).
    `focal` above 0 turns attention to rows still answered badly (Lin et al. 2017). `label_smoothing` in [0, 1) spreads
    that share of the target evenly over the classes (Szegedy et al. 2016). `hidden` units make it an MLP.

    Raises `BadArgument` for a value out of range, or for balancing without known frequencies.
    """

    answers: ClassVar[tuple[type[Target], ...]] = (ClassesTarget,)
    weight: Tensor | None

    def __init__(
        self,
        width: int,
        target: ClassesTarget,
        *,
        hidden: int = 0,
        dropout: float = 0.0,
        class_weight: str | None = None,
        focal: float = 0.0,
        label_smoothing: float = 0.0,
    ):
        super().__init__(width, target)
        self.hidden = hidden
        self.dropout = dropout
        self.class_weight = class_weight
        self.focal = focal
        self.label_smoothing = label_smoothing
        check_range("[0, inf)", focal=focal)
        check_range("[0, 1)", label_smoothing=label_smoothing)
        shares = torch.tensor(target.frequencies or [1 / target.width] * target.width)
        self.scorer = Scorer(width, shares.clamp(min=RAREST).log(), hidden=hidden, dropout=dropout)
        self.register_buffer("weight", self._weight(), persistent=False)

    def _weight(self) -> Tensor | None:
        if self.class_weight is None:
            return None
        if self.class_weight != "balanced":
            raise BadArgument(f"class_weight is None or 'balanced'; got {self.class_weight!r}.")
        if not self.target.frequencies:
            raise BadArgument(f"class_weight='balanced' needs the frequencies of {self.target.name!r}; it has none.")
        shares = torch.tensor(self.target.frequencies)
        return torch.where(shares > 0, 1 / (len(shares) * shares.clamp(min=RAREST)), torch.ones(()))

    def score(self, tokens: Tokens) -> Tensor:
        return self.scorer(tokens)

    def linear(self) -> tuple[Tensor, Tensor] | None:
        return self.scorer.linear()

    def loss_of_scores(self, scores: Tensor, truth: Tensor) -> Tensor:
        scores = at_least_float32(scores)
        if not (truth >= 0).any():
            return scores.sum() * 0.0  # keeps the graph, so that a batch without labels can be stepped over
        if not self.focal:
            return F.cross_entropy(scores, truth, self.weight, ignore_index=-1, label_smoothing=self.label_smoothing)
        return self._focal(scores[truth >= 0], truth[truth >= 0])

    def _focal(self, scores: Tensor, truth: Tensor) -> Tensor:
        log_p = scores.log_softmax(1)
        terms = -log_p * (1 - log_p.exp()).clamp(min=1e-6) ** self.focal  # the clamp keeps the gradient finite below 1
        if self.weight is not None:
            terms = terms * self.weight
        own = terms.gather(1, truth[:, None])[:, 0]
        rows = (1 - self.label_smoothing) * own + self.label_smoothing * terms.mean(1)
        return rows.mean() if self.weight is None else rows.sum() / self.weight[truth].sum()
