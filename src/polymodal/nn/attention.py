"""Multi-head attention that is safe where there is nothing to attend to."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.errors import BadArgument

LONG = 512  # keys from which bfloat16 flash attention pays on a CPU; below it, its backward pass is the slowest choice


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017): softmax(q kᵀ / √D) v.

    `query` [B, H, L, D], `key` and `value` [B, H, S, D]; `mask` bool, [B, S] or [B, L, S], True = may be attended to.
    A query that may attend to no key gets zeros, never NaN. Values at masked places must be finite (`Tokens.cleared`).
    Returns [B, H, L, D].

    In training under bfloat16 on a CPU it computes in float32: short sequences are several times faster so.
    """
    empty = None
    if mask is not None:
        mask = mask[:, None, None] if mask.ndim == 2 else mask[:, None]
        empty = ~mask.any(-1, keepdim=True)
        mask = mask | empty
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad and key.shape[-2] < LONG:
        with torch.autocast("cpu", enabled=False):
            out = F.scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=mask)
        out = out.to(query.dtype)
    else:
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return out if empty is None else out.masked_fill(empty, 0.0)


class MultiHeadAttention(nn.Module):
    """Attention of `x` to itself, or to a `context`.

    `dim` is the width of `x` and of the result and must be a multiple of `heads`, else `BadArgument`; `context_dim` is
    the context's width (default: `dim`). There is no dropout on the attention weights: it would cost the fast kernels.
    The last map has no bias, so that a query with nothing to attend to gets exact zeros.
    """

    def __init__(self, dim: int, heads: int, *, context_dim: int | None = None):
        super().__init__()
        if heads < 1 or dim % heads:
            fitting = [h for h in range(1, dim + 1) if dim % h == 0]
            raise BadArgument(f"A width of {dim} cannot be cut into {heads} heads. Allowed: {fitting}.")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(context_dim or dim, 2 * dim)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """`x` [B, L, dim] and `context` [B, S, context_dim] (None: `x`) to [B, L, dim].

        `mask` bool [B, S] or [B, L, S] says which places of the context are real; a query with none gets zeros.
        """
        context = x if context is None else context
        key, value = self.key_value(context).unflatten(-1, (2 * self.heads, -1)).transpose(1, 2).chunk(2, dim=1)
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return self.out(attend(query, key, value, mask).transpose(1, 2).flatten(-2))
