"""Which points are near which, and whether two spaces agree about it."""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument
from polymodal.nn.normalize import l2_normalize

CHUNK = 2048  # points at a time


def nearest(vectors: Tensor, k: int) -> Tensor:
    """[N, k] int64: the `k` other points nearest to each by cosine, best first; of equal ones those of lower number."""
    vectors = l2_normalize(vectors)
    neighbours = []
    for start in range(0, len(vectors), CHUNK):
        cosine = vectors[start : start + CHUNK] @ vectors.T
        own = torch.arange(len(cosine), device=vectors.device)
        cosine[own, own + start] = -torch.inf
        neighbours.append(cosine.argsort(dim=1, descending=True, stable=True)[:, :k])
    return torch.cat(neighbours)


def mutual_knn(a: Tensor, b: Tensor, *, k: int = 10) -> Tensor:
    """[N]: the share of each item's `k` nearest that is the same in two spaces [N, Da] and [N, Db].

    Mutual k-NN (Huh, Cheung, Wang & Isola 2024); k / (N - 1) by chance. Raises `BadArgument` when k is not below N.
    """
    if len(a) != len(b):
        raise BadArgument(f"Both spaces must hold the same items in the same order; got {len(a)} and {len(b)}.")
    if not 1 <= k < len(a):
        raise BadArgument(f"k must be at least 1 and below the number of items, {len(a)}; got {k}.")
    near, also = nearest(a, k), nearest(b, k)
    return (near[:, :, None] == also[:, None, :]).any(2).to(l2_normalize(a).dtype).mean(1)
