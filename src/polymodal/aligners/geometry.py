"""The shape of a stream's vectors, and how far two streams lie apart in one space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polymodal.aligners.neighbours import centred_unit

ALIKE = 0.999  # cosine of centred vectors from which two cells count as nearly the same


def effective_rank(vectors: np.ndarray) -> float:
    """exp of the entropy of the normalised singular values of the centred vectors (Roy & Vetterli 2007)."""
    x = np.asarray(vectors, dtype=np.float64)
    values = np.linalg.svd(x - x.mean(0), compute_uv=False)
    if not values.sum() > 0:
        return 0.0
    share = values[values > 0] / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def near_duplicates(vectors: np.ndarray) -> int:
    """How many rows have another, of theirs, at a cosine of `ALIKE` or more after centring."""
    unit = centred_unit(vectors)
    count = 0
    for start in range(0, len(unit), 1024):
        scores = unit[start : start + 1024] @ unit.T
        scores[np.arange(len(scores)), start + np.arange(len(scores))] = -1
        count += int((scores.max(1) >= ALIKE).sum()) if scores.shape[1] > 1 else 0
    return count


@dataclass(frozen=True)
class Gap:
    """The modality gap (Liang et al. 2022) between two streams of one space, as squared distances.

    `total` = `centroid` + `spread` is the squared 2-Wasserstein distance of Gaussians with the streams' means and
    covariances (Dowson & Landau 1982): how far the centres lie apart, and how differently the clouds are shaped.
    `null` is the same between random halves of one pooled cloud. `matched` and `unmatched` are mean cosines.
    """

    centroid: float
    spread: float
    total: float
    null: float
    matched: float
    unmatched: float


def modality_gap(a: np.ndarray, b: np.ndarray, *, seed: int = 0) -> Gap:
    """Of matched rows a [N, D] and b [N, D] of one space."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    centroid, spread = _parts(a, b)
    both = np.random.default_rng(seed).permutation(np.concatenate([a, b]))
    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b)]
    matched = float((unit[0] * unit[1]).sum(1).mean())
    everyone = float(unit[0].sum(0) @ unit[1].sum(0))
    unmatched = (everyone - matched * len(a)) / max(1, len(a) * (len(a) - 1))
    return Gap(centroid, spread, centroid + spread, sum(_parts(both[: len(a)], both[len(a) :])), matched, unmatched)


def _parts(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """|μa - μb|², and tr(A + B - 2 (A^½ B A^½)^½) of the covariances A and B."""
    one, two = ((x - x.mean(0)) / np.sqrt(len(x)) for x in (a, b))
    # The trace of that root is the sum of the singular values of the product of any two roots of A and B.
    cross = np.linalg.svd(one @ two.T if len(a) < a.shape[1] else _root(one) @ _root(two), compute_uv=False).sum()
    spread = float((one**2).sum() + (two**2).sum() - 2 * cross)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum()), max(spread, 0.0)


def _root(x: np.ndarray) -> np.ndarray:
    """The symmetric root of xᵀ x."""
    values, vectors = np.linalg.eigh(x.T @ x)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
