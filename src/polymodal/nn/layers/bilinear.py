"""Products of vectors: the full outer product and its low-rank form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.3  # of each factor's start: with 1, products of four streams drown the linear terms
LEAST = 1e-4  # beneath the root of `signed_root`


def with_one(x: Tensor) -> Tensor:
    """[B, D] to [B, D + 1]: a 1 appended, so that products also hold the lower orders."""
    return F.pad(x, (0, 1), value=1.0)


def outer_product(vectors: Sequence[Tensor]) -> Tensor:
    """All products of one entry of each of K vectors [B, D_k]: [B, D_1 · … · D_K], the last vector's entry fastest."""
    out = vectors[0]
    for vector in vectors[1:]:
        out = (out[:, :, None] * vector[:, None, :]).flatten(1)
    return out


def low_rank_terms(vectors: Sequence[Tensor], factors: Sequence[Tensor]) -> Tensor:
    """The R terms of `low_rank_product`, [B, R, out]: term r is Π_k (x_k @ factors[k][r])."""
    product: Tensor | None = None
    for vector, factor in zip(vectors, factors, strict=True):
        rank, width, out = factor.shape
        mapped = (vector @ factor.transpose(0, 1).reshape(width, rank * out)).unflatten(1, (rank, out))
        product = mapped if product is None else product * mapped
    if product is None:
        raise ValueError("a product needs at least one vector")
    return product


def low_rank_product(vectors: Sequence[Tensor], factors: Sequence[Tensor]) -> Tensor:
    """The outer product of K vectors [B, D_k] contracted with a tensor of rank R, without forming either.

    `factors[k]` is [R, D_k, out]; the tensor is Σ_r ⊗_k factors[k][r]. Returns [B, out]: Σ_r Π_k (x_k @ factors[k][r]).
    """
    return torch.sum(low_rank_terms(vectors, factors), 1)


def low_rank_factors(widths: Iterable[int], rank: int, out: int) -> nn.ParameterList:
    """Factors [rank, width + 1, out] for vectors with a 1 appended, a vector each.

    They start such that the product is near linear in each vector and holds all products: the 1s alone give 1.
    """
    widths = list(widths)
    constant = rank ** (-1 / len(widths))
    factors = [torch.randn(rank, width + 1, out) * (SLOPE * constant / width**0.5) for width in widths]
    for factor in factors:
        factor[:, -1] = constant
    return nn.ParameterList(factors)


def signed_root(x: Tensor) -> Tensor:
    """sign(x) √|x|, as x / √(|x| + 1e-4), whose gradient stays finite at zero."""
    return x * torch.rsqrt(x.abs() + LEAST)
