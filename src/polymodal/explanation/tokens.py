"""Where a model looked: what each token of each stream contributed to one answer.

Gradient times input (Shrikumar et al. 2017; Ancona et al. 2018): the weight of token t is the sum over its D numbers of
the answer's gradient times the number, to first order what the answer would lose without the token. Above 0 the token
speaks for the answer, below 0 against it. `Tokens.where` says which part of the source a token is.

A layer norm in front of all else, as decoders of words have, makes such weights add up to 0, whatever the tokens said:
there tokens are taken out, one by one (`taken_out`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from polymodal.core.types import Tokens

Score = Callable[[Mapping[str, Tokens]], Tensor]
RIDGE = 1e-4  # of the tokens' own size: equal tokens get equal shares instead of a division by zero


def token_weights(streams: Mapping[str, Tokens], score: Score) -> dict[str, Tensor]:
    """What each token contributes to `score(streams)` [B]: [B, T] a stream, zero where the mask is False.

    Most fusions read `pooled` alone. Its gradient reaches the tokens by their shares in it (see `shares`), so that
    weights are exact for any weighted mean or sum of the tokens, and as good as the shares for other poolings.

    Empty when the score has no gradient, as with trees.
    """
    leaves = {name: _leaf(tokens) for name, tokens in streams.items()}
    with torch.enable_grad():
        value = score(leaves)
        if not value.requires_grad:
            return {}
        inputs = [part for tokens in leaves.values() for part in (tokens.x, tokens.pooled)]
        slopes = torch.autograd.grad(value.sum(), inputs, allow_unused=True)
    contributions = {}
    for (name, tokens), slope, pooled_slope in zip(leaves.items(), slopes[::2], slopes[1::2]):
        x = tokens.x.detach()
        weights = x.new_zeros(x.shape[:2])
        if slope is not None:
            weights = weights + (slope * x).sum(-1)
        if pooled_slope is not None:
            weights = weights + shares(tokens) * (x @ pooled_slope[:, :, None])[..., 0]
        contributions[name] = torch.where(tokens.mask, weights, 0.0)
    return contributions


def shares(tokens: Tokens) -> Tensor:
    """[B, T] the share a_t of every token in `pooled`: least squares of pooled on Σ_t a_t x_t; zero where masked.

    Exact for a mean, a sum and any weighted mean of independent tokens.
    """
    x = torch.where(tokens.mask[..., None], tokens.x.detach(), 0.0).double()
    gram = x @ x.mT
    size = gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)
    ridge = RIDGE * size[:, None, None] * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    solution = torch.linalg.solve(gram + ridge, x @ tokens.pooled.detach().double()[..., None])
    return torch.where(tokens.mask, solution[..., 0], 0.0).to(tokens.x.dtype)


def taken_out(tokens: Tokens) -> Tokens:
    """One row's tokens, as often as there are real ones, each time without one of these: its mask is cleared, and its
    share (see `shares`) is no more in `pooled`."""
    real = tokens.mask[0].nonzero()[:, 0]
    without = tokens.mask.repeat(len(real), 1)
    without[torch.arange(len(real)), real] = False
    part = (shares(tokens)[0, :, None] * tokens.x[0])[real]
    some = tokens.select(torch.zeros(len(real), dtype=torch.long))
    return replace(some, mask=without, pooled=some.pooled - part).cleared()


def _leaf(tokens: Tokens) -> Tokens:
    return replace(tokens, x=tokens.x.detach().requires_grad_(), pooled=tokens.pooled.detach().requires_grad_())
