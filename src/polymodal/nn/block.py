"""Pre-norm Transformer blocks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.nn.attention import MultiHeadAttention


class FeedForward(nn.Sequential):
    """The Transformer's two-layer perceptron: [..., dim] to [..., dim] over `expansion` · dim GELU units."""

    def __init__(self, dim: int, *, expansion: float = 2.0, dropout: float = 0.0):
        hidden = max(1, round(dim * expansion))
        super().__init__(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))


class TokenDropout(nn.Module):
    """Dropout that hides a channel in all tokens of a row at once, [B, L, D] (Gal & Ghahramani 2016).

    It draws B · D random numbers instead of B · L · D, which for short training steps on a CPU is a large part of the
    cost.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.rate:
            return x
        return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), self.rate)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)) (Vaswani et al. 2017; pre-norm: Xiong et al. 2020).

    `dropout` acts on both branches. Masked places are carried along and never read.
    """

    def __init__(self, dim: int, heads: int, *, expansion: float = 2.0, dropout: float = 0.0):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = MultiHeadAttention(dim, heads)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = FeedForward(dim, expansion=expansion)
        self.dropout = TokenDropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """`x` [B, L, dim] attends to `context` [B, S, dim], by default to itself; returns [B, L, dim].

        `mask` is bool: [B, S], the real places of the context, or [B, L, S], who may read whom.
        """
        seen = None if context is None else self.norm(context)
        x = x + self.dropout(self.attention(self.norm(x), mask, seen))
        return x + self.dropout(self.feed(self.feed_norm(x)))
