"""The fair comparison: every strategy at matched seeds, chosen on validation, measured once on test, said in words."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import PolymodalError
from polymodal.core.files import writing
from polymodal.evaluation.statistics import Interval, Paired, bootstrap, caruana, paired
from polymodal.metrics.base import Metric
from polymodal.metrics.build import target_metrics
from polymodal.models.strategy import Strategy
from polymodal.report.wording import signed
from polymodal.targets.base import Target

COLUMNS = (
    "strategy",
    "streams",
    "level",
    "target",
    "metric",
    "valid",
    "test_mean",
    "test_low",
    "test_high",
    "seeds",
    "fit_seconds",
    "predict_ms",
    "parameters",
    "note",
    "fusion",
    "objective",
    "aligner",
    "finetuned",
)


@dataclass(frozen=True)
class Outcome:
    """What a strategy, an ensemble or chance predicted: `valid` and `test` map a target to predictions [S, N, ...].

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
    valid_score: float | None = None  # set where the plain validation score would flatter (an ensemble fitted on it)

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
    """A target with the truth of both held-out splits. `groups` ties rows that are resampled together (test split).

    `metrics` are what it is judged by, the first, and shown with; none is the default of its kind.
    """

    target: Target
    valid: np.ndarray
    test: np.ndarray
    groups: np.ndarray | None = None
    metrics: tuple[Metric, ...] = ()

    @property
    def metric(self) -> Metric:
        """What it is judged by."""
        return self.metrics[0] if self.metrics else target_metrics((), self.target)[0]

    def merit(self, prediction: np.ndarray) -> float:
        """The score of validation rows beside those of other targets: greater is better, see `Metric.merit`."""
        return self.metric.merit(
            self.metric(self.valid, prediction), lambda: self.metric(self.valid, constant(self.target, len(self.valid)))
        )


@dataclass(frozen=True)
class Comparison:
    """The outcome of a comparison; `rows` are the leaderboard's, best validation first within the fusions."""

    rows: list[dict[str, Any]]
    chosen: str
    fusion: str | None
    single: str
    seed: int  # position of the chosen strategy's seed with the best validation score: the one deployed
    against_single: Paired | None
    against_concat: Paired | None
    headline: str
    sentences: list[str] = field(default_factory=list)
    helped: bool | None = None


def valid_scores(outcome: Outcome, questions: Sequence[Question]) -> np.ndarray:
    """[S] validation scores, greater is better; of several targets the mean of what their metrics share."""
    if len(questions) == 1:
        q = questions[0]
        return np.array([q.metric.turned(q.metric(q.valid, p)) for p in outcome.valid[q.target.name]])
    return np.mean([[q.merit(p) for p in outcome.valid[q.target.name]] for q in questions], axis=0)


def score_of(outcome: Outcome, questions: Sequence[Question]) -> float:
    """The figure by which strategies are chosen."""
    return float(valid_scores(outcome, questions).mean()) if outcome.valid_score is None else outcome.valid_score


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


def ensemble(members: Sequence[Outcome], question: Question, *, rounds: int = 20, folds: int = 5) -> Outcome:
    """Greedy ensemble selection (Caruana et al. 2004) over the members, seed by seed.

    Its weights are fitted on validation rows, so its validation score comes from cross-validation over them: each part
    of the rows is scored by weights found on the others.
    """
    name = question.target.name
    truth, metric = question.valid, question.metric
    weights, held_out = [], []
    part = np.arange(len(truth)) % folds
    for s in range(min(m.seeds for m in members)):
        valid = [m.valid[name][s] for m in members]
        weights.append(caruana(valid, truth, metric, rounds))
        blended = np.zeros_like(valid[0])
        for k in range(folds):
            inside = part != k
            others = caruana([v[inside] for v in valid], truth[inside], metric, rounds)
            blended[~inside] = np.tensordot(others, np.stack([v[~inside] for v in valid]), 1)
        held_out.append(metric.turned(metric(truth, blended)))
    used = [i for i in range(len(members)) if any(w[i] > 0 for w in weights)]
    streams = tuple(sorted({n for i in used for n in members[i].streams}))
    shared = max((members[i] for i in used), key=lambda m: m.encoder_ms)

    def blend(split: str) -> dict[str, np.ndarray]:
        stacked = [np.stack([getattr(m, split)[name][s] for m in members]) for s in range(len(weights))]
        return {name: np.stack([np.tensordot(w, p, 1) for w, p in zip(weights, stacked)])}

    return Outcome(
        Strategy("ensemble", "ensemble", streams),
        blend("valid"),
        blend("test"),
        seconds=sum(members[i].seconds for i in used),
        # Members share their encoders: each cell is encoded once, whoever reads it.
        predict_ms=shared.encoder_ms + sum(members[i].predict_ms - members[i].encoder_ms for i in used),
        parameters=shared.encoder_parameters + sum(members[i].parameters - members[i].encoder_parameters for i in used),
        encoder_ms=shared.encoder_ms,
        encoder_parameters=shared.encoder_parameters,
        note="greedy blend of " + ", ".join(members[i].name for i in used),
        weights=tuple({members[i].name: float(w[i]) for i in used if w[i] > 0} for w in weights),
        valid_score=float(np.mean(held_out)),
    )


def compare(
    outcomes: Sequence[Outcome],
    questions: Sequence[Question],
    *,
    budget_ms: float | None = None,
    deploy: str | None = None,
    seed: int = 0,
) -> Comparison:
    """Choose on validation, measure on test, and say whether fusing helped.

    The best single modality and the fusion are each chosen by validation score; the paired test is between those
    two, on the first target. Under `budget_ms` only strategies within it can be chosen. `deploy` names the strategy to
    keep instead of the best; the verdict stays. Raises `PolymodalError` when that one has not finished.
    """
    affordable = [o for o in outcomes if budget_ms is None or o.predict_ms <= budget_ms]
    ranked = sorted(affordable, key=lambda o: -score_of(o, questions))
    singles = [o for o in ranked if o.level == "single"] or [o for o in outcomes if o.level == "single"]
    fusions = [o for o in ranked if o.level not in ("single", "chance")]
    single = singles[0]
    fusion = fusions[0] if fusions else None
    chosen = single if fusion is None or score_of(single, questions) > score_of(fusion, questions) else fusion
    asked = None if deploy is None else _asked_for(deploy, outcomes)
    chosen = asked or chosen
    q = questions[0]
    rows = [_row(o, question, seed) for question in questions for o in _in_order(outcomes, questions)]
    concat = next((o for o in outcomes if o.name == "concat"), None)
    against_single = _paired(q, fusion, single, seed) if fusion is not None else None
    against_concat = _paired(q, fusion, concat, seed) if fusion is not None and concat not in (None, fusion) else None
    result = Comparison(
        rows,
        chosen.name,
        fusion.name if fusion else None,
        single.name,
        int(np.argmax(valid_scores(chosen, questions))),
        against_single,
        against_concat,
        "",
    )
    return _in_words(result, q, outcomes, budget_ms, asked=asked is not None)


def _asked_for(name: str, outcomes: Sequence[Outcome]) -> Outcome:
    for outcome in outcomes:
        if outcome.name == name:
            return outcome
    raise PolymodalError(f"{name!r}, which deploy names, has not finished. Continue with --resume, or name another.")


def _in_order(outcomes: Sequence[Outcome], questions: Sequence[Question]) -> list[Outcome]:
    place = {"chance": 2, "single": 1}
    return sorted(outcomes, key=lambda o: (place.get(o.level, 0), -score_of(o, questions)))


def _row(outcome: Outcome, question: Question, seed: int) -> dict[str, Any]:
    metric, name = question.metric, question.target.name
    valid = float(np.mean([metric(question.valid, p) for p in outcome.valid[name]]))
    if outcome.valid_score is not None:
        valid = metric.turned(outcome.valid_score)
    interval = _interval(question, metric, outcome, seed)
    further: dict[str, float] = {}
    for other in question.metrics[1:]:
        ends = _interval(question, other, outcome, seed)
        further |= dict(zip(beside(other.name), (ends.mean, ends.low, ends.high)))
    return {
        "strategy": outcome.name,
        "streams": "+".join(outcome.streams),
        "level": outcome.level,
        "target": name,
        "metric": metric.name,
        "valid": valid,
        "test_mean": interval.mean,
        "test_low": interval.low,
        "test_high": interval.high,
        "seeds": outcome.seeds,
        "fit_seconds": outcome.seconds,
        "predict_ms": outcome.predict_ms,
        "parameters": outcome.parameters,
        "note": outcome.note,
        **outcome.strategy.words(),
        **further,
    }


def beside(name: str) -> tuple[str, str, str]:
    """The columns of a metric that is shown beside the one judged by: its value on test, and the interval's ends."""
    return f"{name}_test", f"{name}_test_low", f"{name}_test_high"


def _interval(q: Question, metric: Metric, outcome: Outcome, seed: int) -> Interval:
    return bootstrap(metric, q.test, outcome.test[q.target.name], seed=seed, groups=q.groups)


def _paired(q: Question, a: Outcome, b: Outcome, seed: int) -> Paired:
    name, seeds = q.target.name, min(a.seeds, b.seeds)
    return paired(q.metric, q.test, a.test[name][:seeds], b.test[name][:seeds], seed=seed, groups=q.groups)


def _in_words(
    c: Comparison, q: Question, outcomes: Sequence[Outcome], budget_ms: float | None, *, asked: bool = False
) -> Comparison:
    if c.fusion is None or c.against_single is None:
        why = "no fusion fits the budget" if budget_ms is not None else "none has finished"
        if sum(o.level == "single" for o in outcomes) == 1:
            why = "there is a single stream"
        return replace(c, headline=f"No fusion to judge: {why}; {c.single} answers.", helped=None)
    d = oriented(c.against_single, q.metric)
    test = {r["strategy"]: r["test_mean"] for r in c.rows if r["target"] == q.target.name}
    figures = f"{q.metric.name} {test[c.fusion]:.3f} ({c.fusion}) against {test[c.single]:.3f} ({c.single})"
    by = "difference" if q.metric.greater_is_better else "lower by"
    gap = f"{by} {signed(d.difference)} (95% interval {signed(d.low)} to {signed(d.high)}, p = {d.p:.2g})"
    if d.low > 0:
        helped, headline = True, f"Fusing helped: {figures} on test."
    elif d.high < 0:
        helped, headline = False, f"Fusing hurt: {figures} on test."
    else:
        helped, headline = None, f"Fusing made no difference that this test can show: {figures}."
    sentences = [f"Paired over the same test rows and seeds: {gap}."]
    if c.against_concat is not None:
        e = oriented(c.against_concat, q.metric)
        step = "" if q.metric.greater_is_better else f"{by} "
        word = "better than" if e.low > 0 else "worse than" if e.high < 0 else "not distinguishable from"
        sentences.append(
            f"The chosen fusion is {word} plain concatenation: {step}{signed(e.difference)} "
            f"({signed(e.low)} to {signed(e.high)})."
        )
    if asked:
        sentences.append(f"This run deploys {c.chosen}, as it was asked to.")
    elif c.chosen == c.single:
        sentences.append(f"On validation the single modality {c.single} was best, so it is what this run deploys.")
    if (warning := _flattered(c, q, test)) is not None:
        sentences.append(warning)
    if budget_ms is not None:
        sentences.append(f"Only strategies within {budget_ms:g} ms a row could be chosen.")
    return replace(c, headline=headline, sentences=sentences, helped=helped)


def oriented(p: Paired, metric: Metric) -> Paired:
    """Positive means better, also where the metric is smaller when better."""
    return p if metric.greater_is_better else replace(p, difference=-p.difference, low=-p.high, high=-p.low)


def _flattered(c: Comparison, q: Question, test: Mapping[str, float]) -> str | None:
    """A warning when validation says much more than test: the choice rests on rows that are not like the test rows."""
    row = next(r for r in c.rows if r["strategy"] == c.chosen and r["target"] == q.target.name)
    width = max(row["test_high"] - row["test_low"], 1e-9)
    gap = q.metric.turned(row["valid"] - row["test_mean"])
    if gap < 2 * width:
        return None
    return (
        f"Do not trust the choice: {c.chosen} scores {row['valid']:.3f} on validation but "
        f"{test[c.chosen]:.3f} on test. "
        "The validation rows are not like the test rows (were the features made with the training labels, or is the "
        "validation split cut from training?), so validation cannot rank the strategies."
    )


def write_leaderboard(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """`leaderboard.csv`: one row a strategy and target, single modalities and chance included; further metrics last."""
    columns = dict.fromkeys([*COLUMNS, *(column for row in rows for column in row)])
    with writing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(columns))
        table.writeheader()
        for row in rows:
            table.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
