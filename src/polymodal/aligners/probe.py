"""What a linear map would find: retrieval of held-out partners by canonical correlation, cross-validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polymodal.core.errors import BadData

Z95 = 1.959964


@dataclass(frozen=True)
class Recall:
    """Share of queries that find their partner among the first `k` of `gallery` items, 95 % interval, and chance."""

    k: int
    mean: float
    low: float
    high: float
    chance: float

    @property
    def above_chance(self) -> bool:
        return self.low > self.chance


@dataclass(frozen=True)
class Probe:
    """Expected recall, both directions, from `pairs` in `folds` parts, and the first five canonical correlations."""

    forward: tuple[Recall, ...]
    backward: tuple[Recall, ...]
    gallery: int
    pairs: int
    folds: int
    correlations: tuple[float, ...]


def linear_probe(
    a: np.ndarray, b: np.ndarray, *, k: Sequence[int] = (1, 5, 10), folds: int = 5, seed: int = 0
) -> Probe:
    """Held-out retrieval of matched rows a [N, D] and b [N, E] by regularised CCA (Hotelling 1936; Vinod 1976).

    Each part is left out once; covariances of the others are shrunk by Ledoit & Wolf's formula (2004), so that nothing
    is tuned; canonical directions count by their correlation. A partner must be found among the part left out. Raises
    `BadData` for fewer than twenty pairs.
    """
    if len(a) != len(b) or len(a) < 20:
        raise BadData(f"A linear probe needs two streams of the same twenty or more pairs; got {len(a)} and {len(b)}.")
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    part = np.random.default_rng(seed).permutation(len(a)) % folds
    ranks: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    correlations = np.zeros(0)
    for fold in range(folds):
        train, test = part != fold, part == fold
        maps, correlations = canonical(a[train], b[train])
        scores = _unit((a[test] - maps[0][1]) @ maps[0][0]) @ _unit((b[test] - maps[1][1]) @ maps[1][0]).T
        for blocks, matrix in zip(ranks, (scores, scores.T)):
            mine = np.diag(matrix)[:, None]
            blocks.append((matrix >= mine).sum(1))  # ties count against us
    gallery = int(np.bincount(part).min())
    ways = [tuple(_recall(np.concatenate(blocks), n, gallery) for n in k if n < gallery) for blocks in ranks]
    return Probe(ways[0], ways[1], gallery, len(a), folds, tuple(float(c) for c in correlations[:5]))


Map = tuple[np.ndarray, np.ndarray]  # a matrix and the mean to take off before it


def canonical(a: np.ndarray, b: np.ndarray) -> tuple[tuple[Map, Map], np.ndarray]:
    """Both sides' maps to their canonical directions, each weighted by the root of its correlation, and those."""
    sides = []
    for x in (a, b):
        mean = x.mean(0)
        values, vectors = np.linalg.eigh(_shrunk(x - mean))
        sides.append((mean, vectors / np.sqrt(np.maximum(values, 1e-12))))
    (mean_a, white_a), (mean_b, white_b) = sides
    cross = ((a - mean_a) @ white_a).T @ ((b - mean_b) @ white_b) / len(a)
    left, strength, right = np.linalg.svd(cross, full_matrices=False)
    root = np.sqrt(strength)
    return ((white_a @ left * root, mean_a), (white_b @ right.T * root, mean_b)), strength


def _shrunk(centred: np.ndarray) -> np.ndarray:
    """Covariance drawn towards a multiple of the identity as far as Ledoit & Wolf (2004) find best."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    covariance = centred.T @ centred / len(centred)
    size = np.trace(covariance) / len(covariance)
    if size <= 0:
        return np.eye(len(covariance))
    share = float(ledoit_wolf_shrinkage(centred, assume_centered=True)) if len(covariance) > 1 else 0.0
    share = max(share, 1e-6)
    return (1 - share) * covariance + share * size * np.eye(len(covariance))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _recall(ranks: np.ndarray, k: int, gallery: int) -> Recall:
    """With Wilson's interval (1927)."""
    count, share = len(ranks), float((ranks <= k).mean())
    centre = (share + Z95**2 / (2 * count)) / (1 + Z95**2 / count)
    half = Z95 / (1 + Z95**2 / count) * np.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2))
    return Recall(k, share, max(0.0, centre - half), min(1.0, centre + half), k / gallery)


def recall_within(
    a: np.ndarray, b: np.ndarray, *, gallery: int, k: Sequence[int] = (1, 5, 10), seed: int = 0
) -> tuple[tuple[Recall, ...], tuple[Recall, ...]]:
    """Recall in a shared space, both directions, of matched rows [N, D], by cosine among random `gallery` rows."""
    parts = np.array_split(np.random.default_rng(seed).permutation(len(a)), max(1, len(a) // gallery))
    ranks: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for rows in parts:
        scores = _unit(a[rows]) @ _unit(b[rows]).T
        for blocks, matrix in zip(ranks, (scores, scores.T)):
            blocks.append((matrix >= np.diag(matrix)[:, None]).sum(1))
    size = min(len(rows) for rows in parts)
    ways = [tuple(_recall(np.concatenate(blocks), n, size) for n in k if n < size) for blocks in ranks]
    return ways[0], ways[1]
