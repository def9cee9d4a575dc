"""Classes by their names alone: a cell belongs to the class whose description lies nearest (Radford et al. 2021).

Each class name is put into several sentences, and the mean of their vectors, brought back to length one, stands for the
class: sentences differ in what they add by chance, and agree in the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, BadData
from polymodal.data.kinds import KINDS
from polymodal.data.tables.source import Problem, Table, read_table
from polymodal.evaluation.statistics import Interval, bootstrap
from polymodal.inference.keyed import keyed
from polymodal.inference.space import Space
from polymodal.metrics.labels import Accuracy
from polymodal.retrieval.build import space_of, streams_of


@dataclass(frozen=True, eq=False)
class Classified:
    """`scores` [N, C] cosines of every row's cell with every class, NaN where the cell is missing.

    With labels: `accuracy` over rows that have both, with its interval, and `chance`, the share of the commonest class.
    """

    table: Table
    classes: Sequence[str]
    scores: np.ndarray
    stream: str
    by: str
    problems: Sequence[Problem]
    accuracy: Interval | None = None
    chance: float | None = None
    columns_read: Sequence[str] = ()  # of the data, by the space or as the truth

    @property
    def labels(self) -> list[str | None]:
        """The nearest class of each row, None where its cell is missing."""
        there = np.isfinite(self.scores).all(1)
        return [self.classes[int(np.argmax(s))] if ok else None for s, ok in zip(self.scores, there)]

    @property
    def ids(self) -> list[str]:
        """The names of the rows."""
        return self.table.ids

    @property
    def read(self) -> int:
        """How many records were read, those that gave no row included."""
        return self.table.records

    def columns(self, *, keep: str | Sequence[str] = ()) -> dict[str, list[Any]]:
        """A table: the rows' keys, `label`, `score`, and how far the second class lies behind, `margin`.

        A row a record of the data, those that could not be read included; `keep` and raises as in `keyed`.
        """
        ordered = -np.sort(-self.scores, axis=1)
        margin = ordered[:, 0] - ordered[:, 1] if len(self.classes) > 1 else np.full(len(ordered), np.nan)
        numbers = {"score": ordered[:, 0], "margin": margin}
        plain = {name: [float(v) if np.isfinite(v) else None for v in column] for name, column in numbers.items()}
        answers: dict[str, Sequence[Any]] = {"label": list(self.labels), **plain}
        return keyed(self.table, None, answers, keep=keep, problems=self.problems, read=self.columns_read)

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the rows."""
        accuracy = None if self.accuracy is None else dict(self.accuracy.__dict__)
        missing = int((~np.isfinite(self.scores).all(1)).sum())
        return {
            "read": self.read, "rows": len(self.ids), "missing": missing, "classes": list(self.classes),
            "stream": self.stream, "by": self.by, "accuracy": accuracy, "chance": self.chance,
        }  # fmt: skip


def classify(
    run: Any,
    data: Any,
    classes: Sequence[str],
    *,
    stream: str | None = None,
    by: str | None = None,
    templates: Sequence[str] | None = None,
    target: str | None = None,
    trust: str | Sequence[str] = (),
    device: str = "auto",
) -> Classified:
    """The nearest of `classes`, names in words, to the cell of `stream` in every row of `data`; nothing is trained.

    `run` is an `align` run or its space; `by` the text stream that reads the names. `stream` and `by` may be left out
    where the run has one that fits. `templates` are sentences with `{}` for the name, their vectors are averaged; by
    default four for pictures and four for sounds. With `target`, a column of labels, accuracy is told. `trust`: modules
    of own parts that the run may use. `device`: see `device_of`.

    Raises `BadArgument` for less than one class, a class named twice or a template without `{}`.
    """
    space, _ = space_of(run, trust, device)
    table = read_table(data)
    names = [str(name).strip() for name in classes]
    if not names or len(set(names)) < len(names) or "" in names:
        raise BadArgument(f"Classes are different names, at least one; got {', '.join(map(repr, names)) or 'none'}.")
    asking = _one(by, [n for n, kind in space.streams.items() if KINDS[kind].words], "by", "text stream")
    others = [n for n in streams_of(space, table, None if stream is None else [stream]) if n != asking]
    asked = _one(stream, others, "stream", "stream to classify")
    sentences = KINDS[space.streams[asked]].phrases if templates is None else tuple(templates)
    centres = class_vectors(space, asking, names, sentences)
    problems: list[Problem] = []
    items = space.items(asked, table)
    vectors, present = space.embed(asked, table, problems=problems)
    scores = np.full((len(table), len(names)), np.nan, dtype=np.float32)
    for place in np.flatnonzero(present):  # of several items of a row, each class takes the nearest
        row = int(items.row[place])
        scores[row] = np.fmax(scores[row], centres @ vectors[place])
    read = [*space.field(asked).columns, *space.field(asking).columns, *([target] if target else [])]
    scored = Classified(table, names, scores, asked, asking, [*table.problems, *problems], columns_read=read)
    return scored if target is None else _judged(scored, table.column(target), target)


def class_vectors(space: Space, by: str, names: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """[C, D] the mean vector of each class's sentences, of length one. Raises `BadArgument`, `BadData`."""
    for template in templates:
        if template.count("{}") != 1:
            raise BadArgument(f"A template holds {{}} once, where the name goes; got {template!r}.")
    if not templates:
        raise BadArgument("Give at least one template, such as 'a photo of {}'.")
    sentences = [template.replace("{}", name) for name in names for template in templates]
    vectors, present = space.embed(by, sentences)
    if not present.all():
        raise BadData(f"{by!r} cannot read {sentences[int(np.argmin(present))]!r}.")
    centres = vectors.reshape(len(names), len(templates), -1).mean(1)
    return centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-6)


def _one(given: str | None, fitting: Sequence[str], option: str, what: str) -> str:
    if given is not None:
        return given
    if len(fitting) != 1:
        if not fitting:
            raise BadArgument(f"The run has no {what}, which this needs; align one with the others.")
        raise BadArgument(f"Say which {what} with `{option}`: the run has {', '.join(fitting)}.")
    return fitting[0]


def _judged(scored: Classified, labels: Sequence[Any], target: str) -> Classified:
    known = {name.casefold(): i for i, name in enumerate(scored.classes)}
    places = np.array([-1 if v is None else known.get(str(v).strip().casefold(), -1) for v in labels], dtype=np.int64)
    unknown = {str(v) for v, place in zip(labels, places) if v is not None and place < 0}
    if unknown:
        raise BadData(
            f"Column {target!r} holds {len(unknown)} labels that are no class given, among them {min(unknown)!r}. "
            "Write classes as the column does, or give a table of those rows only."
        )
    places[~np.isfinite(scored.scores).all(1)] = -1
    if not (places >= 0).any():
        raise BadData(f"No row has both a label in {target!r} and a usable {scored.stream!r}; accuracy cannot be told.")
    shown = np.nan_to_num(scored.scores)
    interval = bootstrap(Accuracy(), places, shown[None], seed=0)
    counts = np.bincount(places[places >= 0])
    values: Mapping[str, Any] = {**scored.__dict__, "accuracy": interval, "chance": float(counts.max() / counts.sum())}
    return Classified(**values)
