"""Does one modality starve the others, and did an objective mend it? What the report's section on balance says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from polymodal.evaluation.statistics import Paired, bootstrap, holm, paired
from polymodal.experiment.outcome import Outcome, Question, oriented, score_of
from polymodal.experiment.plan import Plan
from polymodal.experiment.results import Results
from polymodal.report.wording import signed


def balance(
    plan: Plan, finished: Results, outcomes: Sequence[Outcome], question: Question, worth: Mapping[str, Any], seen: str
) -> dict[str, Any]:
    """The `balance` of `evaluation.json`: what each stream gives inside a joint fusion, and what objectives changed.

    The fusion is the one that objectives were compared on, or else the best joint one by validation; empty where there
    is none. `worth` are the Shapley worths of the chosen model, whose name is `seen`.
    """
    named = {o.name: o for o in outcomes}
    plain = [named[s.name] for s in plan.strategies if s.joint and not s.adapters and s.name in named]
    if not plain:
        return {}
    best = max(plain, key=lambda o: score_of(o, [question]))
    rows = _objectives(plan, named, question)
    base = named.get(named[rows[0]["strategy"]].strategy.fusion, best) if rows else best
    streams = _streams(finished, base, named, question, worth)
    figures = {
        "fusion": base.name,
        "chosen": seen,
        "streams": streams,
        "dominant": _dominant(streams),
        "objectives": rows,
    }
    return figures | {"sentences": sentences(figures, question.metric.name)}


def _streams(
    finished: Results, fusion: Outcome, named: Mapping[str, Outcome], q: Question, worth: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A row a stream: its worth, the fusion's score given it alone, its own single model's, and the gap of the two."""
    target = q.target.name
    worths = {s["name"]: s for s in worth.get("streams") or []}
    rows = []
    for name, inside in finished.alone(fusion.name).items():
        single = next((o for o in named.values() if o.level == "single" and o.streams == (name,)), None)
        if single is None:
            continue
        gap = _better(q, single.test[target], inside[target])
        rows.append(
            {
                "name": name,
                "worth": worths.get(name, {}).get("mean"),
                "worth_low": worths.get(name, {}).get("low"),
                "worth_high": worths.get(name, {}).get("high"),
                "inside": vars(bootstrap(q.metric, q.test, inside[target], seed=0, groups=q.groups)),
                "single": vars(bootstrap(q.metric, q.test, single.test[target], seed=0, groups=q.groups)),
                "gap": vars(gap),
            }
        )
    return rows


def _objectives(plan: Plan, named: Mapping[str, Outcome], q: Question) -> list[dict[str, Any]]:
    """A row an objective compared, against the same fusion with adapters alone; p after Holm's correction."""
    target, rows = q.target.name, []
    for compared in plan.compared:
        for strategy in (compared, replace(compared, encoders="finetuned")):
            row, base = named.get(strategy.name), named.get(replace(strategy, objective=None).name)
            if row is None or base is None or row is base:
                continue
            difference = _better(q, row.test[target], base.test[target])
            rows.append(
                {
                    "name": strategy.variant,
                    "strategy": row.name,
                    "baseline": base.name,
                    "valid": score_of(row, [q]),
                    "valid_difference": score_of(row, [q]) - score_of(base, [q]),
                    "test": vars(bootstrap(q.metric, q.test, row.test[target], seed=0, groups=q.groups)),
                    **vars(difference),
                }
            )
    for told, p in zip(rows, holm([told["p"] for told in rows])):
        told["p_holm"] = float(p)
    return rows


def _better(q: Question, a: np.ndarray, b: np.ndarray) -> Paired:
    """By how much `a` is better than `b`, at matched seeds; above 0 is better whatever the metric."""
    seeds = min(len(a), len(b))
    return oriented(paired(q.metric, q.test, a[:seeds], b[:seeds], seed=0, groups=q.groups), q.metric)


def _dominant(streams: Sequence[Mapping[str, Any]]) -> str | None:
    """The stream whose worth lies above every other's, intervals included."""
    known = sorted((s for s in streams if s["worth"] is not None), key=lambda s: -s["worth"])
    if len(known) < 2 or not known[0]["worth_low"] > max(s["worth_high"] for s in known[1:]):
        return None
    return str(known[0]["name"])


def sentences(found: Mapping[str, Any], metric: str) -> list[str]:
    """What the figures say, in words, whichever way they fall out."""
    told = []
    streams, fusion = found["streams"], found["fusion"]
    known = [s for s in streams if s["worth"] is not None]
    if found["dominant"]:
        total = sum(max(s["worth"], 0.0) for s in known)
        top = next(s for s in known if s["name"] == found["dominant"])
        told.append(
            f"{top['name']} dominates {found['chosen']}: its worth is {top['worth']:.3f} of {total:.3f}, "
            f"{100 * top['worth'] / total:.0f} % of what all modalities are worth together."
        )
    elif len(known) > 1:
        told.append(f"No modality dominates {found['chosen']}: the intervals of the largest worths overlap.")
    starved = [s for s in streams if s["gap"]["low"] > 0]
    for s in starved:
        told.append(
            f"Given {s['name']} alone, {fusion} reaches {metric} {s['inside']['mean']:.3f}; a model of {s['name']} "
            f"alone reaches {s['single']['mean']:.3f}. It is under-trained in the fusion by "
            f"{s['gap']['difference']:.3f} (95 % interval {_span(s['gap'])})."
        )
    if streams and not starved:
        told.append(
            f"No modality is under-trained in {fusion} as far as this test can tell: given one modality alone, it "
            "answers as well as that modality's own model."
        )
    return told + _verdicts(found["objectives"], metric)


def _verdicts(rows: Sequence[Mapping[str, Any]], metric: str) -> list[str]:
    """Whether balancing helped: the objective that validation would choose, then all of them at once."""
    if not rows:
        return ["Whether an objective against greedy learning would help was not tried: objectives=all compares them."]
    best = max(rows, key=lambda r: r["valid_difference"])
    gap = f"{metric} {signed(best['difference'])} (95 % interval {_span(best)}) against {best['baseline']}"
    if best["valid_difference"] <= 0:
        told = ["Balancing did not help: on validation no objective beats the same fusion trained without one."]
    elif best["low"] > 0:
        told = [f"Balancing helped: {best['strategy']}, the best objective on validation, gains on test: {gap}."]
    elif best["high"] < 0:
        told = [f"Balancing hurt: {best['strategy']} is the best objective on validation but loses on test: {gap}."]
    else:
        told = [f"Balancing made no difference that this test can show: {best['strategy']} is the best on validation; "
                f"on test {gap}."]  # fmt: skip
    better = [r["name"] for r in rows if r["p_holm"] < 0.05 and r["difference"] > 0]
    worse = [r["name"] for r in rows if r["p_holm"] < 0.05 and r["difference"] < 0]
    count = f"Of {len(rows)} comparisons with Holm's correction"
    if better or worse:
        parts = [f"{', '.join(names)} {word}" for names, word in ((better, "better"), (worse, "worse")) if names]
        return [*told, f"{count}, these can be told from training without: {'; '.join(parts)}."]
    return [*told, f"{count}, none can be told from training without an objective."]


def _span(gap: Mapping[str, float]) -> str:
    return f"{signed(gap['low'])} to {signed(gap['high'])}"
