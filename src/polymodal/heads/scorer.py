"""Pooled vector to scores: what every head shares."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.core.values import check_range


class Scorer(nn.Module):
    """A linear map of the pooled vector, or an MLP of one hidden layer of `hidden` units (0: linear).

    `prior` [C] is the answer to a row with no token at all; it also starts the bias, so that training begins at the
    training frequencies rather than at a uniform guess (Lin et al. 2017, section 3.3).
    """

    prior: Tensor

    def __init__(self, width: int, prior: Tensor, *, hidden: int, dropout: float):
        super().__init__()
        check_range("[0, inf)", "hidden units", hidden=hidden)
        check_range("[0, 1)", dropout=dropout)
        self.register_buffer("prior", prior)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Sequential(nn.Linear(width, hidden), nn.GELU()) if hidden else nn.Identity()
        self.out = nn.Linear(hidden or width, len(prior))
        with torch.no_grad():
            self.out.bias.copy_(prior)

    def linear(self) -> tuple[Tensor, Tensor] | None:
        """Weights [width, C] and biases [C], where there is no hidden layer."""
        return None if isinstance(self.hidden, nn.Sequential) else (self.out.weight.T, self.out.bias)

    def forward(self, tokens: Tokens) -> Tensor:
        """Tokens [B, T, width] to scores [B, C]."""
        scores = self.out(self.dropout(self.hidden(tokens.pooled)))
        return torch.where(tokens.present[:, None], scores, self.prior.to(scores.dtype))
