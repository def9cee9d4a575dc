"""Cross-validation of aligners: folds that tear no pair apart, and how well held-out pairs find each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from polymodal.aligners.pairs import Side, pairs
from polymodal.core.errors import BadData
from polymodal.metrics import random_order

JUDGED = 1000  # held-out items of a stream that are ranked, at most


def pair_folds(sides: Mapping[str, Side], count: int, seed: int) -> dict[str, np.ndarray]:
    """The fold [N] of each item of each stream; items that belong together, over any number of steps, share one.

    Raises `BadData` when there are too few separate groups of items.
    """
    names = sorted(sides)
    offsets = np.cumsum([0, *(len(sides[n]) for n in names)])
    rows = np.concatenate([sides[n].rows.numpy().ravel() for n in names])
    numbers = [np.arange(len(sides[n])) + first for n, first in zip(names, offsets)]
    items = np.concatenate([np.repeat(own, sides[n].rows.shape[1]) for own, n in zip(numbers, names)])
    real = rows >= 0
    _, row = np.unique(rows[real], return_inverse=True)
    size = int(offsets[-1])
    total = size + int(row.max(initial=-1)) + 1
    graph = coo_matrix((np.ones(len(row), bool), (items[real], size + row)), (total, total))
    groups, group = connected_components(graph, directed=False)
    if groups < 2 * count:
        mend = "Set shrinkage and keep to numbers instead of 'cv'." if count > 1 else "Give more rows."
        raise BadData(
            f"Fitting in {count} folds needs at least {2 * count} groups of items that are not connected by common "
            f"rows; there are {groups}. {mend}"
        )
    fold = np.random.default_rng(seed).permutation(groups) % count
    whole = fold[group[:size]]
    return {n: whole[offsets[k] : offsets[k + 1]] for k, n in enumerate(names)}


def judged_items(a: Side, b: Side, inside: np.ndarray) -> tuple[Tensor, Tensor]:
    """Numbers of the items to be ranked, at most `JUDGED` of each stream: those of a that lie `inside` [Na] bool and
    have a partner, and their partners."""
    i, j = pairs(a.rows, b.rows)
    kept = torch.from_numpy(inside)[i]
    chosen = i[kept].unique()[:JUDGED]
    return chosen, j[torch.isin(i, chosen)].unique()[:JUDGED]


def reciprocal_rank(scores: Tensor, together: Tensor) -> float:
    """Mean over both directions of 1 / rank of the first partner; ties count against it.

    `scores` and `together` (bool) are [Na, Nb].
    """
    means = []
    for value, mine in ((scores, together), (scores.T, together.T)):
        best = value.masked_fill(~mine, -torch.inf).amax(1, keepdim=True)
        before = ((value >= best) & ~mine).sum(1)
        means.append((1.0 / (1 + before[mine.any(1)])).mean())
    return float(sum(means) / 2)


def random_reciprocal_rank(together: Tensor) -> float:
    """`reciprocal_rank` of scores that say nothing, exactly."""
    means = []
    for mine in (together, together.T):
        relevant = mine.sum(1).numpy()
        means.append(random_order.reciprocal_rank(relevant[relevant > 0], mine.shape[1]).mean())
    return float(sum(means) / 2)
