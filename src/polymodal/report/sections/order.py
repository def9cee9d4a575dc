"""What a report says of rows that are put in order: within what, and against who knows items by their names alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.report.sections.base import Cell, Evaluation, chosen_row, metric_words
from polymodal.report.wording import ABSENT, clean, count, decimals, interval, is_number, plain

BESIDE = ("baseline", "chance")


def order(evaluation: Evaluation) -> dict[str, Any] | None:
    """The sentences and a table: a line a metric, a column each for what was chosen, the baselines and chance."""
    given = evaluation.get("ranking")
    chosen = chosen_row(evaluation)
    if not given or chosen is None:
        return None
    board = evaluation.get("leaderboard") or []
    shown = [chosen, *(r for r in board if r.get("level") in BESIDE and r is not chosen)]
    lines = [
        [Cell(metric_words(name), words=True), *(_score(r, name, evaluation["primary"]) for r in shown)]
        for name in given["metrics"]
    ]
    return {
        "by": clean(given["by"]),
        "sentences": _sentences(given),
        "head": [clean(r["strategy"]) for r in shown],
        "rows": lines,
    }


def _score(row: Mapping[str, Any], name: str, primary: str) -> Cell:
    """A strategy's value on test with its interval."""
    keys = (
        ("test_mean", "test_low", "test_high")
        if name == primary
        else (f"{name}_test{e}" for e in ("", "_low", "_high"))
    )
    mean, low, high = (row.get(key) for key in keys)
    if not is_number(mean):
        return Cell(ABSENT)
    places = decimals([mean])
    span = interval(low, high, places)
    return Cell(plain(mean, places) + (f" ({span})" if span else ""), mean)


def _sentences(given: Mapping[str, Any]) -> list[str]:
    by, item = clean(given["by"]), clean(given.get("item") or "")
    left = given["groups"] - given["judged"]
    said = f"{count(given['judged'])} values of {by} are judged, by {count(given['rows'])} test rows"
    why = f"; of {count(left)} all rows are worth the same, so that no order is better" if left else ""
    lines = [f"{said}{why}. Rows with equal scores stand in every order equally often."]
    for what, share in ((by, given.get("new_users")), (item, given.get("new_items"))):
        if what and share is not None:
            lines.append(f"{share:.0%} of the test rows have a {what} that training lacks.")
    return lines
