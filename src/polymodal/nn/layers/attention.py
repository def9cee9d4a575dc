"""Multi-head attention that is safe where there is nothing to attend to."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.errors import BadArgument
from polymodal.nn.layers.grouped import linear
from polymodal.nn.layers.pool import masked_softmax

LONG = 512  # keys from which bfloat16 flash attention pays on a CPU; below it, its backward pass is the slowest choice

# Of query, key, value and mask, as `attend` takes them.
Rule = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


class Held(NamedTuple):
    """Keys and values that were computed once, [B, H, S, D] each."""

    key: Tensor
    value: Tensor

    def followed_by(self, other: Held) -> Held:
        """With those of later places behind them."""
        return Held(torch.cat([self.key, other.key], 2), torch.cat([self.value, other.value], 2))

    def repeated(self, times: int) -> Held:
        """Every row `times` times, [B · times, H, S, D]; one's copies stand together."""
        if times == 1:
            return self
        return Held(self.key.repeat_interleave(times, 0), self.value.repeat_interleave(times, 0))


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *, sure: bool = False) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017): softmax(q kᵀ / √D) v.

    `query` [B, H, L, D], `key` and `value` [B, H, S, D]; `mask` bool, [B, S] or [B, L, S], True = may be attended to.
    A query that may attend to no key gets zeros, never NaN. Values at masked places must be finite (`Tokens.cleared`).
    Returns [B, H, L, D]. `sure`: every query is known to see a key, so that none need be looked for.

    In training under bfloat16 on a CPU it computes in float32: short sequences are several times faster so.
    """
    empty = None
    if mask is not None:
        mask = _for_heads(mask)
        if not sure:
            empty = ~mask.any(-1, keepdim=True)
            mask = mask | empty
    out = _weighed(query, key, value, mask)
    return out if empty is None else out.masked_fill(empty, 0.0)


def attend_back(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Causal attention: the L queries [B, H, L, D] are the last of S places, and each sees itself and those before it.

    `mask` bool [B, S] of places that may be seen; None: all. A query's own place must be among them.
    """
    queries, keys = query.shape[2], key.shape[2]
    if mask is not None:
        return attend(query, key, value, prefix_mask(mask, 0, queries), sure=True)
    if queries == 1:
        return _weighed(query, key, value, None)
    if queries == keys:
        return _weighed(query, key, value, None, causal=True)
    return _weighed(query, key, value, prefix_mask(query.new_ones(1, keys, dtype=torch.bool), 0, queries)[:, None])


def prefix_mask(mask: Tensor, prefix: int, queries: int | None = None) -> Tensor:
    """Who may see whom in a prefix language model (Liu et al. 2018): `mask & (causal | is_prefix)`, [B, L, S] bool.

    `mask` [B, S] says which places are real. The first `prefix` of them see one another and are seen by all; each of
    the others sees itself and what stands before it. Of the last `queries` places; None: of all S.
    """
    places = torch.arange(mask.shape[1], device=mask.device)
    asking = places if queries is None else places[len(places) - queries :]
    return mask[:, None] & ((places <= asking[:, None]) | (places < prefix))


def _weighed(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, causal: bool = False) -> Tensor:
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad and key.shape[-2] < LONG:
        with torch.autocast("cpu", enabled=False):
            exact = query.float(), key.float(), value.float()
            return F.scaled_dot_product_attention(*exact, attn_mask=mask, is_causal=causal).to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)


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
        return self.read(x, self.hold(x if context is None else context), mask, rule)

    def hold(self, context: Tensor) -> Held:
        """Keys and values of a context [B, S, context_dim], to be computed once and read often."""
        return Held(*self.key_value(context).unflatten(-1, (2 * self.heads, -1)).transpose(1, 2).chunk(2, dim=1))

    def read(self, x: Tensor, held: Held, mask: Tensor | None = None, rule: Rule = attend) -> Tensor:
        """As `forward`, where the context's keys and values are at hand."""
        return self.out(rule(self._queries(x), held.key, held.value, mask).transpose(1, 2).flatten(-2))

    def weights(self, x: Tensor, mask: Tensor, context: Tensor | Held | None = None) -> Tensor:
        """How much each query attends to each key, [B, heads, L, S]: 1 in sum over the keys, or 0 where none is."""
        held = context if isinstance(context, Held) else self.hold(x if context is None else context)
        query = self._queries(x)
        scores = query @ held.key.transpose(-2, -1) / query.shape[-1] ** 0.5
        return masked_softmax(scores, _for_heads(mask).expand_as(scores))

    def _queries(self, x: Tensor) -> Tensor:
        """[B, heads, L, D]."""
        return self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
