"""Does a score tell pairs that belong together from near misses?

Near misses are hard negatives: for each query the most similar items that do not belong to it (Faghri et al. 2018;
Li et al. 2021). What shares a group with the query is never one, as all five captions of a photo belong to it: taken
for negatives they would count right answers as wrong.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from polymodal.core.errors import BadArgument, BadData
from polymodal.core.values import check_range
from polymodal.evaluation.statistics import Interval, Paired, bootstrap, paired
from polymodal.metrics.probabilities import Auroc

BLOCK = 4 << 20  # similarities held at a time


class Pairs(NamedTuple):
    """Pairs to judge: `query` [P] and `item` [P], and whether they belong together, `belongs` [P] bool."""

    query: np.ndarray
    item: np.ndarray
    belongs: np.ndarray


def strangers(query_groups: Any, item_groups: Any) -> np.ndarray:
    """[Nq, Ni] bool: which items are of another group than the query, and so may be its negatives.

    A group each, or several, [Nq, M] and [Ni, M'] padded with -1, of which none may be shared.
    """
    ours, theirs = (np.asarray(groups) for groups in (query_groups, item_groups))
    if ours.ndim == 1:
        return ours[:, None] != theirs[None, :]
    apart = np.ones((len(ours), len(theirs)), dtype=bool)
    for i in range(ours.shape[1]):
        for j in range(theirs.shape[1]):
            apart &= (ours[:, i, None] != theirs[None, :, j]) | (ours[:, i, None] < 0)
    return apart


def hard_negatives(queries: Any, items: Any, query_groups: Any, item_groups: Any, *, k: int = 1) -> np.ndarray:
    """[Nq, k] the `k` items of greatest inner product with each query among those of another group, the nearest first;
    -1 where there are fewer.

    `queries` [Nq, D] and `items` [Ni, D] are vectors of one space; groups are as of `strangers`.
    Raises `BadData` for shapes that do not fit or vectors that are not finite.
    """
    check_range("[1, inf)", k=k)
    left, right = (np.asarray(side, dtype=np.float32) for side in (queries, items))
    groups = [np.asarray(query_groups), np.asarray(item_groups)]
    if left.ndim != 2 or right.ndim != 2 or left.shape[1:] != right.shape[1:]:
        raise BadData(f"Vectors are [N, D] of one space; got {left.shape} and {right.shape}.")
    if [len(one) for one in groups] != [len(left), len(right)] or groups[0].ndim != groups[1].ndim:
        given = " and ".join(str(len(one)) for one in groups)
        raise BadData(f"Every vector has a group: {len(left)} and {len(right)} are needed; got {given}.")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise BadData("A vector is not finite: what made it diverged or read a broken value.")
    found = np.full((len(left), k), -1, dtype=np.int64)
    step, most = max(1, BLOCK // max(1, len(right))), min(k, len(right))
    for start in range(0, len(left) if most else 0, step):
        part = slice(start, start + step)
        near = np.where(strangers(groups[0][part], groups[1]), left[part] @ right.T, -np.inf)
        chosen = np.argpartition(-near, most - 1, axis=1)[:, :most]
        value = np.take_along_axis(near, chosen, 1)
        order = np.lexsort((chosen, -value), axis=1)
        value, chosen = (np.take_along_axis(x, order, 1) for x in (value, chosen))
        found[part, :most] = np.where(np.isfinite(value), chosen, -1)
    return found


def pairs_to_judge(queries: Any, items: Any, query_groups: Any, item_groups: Any, *, k: int = 1) -> Pairs:
    """Every pair that belongs together, and each query with its `k` hard negatives. Raises as `hard_negatives`."""
    wrong = hard_negatives(queries, items, query_groups, item_groups, k=k)
    query, item = np.nonzero(~strangers(query_groups, item_groups))
    other, column = np.nonzero(wrong >= 0)
    belongs = np.arange(len(query) + len(other)) < len(query)
    return Pairs(np.append(query, other), np.append(item, wrong[other, column]), belongs)


def matching_auc(scores: Any, belongs: Any, *, groups: Any = None, seed: int = 0) -> Interval:
    """Area under the ROC curve of pairs' scores [P], with its interval: the chance that a pair that belongs together
    scores above one that does not.

    `groups` [P] names pairs that are drawn as one, as those of a query. Raises `BadData` for shapes that do not fit.
    """
    truth, (given,) = _judged(belongs, scores)
    return bootstrap(Auroc(), truth, given, seed=seed, groups=groups)


def matching_gain(scores: Any, against: Any, belongs: Any, *, groups: Any = None, seed: int = 0) -> Paired:
    """`matching_auc` of `scores` less that of other scores `against` the same pairs, such as cosines."""
    truth, (given, other) = _judged(belongs, scores, against)
    return paired(Auroc(), truth, given, other, seed=seed, groups=groups)


def _judged(belongs: Any, *scores: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    truth = np.asarray(belongs)
    if truth.ndim != 1 or not np.isin(truth, (0, 1)).all():
        raise BadArgument("belongs says of every pair whether both belong together: true or false [P].")
    given = [np.asarray(one, dtype=np.float64) for one in scores]
    for one in given:
        if one.shape != truth.shape:
            raise BadData(f"There are {len(truth)} pairs, so scores must be as many; got {one.shape}.")
    return truth.astype(np.float64)[:, None], [one[None, :, None] for one in given]
