"""Bit strings within a radius of each other, without comparing all pairs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from polymodal.data.media import clusters

BITS = 64
CROWD = 4096  # codes that share a stretch, above which not every pair of them is compared
BESIDE = 8  # codes that each of a crowd is compared with, on its one side in their order


def within(codes: np.ndarray, radius: int) -> np.ndarray:
    """For each uint64 code the place of the first code of its cluster; codes at most `radius` bits apart are joined.

    Two codes within the radius agree wholly in at least one of radius + 1 stretches of bits (multi-index hashing,
    Norouzi, Punjani & Fleet 2012), so only codes that share a stretch are compared. Where more than `CROWD` share one,
    as frames of a film do, each is compared with the first and with the `BESIDE` next in the order of their other bits:
    time and memory grow with the number of codes, and a crowd is still found to be one.
    """
    unique, place = np.unique(codes, return_inverse=True)
    first = np.arange(len(unique))
    bounds = np.linspace(0, BITS, radius + 2).round().astype(int)
    for low, high in pairwise(bounds.tolist()):
        stretch = (unique >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(stretch, kind="stable")
        edges = [np.stack([np.arange(len(unique)), first])]
        for group in np.split(order, np.flatnonzero(np.diff(stretch[order])) + 1):
            edges.append((_close if len(group) <= CROWD else _beside)(unique, group, radius))
        a, b = np.concatenate(edges, axis=1)
        first = clusters.joined(a, b, len(unique))  # a tree instead of all pairs so far: memory stays small
    return clusters.first_of(first[place])


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


def _beside(codes: np.ndarray, group: np.ndarray, radius: int) -> np.ndarray:
    """[2, E]: pairs of a crowd within the radius, of those that are looked at."""
    pairs = []
    held, half = codes[group], np.uint64(BITS // 2)
    for way in (held, (held << half) | (held >> half)):  # with the halves exchanged, another order tells what is alike
        order = group[np.argsort(way)]
        pairs += [(order[:-step], order[step:]) for step in range(1, BESIDE + 1)]
        pairs.append((np.full(len(order), order[0]), order))
    a, b = (np.concatenate(ends) for ends in zip(*pairs))
    near = distance(codes[a], codes[b]) <= radius
    return np.stack([a[near], b[near]])
