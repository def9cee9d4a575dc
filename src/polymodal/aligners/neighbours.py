"""Do two streams call the same items near? Mutual neighbours against chance, as permutations show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polymodal.core.errors import BadData


@dataclass(frozen=True)
class MutualNeighbours:
    """Share of the k nearest neighbours that two streams have in common, over `items` matched one to one.

    `null` is its mean and `null_high` the 95 % quantile when items are matched at random; `p` the share of random
    matchings that are as good; `excess` the part of the way from chance to 1.
    """

    share: float
    null: float
    null_high: float
    p: float
    excess: float
    k: int
    items: int
    permutations: int


def mutual_neighbours(
    a: np.ndarray, b: np.ndarray, *, k: int = 10, permutations: int = 200, seed: int = 0
) -> MutualNeighbours:
    """Mutual k-NN (Huh, Cheung, Wang & Isola 2024) of matched rows a [N, D] and b [N, E], by cosine after centring.

    Raw values rise with k/N and with the vectors' shape, so that they mean nothing alone; against a permutation null,
    which keeps both streams as they are and breaks only the matching, they do (as calibrated in 2026, arXiv
    2602.14486), and the size of the sample belongs to the result (Back into Plato's Cave, 2026). p is the
    rank of the true matching among the permuted ones, ties broken by lot, so that it is uniform where nothing connects
    the streams. Raises `BadData` for fewer than four items.
    """
    count = len(a)
    if count != len(b) or count < 4:
        raise BadData(f"Mutual neighbours need two streams of the same four or more items; got {len(a)} and {len(b)}.")
    k = min(k, count // 2)
    ours, theirs = nearest(a, k), nearest(b, k)
    adjacent = np.zeros((count, count), dtype=bool)
    adjacent[np.arange(count)[:, None], ours] = True
    draw = np.random.default_rng(seed)

    def share(order: np.ndarray) -> float:
        """With item i of a matched to item order[i] of b."""
        back = np.empty(count, dtype=np.int64)
        back[order] = np.arange(count)
        return float(adjacent[np.arange(count)[:, None], back[theirs[order]]].mean())

    observed = share(np.arange(count))
    null = np.array([share(draw.permutation(count)) for _ in range(permutations)])
    equal = int((null == observed).sum())
    p = (1 + int((null > observed).sum()) + int(draw.integers(equal + 1))) / (1 + permutations)
    mean = float(null.mean())
    return MutualNeighbours(
        observed, mean, float(np.quantile(null, 0.95)), p, (observed - mean) / (1 - mean), k, count, permutations
    )


def nearest(vectors: np.ndarray, k: int) -> np.ndarray:
    """[N, k] the rows nearest to each row by cosine of centred vectors, itself excluded, nearest first."""
    unit = centred_unit(vectors)
    neighbours = np.empty((len(unit), k), dtype=np.int64)
    for start in range(0, len(unit), 1024):
        scores = unit[start : start + 1024] @ unit.T
        scores[np.arange(len(scores)), start + np.arange(len(scores))] = -np.inf
        some = np.argpartition(scores, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, some, 1), axis=1, kind="stable")
        neighbours[start : start + 1024] = np.take_along_axis(some, order, 1)
    return neighbours


def centred_unit(vectors: np.ndarray) -> np.ndarray:
    """Rows minus their mean, of length one (zero where nothing is left)."""
    centred = np.asarray(vectors, dtype=np.float64)
    centred = centred - centred.mean(0)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
