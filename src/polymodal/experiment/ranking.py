"""Rows in order within groups, in a fit: what is said of them, and the baselines that know users and items by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polymodal.core.shown import many
from polymodal.data.split import units
from polymodal.evaluation.factorise import Factorised
from polymodal.experiment.outcome import Outcome, Question
from polymodal.experiment.plan import Plan
from polymodal.metrics.base import labelled
from polymodal.metrics.within import judged_groups
from polymodal.models.base import BASELINE
from polymodal.models.strategy import Strategy
from polymodal.targets.base import Target

FACTORS = 8
UNKNOWN = -1  # an item, or a user, that no training row has


def counted(q: Question) -> dict[str, int]:
    """Test rows by what can be said of their order: `groups`, those `judged`, and their `rows`."""
    keep = labelled(q.test)
    if q.groups is None or not keep.any():
        return {"groups": 0, "judged": 0, "rows": 0}
    groups = np.unique(q.groups[keep], return_inverse=True)[1]
    gains = getattr(q.metric, "gains", lambda truth: truth)(q.test[keep].astype(np.float64))
    told = judged_groups(groups, gains)
    return {"groups": len(told), "judged": int(told.sum()), "rows": int(told[groups].sum())}


def told(plan: Plan, q: Question) -> dict[str, Any]:
    """What the report says of the order of the test rows; empty where none is asked for."""
    rank = plan.schema.rank
    if rank is None:
        return {}
    train, test = plan.rows("train"), plan.rows("test")
    new = {}
    for what, keys in (("users", rank.values(plan.table)), ("items", rank.items(plan.table))):
        seen = {keys[row] for row in train} - {None}
        asked = [keys[row] for row in test if keys[row] is not None]
        new[f"new_{what}"] = sum(key not in seen for key in asked) / len(asked) if asked else None
    return {"by": rank.by, "item": rank.item, **counted(q), **new, "metrics": [m.name for m in q.metrics]}


def sentences(found: Mapping[str, Any]) -> list[str]:
    """The same in words."""
    if not found:
        return []
    left = found["groups"] - found["judged"]
    said = f"The order is judged within {many(found['judged'], 'value')} of {found['by']} ({found['rows']:,} test rows)"
    why = (
        f"; {left:,} others are left out, whose rows are all worth the same, so that any order is right" if left else ""
    )
    lines = [f"{said}{why}. Intervals are by resampling these."]
    if found["item"] and found["new_items"] is not None:
        lines.append(f"Training has never seen the {found['item']} of {found['new_items']:.0%} of the test rows.")
    return lines


def baselines(plan: Plan, questions: Sequence[Question], seeds: int) -> list[Outcome]:
    """What is answered by the names of items and users alone: popularity, and a factorisation of who liked what.

    Neither can know an item that training lacks, which gets the mean answer (popularity), or the user's
    (factorisation). Empty where no column names the items.
    """
    rank = plan.schema.rank
    if rank is None or not rank.item:
        return []
    users, items = (_numbers(keys) for keys in (rank.values(plan.table), rank.items(plan.table)))
    nobody = np.full(len(users), UNKNOWN)
    each = (
        ("popularity", (rank.item,), nobody, 0, f"the mean answer of each {rank.item}, drawn to that of all"),
        (
            "factorised", (rank.by, rank.item), users, FACTORS,
            f"biases and {FACTORS} factors of each {rank.by} and {rank.item} (Koren, Bell & Volinsky 2009)",
        ),
    )  # fmt: skip
    return [
        Outcome(
            Strategy(BASELINE, name, streams, name),
            {q.target.name: np.stack([_valid(plan, q.target, whose, items, factors)] * seeds) for q in questions},
            {q.target.name: np.stack([_test(plan, q.target, whose, items, factors)] * seeds) for q in questions},
            note=note,
        )
        for name, streams, whose, factors, note in each
    ]  # fmt: skip


def _numbers(keys: Sequence[str | None]) -> np.ndarray:
    """[N] numbers of names, `UNKNOWN` where there is none."""
    found = units(list(keys), len(keys))
    return np.where([key is None for key in keys], UNKNOWN, found)


def _valid(plan: Plan, target: Target, users: np.ndarray, items: np.ndarray, factors: int) -> np.ndarray:
    """What each row of choice is answered by the others'."""
    rows = plan.evidence()
    if not plan.bagged:
        return _answered(target, plan, users, items, factors, plan.rows("train"), rows)
    said: np.ndarray | None = None
    for k in np.unique(plan.bag[rows]):
        inside = plan.bag[rows] == k
        learned = rows[~inside]
        part = _answered(target, plan, users, items, factors, learned, rows[inside])
        said = np.zeros((len(rows), *part.shape[1:])) if said is None else said
        said[inside] = part
    assert said is not None
    return said


def _test(plan: Plan, target: Target, users: np.ndarray, items: np.ndarray, factors: int) -> np.ndarray:
    learned = np.flatnonzero(plan.seen)
    return _answered(target, plan, users, items, factors, learned, plan.rows("test"))


def _answered(
    target: Target, plan: Plan, users: np.ndarray, items: np.ndarray, factors: int, train: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Predictions of `rows` as metrics read them, by a model of the `train` rows: probabilities [n, C], or values."""
    encoded = plan.truth[target.name]
    train = train[np.asarray(target.known(encoded[train]))]
    truth = target.truth(encoded[train])
    if target.form != "class":
        return Factorised.of(users[train], items[train], truth, factors=factors).values(users[rows], items[rows])
    said = [
        Factorised.of(users[train], items[train], (truth == c).astype(np.float64), factors=factors)
        .values(users[rows], items[rows])
        .clip(1e-3, 1 - 1e-3)
        for c in range(1, len(target.labels))
    ]
    first = (1 - np.sum(said, 0)).clip(1e-3)  # what is left for the first class
    each = np.stack([first, *said], 1)
    return each / each.sum(1, keepdims=True)
