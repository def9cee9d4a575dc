"""A head that reads an answer which a stream's tokens carry already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from polymodal.core.types import Tokens
from polymodal.heads.base import ScoringHead


class SaidHead(ScoringHead):
    """Scores as `read` finds them in pooled vectors: nothing is learned. `usual`, a head of the target's own kind,
    tells the prior of rows without a token, and losses."""

    def __init__(self, width: int, usual: ScoringHead, read: Callable[[Tensor], Tensor]):
        super().__init__(width, usual.target)
        self._usual = [usual]  # not a part: it has no weights to keep
        self._read = read
        self.register_buffer("_prior", usual.prior(), persistent=False)
        self._prior: Tensor

    def score(self, tokens: Tokens) -> Tensor:
        scores = self._read(tokens.pooled)
        return torch.where(tokens.present[:, None], scores, self._prior.to(scores.dtype))

    def loss_of_scores(self, scores: Tensor, truth: Tensor) -> Tensor:
        return self._usual[0].loss_of_scores(scores, truth)

    def decode(self, answer: Tensor) -> dict[str, Any]:
        return self._usual[0].decode(answer)
