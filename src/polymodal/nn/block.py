"""Pre-norm Transformer blocks."""

from __future__ import annotations

from torch import Tensor, nn

from polymodal.nn.attention import MultiHeadAttention


class FeedForward(nn.Sequential):
    """The Transformer's two-layer perceptron: [..., dim] to [..., dim] over `expansion` · dim GELU units."""

    def __init__(self, dim: int, *, expansion: float = 2.0, dropout: float = 0.0):
        hidden = max(1, round(dim * expansion))
        super().__init__(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)) (Vaswani et al. 2017; pre-norm: Xiong et al. 2020).

    `dropout` acts within the feed-forward part and on both branches. Masked places are carried along and never read.
    """

    def __init__(self, dim: int, heads: int, *, expansion: float = 2.0, dropout: float = 0.0):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = MultiHeadAttention(dim, heads)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = FeedForward(dim, expansion=expansion, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`x` [B, L, dim] and `mask` bool, [B, L] real places or [B, L, L] who may read whom, to [B, L, dim]."""
        x = x + self.dropout(self.attention(self.norm(x), mask))
        return x + self.dropout(self.feed(self.feed_norm(x)))
