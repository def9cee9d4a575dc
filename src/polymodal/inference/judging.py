"""Which of the rows read are judged, why others are not, and what the score is where new labels count as wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polymodal.core.shown import many, some
from polymodal.data.answers import target_cells
from polymodal.data.split import units
from polymodal.data.tables.table import Table
from polymodal.evaluation.statistics import bootstrap
from polymodal.metrics.base import Metric
from polymodal.metrics.labels import QuadraticKappa
from polymodal.targets.base import Target

LEFT_OUT = "Left out while reading"
DRAWN = ("picture", "sound")  # forms of what is opened
MOST = 8  # labels and reasons that a sentence names; JSON has all


@dataclass(frozen=True)
class Judged:
    """How many records were read, and how many of them could be judged by one target.

    `unseen` counts cells by what they hold that training did not have; `rows_unseen` are the rows that are therefore
    not judged (with several labels a row, none: its other labels are judged), `rows_without` those that hold no truth;
    `left_out` says of each record that could not be read why.
    """

    target: str
    form: str
    labels: tuple[str, ...]
    read: int
    judged: int
    unseen: Mapping[str, int]
    rows_unseen: int
    rows_without: int
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, table: Table, target: Target, cells: Sequence[Any] | None = None) -> Judged:
        """Counted over all of `table`; `cells` are its `target_cells` where these are at hand."""
        cells = target_cells(table, target) if cells is None else cells
        known = np.asarray(target.known(target.encode(cells)))
        absent = np.array([cell is None for cell in cells], dtype=bool)
        left_out = tuple(map(str, table.left_out))
        return cls(
            target.name, target.form, target.labels, len(table) + len(left_out), int(known.sum()),
            dict(sorted(target.unseen(cells).items(), key=lambda pair: (-pair[1], pair[0]))),
            int((~known & ~absent).sum()), int((~known & absent).sum()), left_out,
        )  # fmt: skip

    def sentences(self) -> list[str]:
        """What the user should know; nothing where every record was judged."""
        said = []
        labels = some([f"{label} ({count:,}{self._like(label)})" for label, count in self.unseen.items()], MOST)
        if self.unseen and self.form == "labels":
            said.append(f"Labels of {self.target} that training did not have are left out of every figure: {labels}.")
        elif self.unseen:
            told = {"number": "no number", "text": "no text", **dict.fromkeys(DRAWN, "what cannot be opened")}
            what = told.get(self.form, "what training did not have")
            said.append(f"Not judged, {self.rows_unseen:,}: {self.target} holds {what}: {labels}.")
        if self.rows_without:
            said.append(f"Not judged, {self.rows_without:,}: {self.target} is empty.")
        if self.left_out:
            more = f"; and {len(self.left_out) - MOST:,} more" if len(self.left_out) > MOST else ""
            said.append(f"{LEFT_OUT}, {len(self.left_out):,}: {'; '.join(self.left_out[:MOST])}{more}.")
        return said

    def _like(self, label: str) -> str:
        """What to add to a new label that a known one is written like, but for the case of letters."""
        near = next((known for known in self.labels if known.casefold() == label.casefold()), None)
        return "" if near is None else f"; training has {near!r}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = {k: v for k, v in vars(self).items() if k not in ("form", "labels")}
        return plain | {"left_out": list(self.left_out)}


def strict_scores(
    target: Target,
    cells: Sequence[Any],
    predicted: Callable[[np.ndarray], np.ndarray],
    metrics: Sequence[Metric],
    *,
    groups: Sequence[Any] | None = None,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """The scores [by metric] with labels that training did not have counted too: nobody gives them any probability.

    `predicted(rows)` are the predictions [n, C] of row numbers as metrics read them. Empty where there is no such
    label, where the truth is no label, or where a metric needs an order of classes, in which new ones have no place;
    `strict_words` says so.
    """
    new = sorted(target.unseen(cells)) if target.form in ("class", "labels") else []
    if not new:
        return {}
    place = {label: i for i, label in enumerate([*target.labels, *new])}
    written = target.written(cells)
    rows = np.array([i for i, value in enumerate(written) if value is not None], dtype=np.int64)
    if target.form == "class":
        truth = np.array([place[written[i]] for i in rows], dtype=np.int64)
    else:
        truth = np.zeros((len(rows), len(place)), dtype=np.float32)
        for row, i in enumerate(rows):
            truth[row, [place[label] for label in written[i]]] = 1
    given = predicted(rows)
    wider = np.concatenate([given, np.zeros((len(rows), len(new)), given.dtype)], axis=1)
    codes = units([groups[i] for i in rows], len(rows)) if groups else None
    fitting = [metric for metric in metrics if not (isinstance(metric, QuadraticKappa) or metric.grouped)]
    each = {m.name: vars(bootstrap(m, truth, wider[None], seed=seed, groups=codes)) for m in fitting}
    return {name: {**score, "rows": len(rows)} for name, score in each.items()}


def strict_words(counts: Judged, metric: Metric, strict: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The strict score of the metric judged by, or why there is none though training lacked some of the truth."""
    if (score := strict.get(metric.name)) is not None:
        rows = many(int(score["rows"]), "row")
        return [f"With what training did not have counted as wrong, on {rows}: {told(metric.name, score)}"]
    if not counts.unseen or counts.form in ("text", *DRAWN):  # such cells hold no truth at all
        return []
    far = "from what is no number" if counts.form == "number" else "from a class without a place in the order"
    return [f"No {metric.name} with what training did not have counted as wrong: there is no distance {far}."]


def told(name: str, interval: Mapping[str, float]) -> str:
    """A score with its interval, where there is one."""
    known = interval["low"] == interval["low"]
    ends = f" (95% interval {interval['low']:.3f} to {interval['high']:.3f})" if known else ""
    return f"{name} {interval['mean']:.3f}{ends}."
