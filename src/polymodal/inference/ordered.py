"""Answers in order within groups: scores, ranks, and the first of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.data.ranked import Rank
from polymodal.data.tables.table import Table
from polymodal.inference.predictor import Predictor
from polymodal.targets.columns import free


def order_columns(predictor: Predictor, table: Table, answers: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The columns `…_score`, by which rows are put in order, and `…_rank` (1 is first) within the group of each.

    Rows of equal score are in the order of their items' names, then of their own, whatever the order of the table.
    Rows whose group is missing have no rank. Raises `BadData` where the table does not say the groups.
    """
    rank = predictor.schema.rank
    assert rank is not None
    target = predictor.targets[0]
    named = predictor.names[target.name]
    if target.labels:
        classes = [answers[named.get(column, column)] for column in (f"{target.name}={c}" for c in target.labels)]
        score = np.arange(len(classes)) @ np.array(classes, np.float64).reshape(len(classes), -1)
    else:
        score = np.array(answers[named.get(target.name, target.name)], np.float64)
    return {
        free(answers, f"{target.name}_score"): score.tolist(),
        free(answers, f"{target.name}_rank"): _ranks(rank, table, score),
    }


def _ranks(rank: Rank, table: Table, score: np.ndarray) -> list[int | None]:
    groups, items = rank.values(table), [item or "" for item in rank.items(table)]
    order = sorted(range(len(table)), key=lambda row: (-score[row], items[row], table.ids[row], row))
    counts: dict[str, int] = {}
    ranks: list[int | None] = [None] * len(table)
    for row in order:
        if (group := groups[row]) is not None:
            ranks[row] = counts[group] = counts.get(group, 0) + 1
    return ranks


def first_of(columns: Mapping[str, Sequence[Any]], rank: str, by: str, top: int) -> dict[str, list[Any]]:
    """The records whose rank is at most `top`, group after group as they first come, each group's best first.

    Raises `BadArgument` for a `top` below 1.
    """
    if top < 1:
        raise BadArgument(f"top is how many rows of each group are kept, 1 at least; got {top}.")
    ranks = columns[rank]
    places: dict[Any, int] = {}
    for group in columns[by]:
        places.setdefault(group, len(places))
    kept = [row for row, place in enumerate(ranks) if place is not None and place <= top]
    kept.sort(key=lambda row: (places[columns[by][row]], ranks[row]))
    return {name: [values[row] for row in kept] for name, values in columns.items()}
