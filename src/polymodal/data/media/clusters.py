"""Sets of items that are alike, directly or through others, and which of a set is kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_ROUNDS = 200  # items of one cluster that may be kept; what is left beyond is kept as well


def joined(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    """For each of 0..count-1 the first of those that the pairs (a, b) join it to, directly or through others."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(a), bool), (a, b)), shape=(count, count))
    return first_of(connected_components(graph, directed=False)[1])


def first_of(label: np.ndarray) -> np.ndarray:
    """For each item the place of the first with its label."""
    first = np.full(label.max(initial=-1) + 1, len(label))
    np.minimum.at(first, label, np.arange(len(label)))
    return first[label]


def crowded(cluster: np.ndarray) -> int:
    """How many items share their cluster with another."""
    return int((np.bincount(cluster, minlength=1) > 1)[cluster].sum())


def keepers(cluster: np.ndarray, near: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """For each item an earlier one of its cluster that it is itself `near` and that is kept; else its own place.

    The ends of a chain may have little in common. So the first of a cluster is kept and takes those near it, then the
    first of the rest, and so on.
    """
    of, first = np.arange(len(cluster)), np.empty(len(cluster), np.int64)
    rest = np.flatnonzero(np.bincount(cluster, minlength=len(cluster))[cluster] > 1)
    for _ in range(_ROUNDS):
        if not len(rest):
            break
        first[cluster[rest[::-1]]] = rest[::-1]  # of several the last assigned stays: the earliest
        kept = first[cluster[rest]]
        taken = near(kept, rest)
        of[rest[taken]] = kept[taken]
        rest = rest[~taken]
    return of
