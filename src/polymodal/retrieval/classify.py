"""Classes by their names alone: a cell belongs to the class whose description lies nearest (Radford et al. 2021).

Each class name is put into several sentences, and the mean of their vectors, brought back to length one, stands for the
class: sentences differ in what they add by chance, and agree in the class.

A row is answered only if its nearest class can be told from the second and the space from chance:

- with labelled rows for calibration, if the classes that lie as near as the true one does in 90 % of such rows are one
  class (split conformal prediction, Vovk, Gammerman & Shafer 2005);
- without, if the nearest leads by more than the 95 % interval of that lead over the sentences (Student's t, paired);
- never by a name of which the text stream hardly knows a word, or that reads the same as the second's;
- never where the run's own test could not tell the space from chance.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import stdtrit

from polymodal.core.errors import BadArgument, BadData
from polymodal.data.kinds import KINDS
from polymodal.data.tables.source import Problem, Table, read_table
from polymodal.data.tables.table import problem_lines
from polymodal.evaluation.statistics import Interval, bootstrap
from polymodal.inference.keyed import keyed
from polymodal.inference.space import Space, evidence_of
from polymodal.metrics.labels import Accuracy
from polymodal.metrics.random_order import NOT_ABOVE, against
from polymodal.nn.calibrate import conformal_radius
from polymodal.retrieval.build import lacking, space_of, streams_of

COVERAGE = 0.9  # of calibration rows whose true class lies among those taken for as near as the nearest
LEVEL = 0.95
ALIKE = 0.9999  # cosine of two classes from which they read the same
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Classified:
    """`scores` [N, C] cosines of every row's cell with every class, NaN where the cell is missing.

    `lead` [N] is how far ahead the nearest class must lie to be the answer (infinite: never), by `rule`, in words;
    `notes` say what the user should know. With labels: `accuracy` of the nearest class over rows that have both, with
    its interval, `chance`, the share of the commonest class, and `sure`, the accuracy among rows that are answered.
    """

    table: Table
    classes: Sequence[str]
    scores: np.ndarray
    stream: str
    by: str
    problems: Sequence[Problem]
    lead: np.ndarray
    rule: str
    notes: Sequence[str] = ()
    accuracy: Interval | None = None
    chance: float | None = None
    sure: Interval | None = None
    columns_read: Sequence[str] = ()  # of the data, by the space or as the truth

    @property
    def nearest(self) -> list[str | None]:
        """The nearest class of each row, None where its cell is missing."""
        return [self.classes[int(np.argmax(s))] if ok else None for s, ok in zip(self.scores, self._there)]

    @property
    def labels(self) -> list[str | None]:
        """The answers: the nearest class where it leads by enough, None elsewhere."""
        return [name if ok else None for name, ok in zip(self.nearest, self.answered)]

    @property
    def answered(self) -> np.ndarray:
        """[N] bool."""
        return self._there & (_margin(self.scores) > self.lead + ROUNDING)

    @property
    def _there(self) -> np.ndarray:
        return np.isfinite(self.scores).all(1)

    @property
    def ids(self) -> list[str]:
        """The names of the rows."""
        return self.table.ids

    def columns(self, *, keep: str | Sequence[str] = ()) -> dict[str, list[Any]]:
        """A table: the rows' keys, `label` (the answer, if any), the `nearest` class, its `score`, the `margin` to the
        second, and `lead`, the margin that an answer needs (None: there can be none).

        A row a record of the data, those that could not be read included; `keep` and raises as in `keyed`.
        """
        answers: dict[str, Sequence[Any]] = {"label": self.labels, "nearest": self.nearest, **self._figures()}
        return keyed(self.table, None, answers, keep=keep, problems=self.problems, read=self.columns_read)

    def _figures(self) -> dict[str, list[float | None]]:
        numbers = {"score": self.scores.max(1), "margin": _margin(self.scores), "lead": self.lead}
        return {name: [float(v) if np.isfinite(v) else None for v in column] for name, column in numbers.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain values; `answers` are the rows that could be read."""
        table = {"id": self.ids, "label": self.labels, "nearest": self.nearest, **self._figures()}
        intervals = {n: None if i is None else dict(i.__dict__) for n, i in
                     (("accuracy", self.accuracy), ("sure", self.sure))}  # fmt: skip
        return {
            "read": self.table.records, "rows": len(self.ids), "missing": int((~self._there).sum()),
            "answered": int(self.answered.sum()), "classes": list(self.classes), "stream": self.stream,
            "by": self.by, "rule": self.rule, "notes": list(self.notes), **intervals, "chance": self.chance,
            "answers": [dict(zip(table, row)) for row in zip(*table.values())],
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
    calibration: Any = None,
    trust: str | Sequence[str] = (),
    device: str = "auto",
) -> Classified:
    """The nearest of `classes`, names in words, to the cell of `stream` in every row of `data`; nothing is trained.

    `run` is an `align` run or its space; `by` the text stream that reads the names. `stream` and `by` may be left out
    where the run has one that fits. `templates` are sentences with `{}` for the name, their vectors are averaged; by
    default four for pictures and four for sounds. With `target`, a column of labels, accuracy is told. `calibration`:
    other rows, with labels in `target`, by which it is decided who is answered (see the module). `trust`: modules of
    own parts that the run may use. `device`: see `device_of`.

    Raises `BadArgument` for less than one class, classes that differ in nothing but capitals or blanks, a template
    without `{}` or a calibration without a target.
    """
    space, folder = space_of(run, trust, device)
    table = space.schema.read(read_table(data))
    names = _names(classes)
    if calibration is not None and target is None:
        raise BadArgument("Calibration rows need labels: name their column with `target`.")
    asking = _one(by, [n for n, kind in space.streams.items() if KINDS[kind].words], "by", "text stream")
    others = [n for n in streams_of(space, table, None if stream is None else [stream]) if n != asking]
    if not others and (absent := lacking(space, table, [n for n in space.streams if n != asking])):
        raise BadData(" ".join([f"{table.name} has nothing to classify.", *map(str, absent)]))
    asked = _one(stream, others, "stream", "stream to classify")
    sentences = class_vectors(
        space, asking, names, KINDS[space.streams[asked]].phrases if templates is None else tuple(templates)
    )
    problems = [*table.problems, *lacking(space, table, [asked])]
    scores, lead = _scored(space, asked, table, sentences, problems)
    rule = (
        f"the nearest class leads by more than the {LEVEL:.0%} interval of its lead over {sentences.shape[1]} sentences"
        if sentences.shape[1] > 1 else "the nearest class leads at all, for one sentence a class cannot say by how much"
    )  # fmt: skip
    aside: list[Problem] = []
    if calibration is not None:
        labelled = space.schema.read(read_table(calibration))
        aside += labelled.problems
        radius, count = _radius(space, asked, labelled, sentences, names, str(target), aside)
        lead = np.full(len(scores), radius)
        rule = (
            f"the nearest class leads by more than {radius:.3f}: so near to it lies the true class in {COVERAGE:.0%} "
            f"of {count} labelled rows"
        )
    notes, never = _doubts(space, asking, names, sentences)
    notes += problem_lines(aside, "calibration, set aside")
    there = np.isfinite(scores).all(1)
    order = np.argsort(-np.nan_to_num(scores), axis=1)
    lead[never[order[:, 0], order[:, min(1, len(names) - 1)]] & there] = np.inf
    if (known := evidence_of(folder, asked, asking)) is not None and known["verdict"] != "above":
        notes.append(f"No row is answered: in the run's own test, {asked} to {asking}. {NOT_ABOVE[known['verdict']]}.")
        lead[:] = np.inf
    read = [*space.field(asked).columns, *space.field(asking).columns, *([target] if target else [])]
    scored = Classified(
        table, names, scores, asked, asking, problems, lead, f"A row is answered if {rule}.", notes, columns_read=read,
    )  # fmt: skip
    if target is None or (calibration is not None and target not in table.data):
        return scored
    return _judged(scored, table.column(target), target)


def class_vectors(space: Space, by: str, names: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """[C, T, D] the vectors of each class's sentences; their mean over T has length one. Raises `BadArgument`,
    `BadData`."""
    for template in templates:
        if template.count("{}") != 1:
            raise BadArgument(f"A template holds {{}} once, where the name goes; got {template!r}.")
    if not templates:
        raise BadArgument("Give at least one template, such as 'a photo of {}'.")
    sentences = [template.replace("{}", name) for name in names for template in templates]
    vectors, present = space.embed(by, sentences)
    if not present.all():
        raise BadData(f"{by!r} cannot read {sentences[int(np.argmin(present))]!r}.")
    by_class = vectors.reshape(len(names), len(templates), -1)
    return by_class / np.maximum(np.linalg.norm(by_class.mean(1), axis=1), 1e-6)[:, None, None]


def _names(classes: Sequence[str]) -> list[str]:
    names = [" ".join(str(name).split()) for name in classes]
    seen: dict[str, str] = {}
    for name in names:
        if (key := _folded(name)) in seen:
            raise BadArgument(
                f"Classes are different names; {seen[key]!r} and {name!r} are one. Leave one of them out."
            )
        seen[key] = name
    if not names or "" in names:
        raise BadArgument(f"Classes are different names, at least one; got {', '.join(map(repr, names)) or 'none'}.")
    return names


def _folded(name: Any) -> str:
    return " ".join(unicodedata.normalize("NFKC", str(name)).casefold().split())


def _margin(scores: np.ndarray) -> np.ndarray:
    """[N] how far the second class lies behind the nearest; NaN for a single class or a missing cell."""
    if scores.shape[1] < 2:
        return np.full(len(scores), np.nan)
    ordered = np.sort(scores, axis=1)
    return ordered[:, -1] - ordered[:, -2]


def _scored(
    space: Space, stream: str, table: Any, sentences: np.ndarray, problems: list[Problem]
) -> tuple[np.ndarray, np.ndarray]:
    """Scores [N, C], and half the interval of each row's lead over the sentences [N]."""
    count, wordings, _ = sentences.shape
    items = space.items(stream, table)
    vectors, present = space.embed(stream, table, problems=problems)
    scores, lead = np.full((len(table), count), np.nan, np.float32), np.zeros(len(table))
    of_row: dict[int, list[int]] = {}
    for place in np.flatnonzero(present).tolist():
        of_row.setdefault(int(items.row[place]), []).append(place)
    for row, places in of_row.items():
        found = sentences @ vectors[places].T
        by_sentence = found[np.arange(count), :, found.mean(1).argmax(1)]  # each class takes the nearest of the items
        scores[row] = by_sentence.mean(1)
        if count > 1 and wordings > 1:
            first, second = np.argsort(-scores[row], kind="stable")[:2]
            apart = by_sentence[first] - by_sentence[second]
            lead[row] = stdtrit(wordings - 1, (1 + LEVEL) / 2) * apart.std(ddof=1) / wordings**0.5
    return scores, lead


def _radius(
    space: Space,
    stream: str,
    table: Any,
    sentences: np.ndarray,
    names: Sequence[str],
    target: str,
    problems: list[Problem],
) -> tuple[float, int]:
    """How near to the nearest class the true one lies in `COVERAGE` of labelled rows, and how many these are."""
    scores = _scored(space, stream, table, sentences, problems)[0]
    places = _places(table.column(target), names, target)
    places[~np.isfinite(scores).all(1)] = -1
    known = np.flatnonzero(places >= 0)
    behind = scores[known].max(1) - scores[known, places[known]]
    radius = conformal_radius(behind, np.zeros(len(known)), COVERAGE)
    if not np.isfinite(radius):
        raise BadData(
            f"{len(known)} calibration rows with a label in {target!r} and a usable {stream!r} promise nothing of "
            f"{COVERAGE:.0%} of rows; give {round(1 / (1 - COVERAGE)) - 1} or more, better a hundred."
        )
    return radius, len(known)


def _doubts(space: Space, by: str, names: Sequence[str], sentences: np.ndarray) -> tuple[list[str], np.ndarray]:
    """What to say of the names; and [C, C] bool, whether the first class must not be answered before the second."""
    notes, never = [], np.zeros((len(names), len(names)), bool)
    if len(names) == 1:
        notes.append(f"One class, {names[0]!r}, can be told from nothing: no row is answered. Add others.")
        never[:] = True
    centres = sentences.mean(1)
    cosine = centres @ centres.T
    alike = np.argwhere(np.triu(cosine >= ALIKE, 1)).tolist()
    for a, b in alike:
        never[a, b] = never[b, a] = True
    notes += [
        f"{names[a]!r} and {names[b]!r} read the same to {by!r}: rows nearest to both have no answer."
        for a, b in alike[:3]
    ]
    notes += [f"So do {len(alike) - 3} pairs more."] if len(alike) > 3 else []
    strange = {name: space.processors[by].strange(name) for name in names}
    if some := {word: None for words in strange.values() for word in words}:
        notes.append(
            f"The texts that {by!r} learned from hardly hold {', '.join(map(repr, list(some)[:8]))}"
            f"{' …' if len(some) > 8 else ''}: rare words, or another language or script. Names in the words of those "
            "texts are told better."
        )
    for i, name in enumerate(names):
        if len(strange[name]) >= len(name.split()):
            never[i] = True
            notes.append(f"{name!r} is answered in no row: {by!r} knows no word of it.")
    return notes, never


def _one(given: str | None, fitting: Sequence[str], option: str, what: str) -> str:
    if given is not None:
        return given
    if len(fitting) != 1:
        if not fitting:
            raise BadArgument(f"The run has no {what}, which this needs; align one with the others.")
        raise BadArgument(f"Say which {what} with `{option}`: the run has {', '.join(fitting)}.")
    return fitting[0]


def _places(labels: Sequence[Any], names: Sequence[str], target: str) -> np.ndarray:
    """[N] the number of each label's class, -1 where there is none. Raises `BadData` for labels that are no class."""
    known = {_folded(name): i for i, name in enumerate(names)}
    places = np.array([-1 if v is None else known.get(_folded(v), -1) for v in labels], dtype=np.int64)
    if unknown := {str(v) for v, place in zip(labels, places) if v is not None and place < 0}:
        raise BadData(
            f"Column {target!r} holds {len(unknown)} labels that are no class given, among them {min(unknown)!r}. "
            "Write classes as the column does, or give a table of those rows only."
        )
    return places


def _judged(scored: Classified, labels: Sequence[Any], target: str) -> Classified:
    places = _places(labels, scored.classes, target)
    places[~np.isfinite(scored.scores).all(1)] = -1
    if not (places >= 0).any():
        raise BadData(f"No row has both a label in {target!r} and a usable {scored.stream!r}; accuracy cannot be told.")
    shown = np.nan_to_num(scored.scores)[None]
    interval, answered = bootstrap(Accuracy(), places, shown, seed=0), np.where(scored.answered, places, -1)
    sure = bootstrap(Accuracy(), answered, shown, seed=0) if (answered >= 0).any() else None
    counts = np.bincount(places[places >= 0])
    chance = float(counts.max() / counts.sum())
    notes = list(scored.notes)
    if (verdict := against(chance, interval.low, interval.high)) != "above":
        word = NOT_ABOVE["chance"] if verdict == "chance" else "Less than the commonest class alone would get"
        notes.append(f"{word}. Accuracy {interval.mean:.3f}, the commonest class alone {chance:.3f}.")
    return replace(scored, accuracy=interval, chance=chance, sure=sure, notes=notes)
