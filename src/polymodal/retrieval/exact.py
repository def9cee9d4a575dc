"""Exact search: one matrix product a block of the corpus, and the k largest of each row without sorting the rest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BLOCK = 4 << 20  # scores held at a time
SPARSE = 4  # gather the allowed items first when they are fewer than one in so many
_GROUP = 64  # scores whose maximum stands for them

Adjust = Callable[[np.ndarray, "np.ndarray | slice"], np.ndarray]


def search(
    queries: np.ndarray, vectors: np.ndarray, allowed: np.ndarray | None, k: int, adjust: Adjust | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k items of `vectors` [N, D] with the largest inner product, for each of `queries` [Q, D].

    `allowed` [N] bool holds items back. `adjust(scores [Q, n], items)` turns inner products into other scores. Gives
    items [Q, k], best first, of equals the lowest number, -1 where there are fewer; and their scores, -inf there.
    """
    listed = None
    if allowed is not None:
        count = int(np.count_nonzero(allowed))
        if count == len(vectors):
            allowed = None
        elif count * SPARSE < len(vectors):
            listed = np.flatnonzero(allowed)
    total = len(vectors) if listed is None else len(listed)
    top = np.full((len(queries), k), -1, dtype=np.int64), np.full((len(queries), k), -np.inf, dtype=np.float32)
    step = max(_GROUP * k, BLOCK // max(1, len(queries)))
    for start in range(0, total, step):
        piece = slice(start, min(start + step, total))
        items: np.ndarray | slice = piece if listed is None else listed[piece]
        scores = queries @ vectors[items].T
        if adjust is not None:
            scores = adjust(scores, items)
        if listed is None and allowed is not None:
            scores[:, ~allowed[piece]] = -np.inf
        places, best = largest(scores, k)
        numbers = places + start if listed is None else listed[piece][places]
        block = np.where(places < 0, -1, numbers), best
        top = block if step >= total else merge(top, block, k)
    return top


def largest(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Places [Q, k] and values of the k largest of each row of `scores` [Q, n], as `search` gives them.

    The k-th largest maximum of groups is no larger than the k-th largest score, and few scores lie above it: they are
    found by a comparison, and only they are sorted.
    """
    places = np.full((len(scores), k), -1, dtype=np.int64)
    values = np.full((len(scores), k), -np.inf, dtype=np.float32)
    groups = scores.shape[1] // _GROUP
    least = np.full(len(scores), -np.inf, dtype=scores.dtype)
    if groups >= k:
        maxima = scores[:, : groups * _GROUP].reshape(len(scores), _GROUP, groups).max(axis=1)
        least = np.partition(maxima, groups - k, axis=1)[:, groups - k]
    for i, row in enumerate(scores):
        some = np.flatnonzero(row >= least[i]) if least[i] > -np.inf else np.flatnonzero(row > -np.inf)
        best = some[np.argsort(-row[some], kind="stable")[:k]]
        places[i, : len(best)], values[i, : len(best)] = best, row[best]
    return places, values


def merge(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray], k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of two results over different items."""
    items, scores = np.concatenate([a[0], b[0]], axis=1), np.concatenate([a[1], b[1]], axis=1)
    order = np.lexsort((np.where(items < 0, np.iinfo(np.int64).max, items), -scores))[:, :k]
    return np.take_along_axis(items, order, 1), np.take_along_axis(scores, order, 1)
