"""The fair comparison: every strategy at matched seeds, chosen on validation, measured once on test, said in words."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import PolymodalError
from polymodal.core.files import writing
from polymodal.core.shown import some
from polymodal.evaluation.statistics import Interval, bootstrap, caruana
from polymodal.experiment.outcome import Outcome, Question, score_of, valid_scores
from polymodal.experiment.verdict import (
    ONE_ERROR,
    Tests,
    Verdict,
    cheapest,
    counted,
    drawing,
    indistinct,
    judge,
    seeing,
)
from polymodal.metrics.base import Metric
from polymodal.models.base import BASELINE, CONTENDER
from polymodal.models.strategy import Strategy
from polymodal.report.wording import decimals, plain

COLUMNS = (
    "strategy", "streams", "level", "target", "metric", "valid", "test_mean", "test_low", "test_high", "seeds",
    "fit_seconds", "predict_ms", "parameters", "note", "fusion", "objective", "aligner", "encoders",
)  # fmt: skip

NEAR = "within one standard error of the best without the test rows"
SHOWN = 3  # names in a sentence


@dataclass(frozen=True)
class Comparison:
    """The outcome of a comparison; `rows` are the leaderboard's, best validation first within the fusions."""

    rows: list[dict[str, Any]]
    chosen: str
    fusion: str | None
    single: str
    seed: int  # position of the chosen strategy's seed with the best validation score: the one deployed
    verdict: Verdict | None  # of the first target
    headline: str
    sentences: list[str] = field(default_factory=list)

    @property
    def helped(self) -> bool | None:
        """Whether fusing helped, on the first target; None where the test cannot tell."""
        return self.verdict.helped if self.verdict else None


def ensemble(members: Sequence[Outcome], question: Question, *, rounds: int = 20, folds: int = 5) -> Outcome:
    """Greedy ensemble selection (Caruana et al. 2004) over the members, seed by seed.

    Its weights are fitted on validation rows, so its answers to these come from cross-validation over them: each part
    of the rows, groups of which stay together, is answered with weights found on the others.
    """
    name = question.target.name
    truth, metric, groups = question.valid, question.metric, question.valid_groups
    part = (np.arange(len(truth)) if groups is None else groups) % folds
    weights, valid, test = [], [], []
    alike = np.full(len(members), 1 / len(members))
    for s in range(min(m.seeds for m in members)):
        said = np.stack([m.valid[name][s] for m in members])
        weights.append(caruana(said, truth, metric, rounds, groups=groups))
        held_out = np.zeros_like(said[0])
        for k in range(folds):
            inside = part != k
            # Of a single group nothing is left to find weights on: they are alike.
            some = None if groups is None else groups[inside]
            others = caruana(said[:, inside], truth[inside], metric, rounds, groups=some) if inside.any() else alike
            held_out[~inside] = np.tensordot(others, said[:, ~inside], 1)
        valid.append(held_out)
        test.append(np.tensordot(weights[-1], np.stack([m.test[name][s] for m in members]), 1))
    used = [i for i in range(len(members)) if any(w[i] > 0 for w in weights)]
    streams = tuple(sorted({n for i in used for n in members[i].streams}))
    shared = max((members[i] for i in used), key=lambda m: m.encoder_ms)
    return Outcome(
        Strategy("ensemble", "ensemble", streams),
        {name: np.stack(valid)},
        {name: np.stack(test)},
        seconds=sum(members[i].seconds for i in used),
        # Members share their encoders: each cell is encoded once, whoever reads it.
        predict_ms=shared.encoder_ms + sum(members[i].predict_ms - members[i].encoder_ms for i in used),
        parameters=shared.encoder_parameters + sum(members[i].parameters - members[i].encoder_parameters for i in used),
        encoder_ms=shared.encoder_ms,
        encoder_parameters=shared.encoder_parameters,
        note="greedy blend of " + ", ".join(members[i].name for i in used),
        weights=tuple({members[i].name: float(w[i]) for i in used if w[i] > 0} for w in weights),
        trained=max(members[i].trained for i in used),
    )


def compare(
    outcomes: Sequence[Outcome],
    questions: Sequence[Question],
    *,
    budget_ms: float | None = None,
    deploy: str | None = None,
    seed: int = 0,
    beside: Sequence[Outcome] = (),
) -> Comparison:
    """Choose on validation, measure on test, and say whether fusing helped.

    What is deployed is the `cheapest` strategy within one standard error of the best by validation (Breiman et al.
    1984; here of the paired difference). So is the fusion, among fusions. The verdict is on the first target, with a
    sentence for each further one; see `verdict.judge`. Under `budget_ms` only strategies within it can be chosen.
    A baseline that is at least as good on every target is deployed instead, by points alone: who is not better than
    what was copied, or than who saw nothing, has not earned its place. Those `beside` them are shown and not chosen;
    that one of them is as good is said.
    `deploy` names the strategy to keep instead, or is `best`, for the top score. Raises `PolymodalError` when the one
    it names has not finished.
    """
    affordable = [o for o in outcomes if budget_ms is None or o.predict_ms <= budget_ms]
    ranked = sorted(affordable, key=lambda o: -score_of(o, questions))
    singles = [o for o in ranked if o.level == "single"] or [o for o in outcomes if o.level == "single"]
    fusions = [o for o in ranked if o.level not in ("single", "chance", BASELINE)]
    valid = [Tests(q, seed, "valid") for q in questions]

    def near(some: Sequence[Outcome]) -> list[Outcome]:
        return list(some[:1]) if deploy == "best" else indistinct(some, valid, ONE_ERROR)

    single = singles[0]
    fusion = cheapest(near(fusions)) if fusions else None
    alike = near([o for o in ranked if o.level not in ("chance", BASELINE)] or [single])
    written = cheapest(alike)
    unbeaten = next((o for o in ranked if o.level == BASELINE and _as_good(o, written, questions)), None)
    if unbeaten and written is not alike[0] and not _as_good(unbeaten, alike[0], questions):
        alike, written, unbeaten = alike[:1], alike[0], None  # what is cheaper would be no better than the baseline
    asked = None if deploy in (None, "best") else _asked_for(deploy, outcomes)
    chosen = asked or unbeaten or written
    rows = [_row(o, question, seed) for question in questions for o in _in_order([*outcomes, *beside], questions)]
    if len(alike) > 1:
        for row in (r for r in rows if r["strategy"] in {o.name for o in alike}):
            row["note"] = "; ".join(filter(None, (row["note"], NEAR)))
    wrote = fusion if fusion is not None and score_of(fusion, questions) > score_of(single, questions) else single
    wrote = wrote if chosen.level in ("chance", BASELINE) else chosen  # what copies has looked at nothing
    names = [q.target.name if len(questions) > 1 else "" for q in questions]
    rivals = [*outcomes, *beside]
    seen = [line for q, of in zip(questions, names) for line in seeing(q, wrote, rivals, seed=seed, of=of)]
    there = [*beside, *([] if fusion is not None else [o for o in outcomes if o.level == "chance"])]
    seen += [line for q in questions for line in drawing(q, wrote, there, seed=seed)]
    verdicts: list[Verdict] = []
    if fusion is not None:
        usable = {id(o) for o in singles}
        fair = [o for o in outcomes if o.level != "single" or id(o) in usable]
        for q, of in zip(questions, names):
            scores = {r["strategy"]: r["test_mean"] for r in rows if r["target"] == q.target.name}
            verdicts.append(judge(q, fusion, fair, seed=seed, scores=scores, of=of))
        headline, sentences = verdicts[0].headline, [*verdicts[0].sentences]
        sentences += [f"{v.headline} {v.sentences[0]}" for v in verdicts[1:]]
    else:
        why = "no fusion fits the budget" if budget_ms is not None else "none has finished"
        if sum(o.level == "single" and not o.strategy.end_to_end for o in outcomes) == 1:
            why = "there is a single stream"
        headline, sentences = f"No fusion to judge: {why}; {chosen.name} answers.", []
        headline, seen = (seen[0], [headline, *seen[1:]]) if seen else (headline, [])
    sentences += seen
    if asked:
        better = unbeaten or next((o for o in outcomes if o.level == BASELINE and _as_good(o, asked, questions)), None)
        less = ""
        if better is not None and better is not asked:
            less = f", though on {questions[0].held} rows {better.name} was at least as good"
        sentences.append(f"This run deploys {chosen.name}, as it was asked to{less}.")
    elif unbeaten:
        sentences.append(
            f"On {questions[0].held} rows nothing that is trained on the streams was better than {chosen.name} "
            f"({_against(chosen, written, questions)}), so it is what this run deploys. deploy={written.name} keeps "
            "that one instead."
        )
    elif len(alike) > 1:
        sentences.append(_alike(chosen, alike, questions[0]))
    elif fusion is not None and chosen is single:
        sentences.append(
            f"On {questions[0].held} rows the single modality {chosen.name} was best, so it is what this run deploys."
        )
    for other in (o for o in beside if _as_good(o, chosen, questions)):
        sentences.append(
            f"On {questions[0].held} rows {chosen.name} is not better than {other.name}, {other.note} "
            f"({_against(chosen, other, questions)}); {_kept_out(other)}."
        )
    sentences += _flattered(chosen, rows, questions[0])
    if budget_ms is not None and fusion is not None:
        sentences.append(f"Only strategies within {budget_ms:g} ms a row could be chosen.")
    return Comparison(
        rows,
        chosen.name,
        fusion.name if fusion else None,
        single.name,
        int(np.argmax(valid_scores(chosen, questions))),
        verdicts[0] if verdicts else None,
        headline,
        sentences,
    )


def _asked_for(name: str, outcomes: Sequence[Outcome]) -> Outcome:
    for outcome in outcomes:
        if outcome.name == name:
            return outcome
    raise PolymodalError(f"{name!r}, which deploy names, has not finished. Continue with --resume, or name another.")


def _as_good(one: Outcome, other: Outcome, questions: Sequence[Question]) -> bool:
    """Whether `one` scores at least as much as `other` on the rows of choice, on every target."""
    return all(score_of(one, [q]) >= score_of(other, [q]) for q in questions)


def _kept_out(other: Outcome) -> str:
    """Why one that is shown beside what was trained is not deployed."""
    if other.level == CONTENDER:
        return "it was not trained here and is not deployed: `polymodal generate` answers by it"
    return "that is no model, so it cannot be deployed"


def _against(one: Outcome, other: Outcome, questions: Sequence[Question]) -> str:
    """The scores of both on the rows of choice, a target each."""
    said = []
    for q in questions:
        a, b = (q.metric.turned(score_of(o, [q])) for o in (one, other))
        places = decimals([a, b])
        of = f" for {q.target.name}" if len(questions) > 1 else ""
        said.append(f"{q.metric.name} {plain(a, places)} against {plain(b, places)} of {other.name}{of}")
    return ", ".join(said)


def _in_order(outcomes: Sequence[Outcome], questions: Sequence[Question]) -> list[Outcome]:
    place = {"chance": 4, BASELINE: 3, CONTENDER: 2, "single": 1}
    return sorted(outcomes, key=lambda o: (place.get(o.level, 0), -score_of(o, questions)))


def _row(outcome: Outcome, question: Question, seed: int) -> dict[str, Any]:
    metric, name = question.metric, question.target.name
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
        "valid": float(np.mean([question.on_valid(p) for p in outcome.valid[name]])),
        "test_mean": interval.mean,
        "test_low": interval.low,
        "test_high": interval.high,
        "seeds": outcome.trained or outcome.seeds,
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


def _alike(chosen: Outcome, alike: Sequence[Outcome], q: Question) -> str:
    """Why `chosen` is deployed of those that validation cannot tell from the best."""
    best, *others = alike
    said = f"{counted(q.valid, q.valid_groups, q.held)[1]} cannot tell {some([o.name for o in others], SHOWN)} "
    said += f"from {best.name}, the best on them, by more than one standard error"
    if chosen is best:
        return f"{said}; none of these on the same streams is cheaper, so this run deploys {best.name}."
    return (
        f"{said}, so this run deploys {chosen.name}, on the same streams with the fewest parameters. deploy=best keeps "
        "the best score instead."
    )


def _flattered(chosen: Outcome, rows: Sequence[Mapping[str, Any]], q: Question) -> list[str]:
    """A warning when validation says much more than test: the choice rests on rows that are not like the test rows."""
    row = next(r for r in rows if r["strategy"] == chosen.name and r["target"] == q.target.name)
    width = max(row["test_high"] - row["test_low"], 1e-9)
    gap = q.metric.turned(row["valid"] - row["test_mean"])
    if not gap >= 2 * width:
        return []
    return [
        f"Do not trust the choice: {chosen.name} scores {row['valid']:.3f} on {q.held} rows but "
        f"{row['test_mean']:.3f} on test. "
        "The validation rows are not like the test rows (were the features made with the training labels, or is the "
        "validation split cut from training?), so validation cannot rank the strategies."
    ]


def write_leaderboard(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """`leaderboard.csv`: one row a strategy and target, single modalities and chance included; further metrics last."""
    columns = dict.fromkeys([*COLUMNS, *(column for row in rows for column in row)])
    with writing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(columns))
        table.writeheader()
        for row in rows:
            table.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
