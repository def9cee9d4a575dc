"""Cross-fitting: tokens of training rows come from encoders that did not see those rows.

An encoder tuned on its training rows is over-confident on those very rows, so a fusion fitted on their tokens learns to
trust the wrong stream. Each part's encoder therefore encodes the part left out of its training (out-of-fold features;
Wolpert 1992, Chernozhukov et al. 2018). Encoders trained apart live in spaces of their own; a rotation and a shift
found on validation rows, which none of them saw, take each part's tokens into the space of the encoder that is deployed
(Procrustes; Schönemann 1966).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import block_diag

from polymodal.data.storage.store import Store
from polymodal.train.features import StreamFeatures

PRIOR = 10  # rows; measured on four kinds of stream: better below 40 common rows (R² 0.82 for 0.25 at 10), alike above


def join_parts(
    store: Store, groups: Sequence[str], digests: np.ndarray, present: np.ndarray, part: np.ndarray, common: np.ndarray,
    fixed: int = 0,
) -> StreamFeatures:  # fmt: skip
    """One stream's tokens from the groups of its part encoders and, last, of the whole one.

    `digests` [N, 16], `present` [N] bool, `part` [N] which group each row is read from, `common` row numbers that every
    group holds. The last `fixed` components mean the same in every space and stay as they are.
    """
    part = part.astype(np.int8)
    common = common[present[common]]
    if len(groups) == 1:
        return StreamFeatures.plain(groups[-1], np.zeros_like(part), digests, present)
    if not len(common):  # nothing to match the spaces by, so they are taken as they are
        return StreamFeatures.plain(groups, part, digests, present)
    spaces = [store.view(g, digests[common], ("pooled",)).load()["pooled"].astype(np.float64) for g in groups]
    kept = spaces[-1].shape[1] - fixed
    spaces = [space[:, :kept] for space in spaces]
    goal, centre = spaces[-1], _centre(spaces[-1])
    rotations = [procrustes(s - _centre(s), goal - centre, PRIOR) for s in spaces[:-1]] + [np.eye(goal.shape[1])]
    shifts = [centre - _centre(space) @ turn for space, turn in zip(spaces, rotations)]
    return StreamFeatures(
        tuple(groups),
        part,
        digests,
        present,
        np.stack([block_diag(turn, np.eye(fixed)) for turn in rotations]).astype(np.float32),
        np.stack([np.pad(shift, (0, fixed)) for shift in shifts]).astype(np.float32),
    )


def procrustes(source: np.ndarray, goal: np.ndarray, prior: float = 0.0) -> np.ndarray:
    """The orthogonal matrix [D, D] that takes `source` [N, D] closest to `goal` [N, D] (Schönemann 1966).

    `prior` draws it towards the identity as that many more rows would, which did not need turning. With few rows most
    directions are not determined by the data, and encoders that started from the same weights are near each other.
    """
    spread = (goal**2).sum() / max(goal.size, 1)
    u, _, vt = np.linalg.svd(source.T @ goal + prior * max(spread, 1e-12) * np.eye(goal.shape[1]))
    return u @ vt


def _centre(space: np.ndarray) -> np.ndarray:
    """The mean row; zero where there are too few for one to mean anything."""
    return space.mean(0) if len(space) > 1 else np.zeros(space.shape[1])
