"""How near vectors that belong together lie in a space, beside those that do not.

CLIPScore (Hessel et al. 2021) is 2.5 max(cosine, 0), a factor that belongs to CLIP's range. Here stands the cosine
itself beside the mean cosine of pairs exchanged, without which no value says anything: vectors of a space often share a
direction. A score from the very space that a generator was trained by praises it too much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from polymodal.core.errors import BadData
from polymodal.evaluation.statistics import Interval, bootstrap
from polymodal.metrics.counts import ratio
from polymodal.metrics.values import Values


@dataclass(frozen=True)
class Cosines:
    """Mean cosine of `pairs`, of all exchanged ones (`shuffled`), and their `difference`, each with its interval."""

    pairs: Interval
    shuffled: Interval
    difference: Interval


def cosine_score(a: Any, b: Any, *, groups: Any = None, seed: int = 0, level: float = 0.95) -> Cosines:
    """The mean cosine of pairs a[i], b[i] of vectors [N, D], and of all pairs a[i], b[j] that do not belong together.

    `groups` [N] names what belongs together: a photo's five captions are no exchanged pairs of each other, and are
    drawn as one. Exchanged pairs are all that there are, not a sample of them. Intervals are over rows, or groups.

    Raises `BadData` for shapes that do not fit, vectors that are not finite or have no length, and fewer than two rows
    or groups.
    """
    left, right = _units(a, "the first"), _units(b, "the second")
    if left.shape != right.shape:
        raise BadData(f"Pairs are two arrays [N, D]; got {left.shape} and {right.shape}.")
    if groups is not None and len(groups) != len(left):
        raise BadData(f"groups names a group for each of the {len(left)} pairs; got {len(groups)}.")
    group = np.arange(len(left)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if not len(left) or group.max() < 1:
        raise BadData(f"Nothing can be exchanged in {len(left)} pairs of one group: give at least two.")
    rows = np.arange(len(left), dtype=np.float64)  # what `weighted` is handed: which pairs
    return Cosines(*(
        bootstrap(_Cosine(left, right, group, part), rows, rows[None], seed=seed, level=level, groups=group)
        for part in ("pairs", "shuffled", "difference")
    ))  # fmt: skip


class _Cosine(Values):
    """A mean over pairs, or over pairs of different groups, of rows repeated as the weights say."""

    bounds = (-2.0, 2.0)

    def __init__(self, left: np.ndarray, right: np.ndarray, group: np.ndarray, part: str):
        self.left, self.right, self.group, self.part = left, right, group, part
        order = np.argsort(group, kind="stable")
        self.order, self.starts = order, np.searchsorted(group[order], np.arange(group.max() + 1))

    def one(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        own = np.einsum("nd,nd->n", self.left, self.right) @ weights / weights.sum(0)
        if self.part == "pairs":
            return own
        return self._shuffled(weights) if self.part == "shuffled" else own - self._shuffled(weights)

    def _shuffled(self, weights: np.ndarray) -> np.ndarray:
        """Of all pairs less those within a group: sums over rows, and over each group's, whose weights are one."""
        sums = [np.add.reduceat(side[self.order], self.starts, axis=0) for side in (self.left, self.right)]
        size = np.bincount(self.group).astype(np.float64)
        often = weights[self.order][self.starts]  # [G, R]: a group is drawn as a whole
        whole = np.einsum("rd,rd->r", *(often.T @ side for side in sums))
        within = np.einsum("gd,gd->g", *sums) @ often**2
        return ratio(whole - within, (size @ often) ** 2 - size**2 @ often**2)


def _units(vectors: Any, which: str) -> np.ndarray:
    array = vectors.detach().cpu().numpy() if hasattr(vectors, "detach") else np.asarray(vectors)
    if array.ndim != 2:
        raise BadData(f"Vectors are [N, D]; {which} are {array.shape}.")
    array = array.astype(np.float64)
    norm = np.linalg.norm(array, axis=1, keepdims=True)
    if not np.isfinite(norm).all() or not (norm > 0).all():
        row = int(np.flatnonzero(~(np.isfinite(norm) & (norm > 0)))[0])
        raise BadData(f"Row {row} of {which} vectors has no direction: it is zero, or not finite.")
    return array / norm
