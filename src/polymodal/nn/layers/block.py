"""Pre-norm Transformer blocks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.nn.layers.attention import Held, MultiHeadAttention, Rule, attend, attend_back
from polymodal.nn.layers.grouped import linear, norm


class FeedForward(nn.Sequential):
    """The Transformer's two-layer perceptron: [..., dim] to [..., dim] over `expansion` · dim GELU units.

    With `groups`, that many of them for as many equal parts of the rows (`nn.grouped`).
    """

    def __init__(self, dim: int, *, expansion: float = 2.0, dropout: float = 0.0, groups: int = 1):
        hidden = max(1, round(dim * expansion))
        first, second = linear(dim, hidden, groups=groups), linear(hidden, dim, groups=groups)
        super().__init__(first, nn.GELU(), nn.Dropout(dropout), second)


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

    `dropout` acts on both branches. Masked places are carried along and never read. With `groups` it holds that many
    sets of weights, for as many equal parts of the rows (`nn.grouped`).
    """

    def __init__(self, dim: int, heads: int, *, expansion: float = 2.0, dropout: float = 0.0, groups: int = 1):
        super().__init__()
        self.norm = norm(dim, groups=groups)
        self.attention = MultiHeadAttention(dim, heads, groups=groups)
        self.feed_norm = norm(dim, groups=groups)
        self.feed = FeedForward(dim, expansion=expansion, groups=groups)
        self.dropout = TokenDropout(dropout)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, context: Tensor | None = None, rule: Rule = attend
    ) -> Tensor:
        """`x` [B, L, dim] attends to `context` [B, S, dim], by default to itself; returns [B, L, dim].

        `mask` is bool: [B, S], the real places of the context, or [B, L, S], who may read whom. `rule` is how queries
        attend to keys: `attend`, or one of `nn.long`.
        """
        seen = None if context is None else self.norm(context)
        x = x + self.dropout(self.attention(self.norm(x), mask, seen, rule))
        return x + self.dropout(self.feed(self.feed_norm(x)))

    def after(
        self, x: Tensor, past: Held | None, mask: Tensor | None = None, rule: Rule = attend_back
    ) -> tuple[Tensor, Held]:
        """As `forward` to itself, where earlier places went through before; and the keys and values of all of them.

        `x` [B, L, dim] stands behind the S - L places of `past` (None: nothing); `mask` is of all S.
        """
        queries = self.norm(x)
        held = self.attention.hold(queries)
        held = held if past is None else past.followed_by(held)
        x = x + self.dropout(self.attention.read(queries, held, mask, rule))
        return x + self.dropout(self.feed(self.feed_norm(x))), held


class DecoderBlock(nn.Module):
    """A Transformer decoder's block (Vaswani et al. 2017; pre-norm): x + attention to itself and what stands before it,
    then x + attention to a context, then x + feed-forward.

    The context is normalised on its own, since its values are not of the words' kind. `dropout` acts on every branch.
    """

    def __init__(self, dim: int, heads: int, *, expansion: float = 2.0, dropout: float = 0.0):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = MultiHeadAttention(dim, heads)
        self.context_norm = nn.LayerNorm(dim)
        self.cross_norm = nn.LayerNorm(dim)
        self.cross = MultiHeadAttention(dim, heads)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = FeedForward(dim, expansion=expansion)
        self.dropout = TokenDropout(dropout)

    def hold(self, context: Tensor) -> Held:
        """Keys and values of a context [B, S, dim]."""
        return self.cross.hold(self.context_norm(context))

    def forward(
        self, x: Tensor, past: Held | None, seen: Held, mask: Tensor, watched: list[Tensor] | None = None
    ) -> tuple[Tensor, Held]:
        """`x` [B · R, L, dim], R rows to a context, behind the places of `past`; `seen` by `hold`, with `mask` [B, S].

        Returns x, and the keys and values of `past` and `x`. The cross-attention's weights [B · R, L, S], averaged over
        heads, are added to `watched`.
        """
        queries = self.norm(x)
        held = self.attention.hold(queries)
        held = held if past is None else past.followed_by(held)
        x = x + self.dropout(self.attention.read(queries, held, None, attend_back))
        # The rows of one context ask side by side, so that its keys and values are there but once.
        asking = self.cross_norm(x).view(len(mask), -1, x.shape[-1])
        if watched is not None:
            watched.append(self.cross.weights(asking, mask, seen).mean(1).view(*x.shape[:2], mask.shape[1]))
        x = x + self.dropout(self.cross.read(asking, seen, mask).view_as(x))
        return x + self.dropout(self.feed(self.feed_norm(x))), held
