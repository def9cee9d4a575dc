"""Bit strings within a radius of each other, without comparing all pairs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from polymodal.data.media import clusters

BITS = 64


def within(codes: np.ndarray, radius: int) -> np.ndarray:
    """For each uint64 code the place of the first code of its cluster; codes at most `radius` bits apart are joined.

    Two codes within the radius agree wholly in at least one of radius + 1 stretches of bits (multi-index hashing,
    Norouzi, Punjani & Fleet 2012), so only codes that share a stretch are compared.
    """
    unique, place = np.unique(codes, return_inverse=True)
    edges = [np.zeros((2, 0), np.int64)]
    bounds = np.linspace(0, BITS, radius + 2).round().astype(int)
    for low, high in pairwise(bounds.tolist()):
        stretch = (unique >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(stretch, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(stretch[order])) + 1):
            edges.append(_close(unique, group, radius))
    a, b = np.concatenate(edges, axis=1)
    return clusters.first_of(clusters.joined(a, b, len(unique))[place])


def keepers(codes: np.ndarray, radius: int) -> np.ndarray:
    """For each code the place of an earlier one that is kept and at most `radius` bits apart; else its own."""
    return clusters.keepers(within(codes, radius), lambda kept, rest: distance(codes[kept], codes[rest]) <= radius)


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many bits differ, elementwise."""
    return np.bitwise_count(a ^ b)


def _close(codes: np.ndarray, group: np.ndarray, radius: int) -> np.ndarray:
    """[2, E]: pairs of a group within the radius; a block of rows at a time, so that memory stays small."""
    pairs = [np.zeros((2, 0), np.int64)]
    step = max(1, (1 << 20) // max(len(group), 1))
    for start in range(0, len(group) - 1, step):
        rows = group[start : start + step]
        near = distance(codes[rows][:, None], codes[group][None]) <= radius
        i, j = np.nonzero(near)
        later = i + start < j
        pairs.append(np.stack([rows[i[later]], group[j[later]]]))
    return np.concatenate(pairs, axis=1)
