"""Multi-head attention that is safe where there is nothing to attend to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.errors import BadArgument
from polymodal.nn.layers.grouped import linear
from polymodal.nn.layers.pool import masked_softmax

LONG = 512  # keys from which bfloat16 flash attention pays on a CPU; below it, its backward pass is the slowest choice

# Of query, key, value and mask, as `attend` takes them.
Rule = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017): softmax(q kᵀ / √D) v.

    `query` [B, H, L, D], `key` and `value` [B, H, S, D]; `mask` bool, [B, S] or [B, L, S], True = may be attended to.
    A query that may attend to no key gets zeros, never NaN. Values at masked places must be finite (`Tokens.cleared`).
    Returns [B, H, L, D].

    In training under bfloat16 on a CPU it computes in float32: short sequences are several times faster so.
    """
    empty = None
    if mask is not None:
        mask = _for_heads(mask)
        empty = ~mask.any(-1, keepdim=True)
        mask = mask | empty
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad and key.shape[-2] < LONG:
        with torch.autocast("cpu", enabled=False):
            out = F.scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=mask)
        out = out.to(query.dtype)
    else:
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return out if empty is None else out.masked_fill(empty, 0.0)


def _for_heads(mask: Tensor) -> Tensor:
    """[B, S] or [B, L, S] to four dimensions, the same for all heads and, in the first case, all queries."""
    return mask[:, None, None] if mask.ndim == 2 else mask[:, None]


class MultiHeadAttention(nn.Module):
    """Attention of `x` to itself, or to a `context`.

    `dim` is the width of `x` and of the result and must be a multiple of `heads`, else `BadArgument`; `context_dim` is
    the context's width (default: `dim`). There is no dropout on the attention weights: it would cost the fast kernels.
    The last map has no bias, so that a query with nothing to attend to gets exact zeros. With `groups` it holds that
    many sets of weights, for as many equal parts of the rows (`nn.grouped`).
    """

    def __init__(self, dim: int, heads: int, *, context_dim: int | None = None, groups: int = 1):
        super().__init__()
        if heads < 1 or dim % heads:
            fitting = [h for h in range(1, dim + 1) if dim % h == 0]
            raise BadArgument(f"A width of {dim} cannot be cut into {heads} heads. Allowed: {fitting}.")
        self.heads = heads
        self.query = linear(dim, dim, groups=groups)
        self.key_value = linear(context_dim or dim, 2 * dim, groups=groups)
        self.out = linear(dim, dim, groups=groups, bias=False)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, context: Tensor | None = None, rule: Rule = attend
    ) -> Tensor:
        """`x` [B, L, dim] and `context` [B, S, context_dim] (None: `x`) to [B, L, dim].

        `mask` bool [B, S] or [B, L, S] says which places of the context are real; a query with none gets zeros. `rule`
        is how queries attend to keys: `attend`, or one of `nn.long`.
        """
        query, key, value = self._split(x, context)
        return self.out(rule(query, key, value, mask).transpose(1, 2).flatten(-2))

    def weights(self, x: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:
        """How much each query attends to each key, [B, heads, L, S]: 1 in sum over the keys, or 0 where none is."""
        query, key, _ = self._split(x, context)
        scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
        return masked_softmax(scores, _for_heads(mask).expand_as(scores))

    def _split(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [B, heads, L, D], keys and values [B, heads, S, D]."""
        context = x if context is None else context
        key, value = self.key_value(context).unflatten(-1, (2 * self.heads, -1)).transpose(1, 2).chunk(2, dim=1)
        return self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2), key, value
