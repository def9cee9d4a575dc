"""Products of vectors: the full outer product and its low-rank form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def with_one(x: Tensor) -> Tensor:
    """[B, D] to [B, D + 1]: a 1 appended, so that products also hold the lower orders."""
    return F.pad(x, (0, 1), value=1.0)


def outer_product(vectors: Sequence[Tensor]) -> Tensor:
    """All products of one entry of each of K vectors [B, D_k]: [B, D_1 · … · D_K], the last vector's entry fastest."""
    out = vectors[0]
    for vector in vectors[1:]:
        out = (out[:, :, None] * vector[:, None, :]).flatten(1)
    return out


def low_rank_product(vectors: Sequence[Tensor], factors: Sequence[Tensor]) -> Tensor:
    """The outer product of K vectors [B, D_k] contracted with a tensor of rank R, without forming either.

    `factors[k]` is [R, D_k, out]; the tensor is Σ_r ⊗_k factors[k][r]. Returns [B, out]: Σ_r Π_k (x_k @ factors[k][r]).
    """
    product: Tensor | None = None
    for vector, factor in zip(vectors, factors, strict=True):
        rank, width, out = factor.shape
        mapped = (vector @ factor.transpose(0, 1).reshape(width, rank * out)).unflatten(1, (rank, out))
        product = mapped if product is None else product * mapped
    if product is None:
        raise ValueError("low_rank_product needs at least one vector")
    return torch.sum(product, 1)
