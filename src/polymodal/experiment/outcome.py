"""What strategies predicted, and what is asked of them: figures that stages of a fit share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.core.registry import Spec
from polymodal.data.schema import Schema
from polymodal.evaluation.statistics import Paired
from polymodal.metrics.base import Metric
from polymodal.metrics.build import by_target, directed, target_metrics, undefined
from polymodal.models.strategy import Strategy
from polymodal.targets.base import Target, written
from polymodal.targets.ordinal import OrdinalTarget


@dataclass(frozen=True)
class Outcome:
    """What a strategy, an ensemble or chance predicted: `valid` and `test` map a target to predictions [S, N, ...].

    `valid` is what it is chosen by: none of it comes from what was fitted on the very rows. By folds S is 1: `valid`
    are the answers of the model of each part to it, `test` those of all these models together.

    `predict_ms` and `parameters` count its encoders too, whose part is `encoder_ms` and `encoder_parameters`.
    """

    strategy: Strategy
    valid: Mapping[str, np.ndarray]
    test: Mapping[str, np.ndarray]
    seconds: float = 0.0
    predict_ms: float = 0.0
    parameters: int = 0
    encoder_ms: float = 0.0
    encoder_parameters: int = 0
    note: str = ""
    weights: tuple[Mapping[str, float], ...] = ()  # an ensemble's weights, one mapping a seed
    trained: int = 0  # how many times, where that is not once a seed: the parts of evidence by folds

    @property
    def name(self) -> str:
        return self.strategy.name

    @property
    def level(self) -> str:
        """`single`, `early`, `feature`, …, `decision`, `ensemble` or `chance`."""
        return self.strategy.level

    @property
    def streams(self) -> tuple[str, ...]:
        return self.strategy.streams

    @property
    def seeds(self) -> int:
        return len(next(iter(self.valid.values())))


@dataclass(frozen=True)
class Question:
    """A target with the truth of the test rows, and of those that choices go by (`valid`).

    `groups` ties test rows that are resampled together, `valid_groups` the others.

    `metrics` are what it is judged by, the first, and shown with; none is the default of its kind.
    """

    target: Target
    valid: np.ndarray
    test: np.ndarray
    groups: np.ndarray | None = None
    metrics: tuple[Metric, ...] = ()
    valid_groups: np.ndarray | None = None
    held: str = "validation"  # what the rows of `valid` are called: those, or "out-of-fold"

    @property
    def metric(self) -> Metric:
        """What it is judged by."""
        return self.metrics[0] if self.metrics else target_metrics((), self.target)[0]

    def merit(self, prediction: np.ndarray) -> float:
        """The score of validation rows beside those of other targets: greater is better, see `Metric.merit`."""
        return self.metric.merit(
            self.on_valid(prediction), lambda: self.on_valid(constant(self.target, len(self.valid)))
        )

    def on_valid(self, prediction: np.ndarray) -> float:
        """The metric of the rows that choices go by."""
        return self.metric(self.valid, prediction, self.valid_groups)

    def on_test(self, prediction: np.ndarray) -> float:
        """The metric of the test rows."""
        return self.metric(self.test, prediction, self.groups)


def judges(
    asked_for: Any, targets: Sequence[Target], truth: Mapping[str, np.ndarray], split: np.ndarray, notes: list[str],
    groups: np.ndarray | None = None,
) -> dict[str, list[Spec]]:  # fmt: skip
    """What each target is judged by, each metric tried on the validation rows with a constant answer.

    With the `groups` [N] of all rows, within which they are put in order, that is judged unless something is named.

    Of written answers, a usual metric that validation or test rows are too few for is left out. Raises `UnknownName` or
    `BadArgument` for one that is not there, does not fit its target or cannot be chosen by.
    """
    asked = by_target(asked_for, [t.name for t in targets])
    for target in targets:
        valid = target.truth(truth[target.name][split == 1])
        if groups is not None and not asked[target.name]:
            asked[target.name] = ranked_by(target)
        if not asked[target.name]:
            if written([target]):
                parts = valid, target.truth(truth[target.name][split == 2])
                asked[target.name] = _defined(target, parts, notes)
            continue
        given, asked[target.name] = asked[target.name], directed(asked[target.name], target, valid)
        for place, metric in enumerate(target_metrics(asked[target.name], target)):
            if given[place] != asked[target.name][place]:
                way = "greater" if metric.greater_is_better else "less"
                notes.append(f"{metric.name} does not say which way is better; by what right answers get, {way} is.")
            value = metric(valid, constant(target, len(valid)), None if groups is None else groups[split == 1])
            if not place and (metric.biased or np.isnan(value)):
                why = "is biased on few rows" if metric.biased else "is not defined on the validation rows"
                raise BadArgument(f"{target.name} cannot be judged by {metric.name}: it {why}. Name another first.")
    return {name: specs for name, specs in asked.items() if specs}


def ranked_by(target: Target) -> list[Spec]:
    """What the order of rows is judged by. Raises `BadArgument` for a target whose answers put nothing in order."""
    if target.form == "number":
        return ["ndcg@10", target.metrics[0]]
    if target.form == "class" and (len(target.labels) == 2 or isinstance(target, OrdinalTarget)):
        return ["group_auc", "ndcg@10", "recall@10", "mrr", "auroc"]  # the first rests on all pairs
    raise BadArgument(
        f"rank puts rows in order by what they are worth, and {target.name!r} is {target.summary}. Ask for two "
        "classes, for classes in order (`kind: ordinal` with its `order`) or for a number."
    )


def order_notes(target: Target, schema: Schema) -> list[str]:
    """What is put in order, within what, and by what."""
    if schema.rank is None:
        return []
    rank, best = schema.rank, ""
    if target.labels:
        best = f": {target.labels[-1]!r} before {target.labels[0]!r}"
    what = f"values of {rank.item}" if rank.item else "rows"
    lines = [f"Put in order are {what} within {rank.by}, by {target.name}{best}."]
    if target.form == "class" and len(target.labels) == 2:
        other = f"{target.name}: {{kind: ordinal, order: [{target.labels[-1]}, {target.labels[0]}]}}"
        lines[0] += f" The other way round it is asked for in a schema by `target: {{{other}}}`."
    if not rank.item:
        lines.append(
            "No column is known to name what is put in order (`rank: {by: …, item: …}`), so popularity and "
            "collaborative filtering are not beside the strategies."
        )
    if not any(rank.by in field.columns for field in schema.fields.values()):
        lines.append(f"No stream reads {rank.by}, so that all its values get one order of the same rows.")
    return lines


def _defined(target: Target, parts: Sequence[np.ndarray], notes: list[str]) -> list[Spec]:
    """The target's usual metrics where each is defined on all `parts`; else those of them that are."""
    bad = undefined(target, [(part, constant(target, len(part))) for part in parts])
    left = [spec for spec in target.metrics if spec not in bad]
    if not bad or not left:
        return []
    notes.append(f"{target.name} is not judged by {', '.join(bad)}: validation or test rows are too few for it.")
    return list(left[: target.shown])


def valid_scores(outcome: Outcome, questions: Sequence[Question]) -> np.ndarray:
    """[S] validation scores, greater is better; of several targets the mean of what their metrics share."""
    if len(questions) == 1:
        q = questions[0]
        return np.array([q.metric.turned(q.on_valid(p)) for p in outcome.valid[q.target.name]])
    return np.mean([[q.merit(p) for p in outcome.valid[q.target.name]] for q in questions], axis=0)


def score_of(outcome: Outcome, questions: Sequence[Question]) -> float:
    """The figure by which strategies are ranked."""
    return float(valid_scores(outcome, questions).mean())


def constant(target: Target, rows: int) -> np.ndarray:
    """For every row what the training rows' targets alone say: their frequencies, or their mean."""
    one = np.asarray(target.chance())
    return np.broadcast_to(one, (rows, *one.shape)).copy()


def chance(questions: Sequence[Question], seeds: int) -> Outcome:
    """Predicts for every row what the training rows' targets alone say: their frequencies, or their mean."""
    valid, test = (
        {q.target.name: np.stack([constant(q.target, len(getattr(q, split)))] * seeds) for q in questions}
        for split in ("valid", "test")
    )
    return Outcome(Strategy("chance", "chance", ()), valid, test)


def oriented(p: Paired, metric: Metric) -> Paired:
    """Positive means better, also where the metric is smaller when better."""
    return p if metric.greater_is_better else replace(p, difference=-p.difference, low=-p.high, high=-p.low)
