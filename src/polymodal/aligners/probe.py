"""What a linear map would find: retrieval of held-out partners by canonical correlation, cross-validated.

Recall falls as the gallery grows, so that two of them say something only in galleries of one size. From a query's rank
in a large gallery its expected recall in random smaller ones follows exactly (the hypergeometric distribution), and so
all recalls that stand beside one another are of one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom

from polymodal.core.errors import BadArgument, BadData

Z95 = 1.959964
K = (1, 5, 10)
TIE = 1e-12  # what rounding makes of equal cosines


@dataclass(frozen=True)
class Recall:
    """Share of queries that find their partner among the first `k` of `gallery` items, 95 % interval, and chance."""

    k: int
    gallery: int
    mean: float
    low: float
    high: float
    chance: float

    @property
    def above_chance(self) -> bool:
        return self.low > self.chance

    @property
    def lift(self) -> float:
        """How many times chance."""
        return self.mean / self.chance


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
    a: np.ndarray, b: np.ndarray, *, k: Sequence[int] = K, folds: int = 5, gallery: int | None = None, seed: int = 0
) -> Probe:
    """Held-out retrieval of matched rows a [N, D] and b [N, E] by regularised CCA (Hotelling 1936; Vinod 1976).

    Each part is left out once; covariances of the others are shrunk by Ledoit & Wolf's formula (2004), so that nothing
    is tuned; canonical directions count by their correlation. A partner must be found among `gallery` of the part left
    out, by default all. Raises `BadData` for fewer than twenty pairs, `BadArgument` for a gallery larger than a part.
    """
    if len(a) != len(b) or len(a) < 20:
        raise BadData(f"A linear probe needs two streams of the same twenty or more pairs; got {len(a)} and {len(b)}.")
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    part = np.random.default_rng(seed).permutation(len(a)) % folds
    gallery = gallery or int(np.bincount(part).min())
    ahead: list[np.ndarray] = []
    correlations = np.zeros(0)
    for fold in range(folds):
        train, test = part != fold, part == fold
        maps, correlations = canonical(a[train], b[train])
        ahead.append(_ahead(*mapped(maps, a[test], b[test])))
    sizes = np.concatenate([np.full(one.shape[1], one.shape[1]) for one in ahead])
    forward, backward = (_recalls(way, sizes, gallery, k) for way in np.concatenate(ahead, axis=1))
    return Probe(forward, backward, gallery, len(a), folds, tuple(float(c) for c in correlations[:5]))


Map = tuple[np.ndarray, np.ndarray]  # a matrix and the mean to take off before it


def canonical(a: np.ndarray, b: np.ndarray) -> tuple[tuple[Map, Map], np.ndarray]:
    """Both sides' maps to their canonical directions, each weighted by the root of its correlation, and those.

    Of fewer rows than numbers all is found from the rows' inner products, [N, N] instead of [D, D]: the rest of the
    space has no covariance with anything, so that the maps agree on whatever can be seen of them.
    """
    means, whites = zip(*((x.mean(0), _whitener(x - x.mean(0))) for x in (a, b)))
    cross = ((a - means[0]) @ whites[0]).T @ ((b - means[1]) @ whites[1]) / len(a)
    left, strength, right = np.linalg.svd(cross, full_matrices=False)
    root = np.sqrt(strength)
    return ((whites[0] @ left * root, means[0]), (whites[1] @ right.T * root, means[1])), strength


def mapped(maps: tuple[Map, Map], a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows a [N, D] and b [N, E] by their `canonical` maps."""
    return (a - maps[0][1]) @ maps[0][0], (b - maps[1][1]) @ maps[1][0]


def _whitener(centred: np.ndarray) -> np.ndarray:
    """[D, r]: W with Wᵀ C W = 1 in the r directions that vary. C is the covariance of `centred` rows [N, D], drawn
    towards a multiple of the identity as far as Ledoit & Wolf (2004) find best."""
    count, width = centred.shape
    few = count < width
    values, vectors = np.linalg.eigh((centred @ centred.T if few else centred.T @ centred) / count)
    kept = values > max(values.max(), 0.0) * max(count, width) * np.finfo(np.float64).eps
    values, vectors = values[kept], vectors[:, kept]
    directions = centred.T @ (vectors / np.sqrt(count * values)) if few else vectors
    size, spread = values.sum() / width, (values**2).sum()
    apart = (spread - width * size**2) / width
    noise = (((centred**2).sum(1) ** 2).mean() - spread) / (count * width)
    share = max(min(noise / apart, 1.0) if apart > 0 else 0.0, 1e-6)
    return directions / np.sqrt((1 - share) * values + share * size)


def _ahead(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[2, N]: how many others score no less by cosine than a row's own partner, both directions; ties count against."""
    scores = _unit(a) @ _unit(b).T
    return np.stack([(matrix >= np.diag(matrix)[:, None] - TIE).sum(1) - 1 for matrix in (scores, scores.T)])


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _recalls(ahead: np.ndarray, sizes: np.ndarray, gallery: int, k: Sequence[int]) -> tuple[Recall, ...]:
    """In galleries of one size, from how many stand ahead [N] of the partner among `sizes` [N], itself included."""
    if not 1 < gallery <= sizes.min():
        raise BadArgument(f"gallery is a number of items from 2 to {sizes.min()}, as many as there are; got {gallery}.")
    return tuple(_recall(hypergeom.cdf(n - 1, sizes - 1, ahead, gallery - 1), n, gallery) for n in k if n < gallery)


def _recall(found: np.ndarray, k: int, gallery: int) -> Recall:
    """With Wilson's interval (1927), as wide as if every query had found or not, so that it covers means as well."""
    count, share = len(found), float(found.mean())
    centre = (share + Z95**2 / (2 * count)) / (1 + Z95**2 / count)
    half = Z95 / (1 + Z95**2 / count) * np.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2))
    return Recall(k, gallery, share, float(max(0.0, centre - half)), float(min(1.0, centre + half)), k / gallery)


def recall_within(
    a: np.ndarray, b: np.ndarray, *, gallery: int, k: Sequence[int] = K
) -> tuple[tuple[Recall, ...], tuple[Recall, ...]]:
    """Recall in a shared space, both directions, of matched rows [N, D], by cosine among random `gallery` rows."""
    forward, backward = (_recalls(way, np.full(len(a), len(a)), gallery, k) for way in _ahead(a, b))
    return forward, backward


def difference(a: Recall, b: Recall) -> tuple[float, float]:
    """The 95 % interval of a's share less b's, from theirs (Newcombe 1998, method 10). Of the same queries, which agree
    as a rule, it is wider than it need be."""
    apart = a.mean - b.mean
    low, high = np.hypot(a.mean - a.low, b.high - b.mean), np.hypot(a.high - a.mean, b.mean - b.low)
    return float(apart - low), float(apart + high)
