"""From finished jobs to a finished run: compare, keep the best, evaluate it, write the files."""

from __future__ import annotations

import inspect
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polymodal.core.files import told_path, write_json
from polymodal.core.runtime import device_of
from polymodal.data.inspection.columns import columns_of
from polymodal.data.split import units
from polymodal.data.storage.dataset import Dataset
from polymodal.data.tables.write import write_columns
from polymodal.experiment.balance import balance
from polymodal.experiment.compare import Comparison, beside, compare, ensemble, write_leaderboard
from polymodal.experiment.contenders import contending
from polymodal.experiment.nearest import nearest
from polymodal.experiment.outcome import Outcome, Question, chance
from polymodal.experiment.plan import Plan
from polymodal.experiment.ranking import baselines, sentences
from polymodal.experiment.ranking import told as told_order
from polymodal.experiment.results import Results
from polymodal.experiment.verdict import usual
from polymodal.inference.bundle import CONFIG, SCHEMA, WEIGHTS
from polymodal.inference.evaluation import Evaluation, described, evaluate
from polymodal.inference.keyed import keyed
from polymodal.inference.predictor import Predictor
from polymodal.inference.run import Run
from polymodal.metrics.build import judged, measure, target_metrics
from polymodal.models.specs import CATALOGUES
from polymodal.models.strategy import Strategy
from polymodal.process.base import Processor
from polymodal.report.glossary import meaning
from polymodal.report.report import write_report
from polymodal.report.wording import decimals, interval, plain
from polymodal.runs.folder import aside_in, environment
from polymodal.runs.progress import Log, Progress, tracker_of, write_trackers
from polymodal.targets.base import Target
from polymodal.targets.columns import free
from polymodal.targets.text import TextTarget


def finalize(
    plan: Plan,
    folder: Path,
    dataset: Dataset,
    processors: dict[str, Processor],
    progress: Progress,
    log: Log,
    notes: Sequence[str],
    timings: list[dict[str, Any]],
) -> Run:
    """Compare what is finished, keep the best and write every file of the run."""
    stage = progress.stage("comparing", 1)
    finished = Results(plan, folder / "work")
    questions = [question_of(plan, t, finished.evidence) for t in plan.targets]
    outcomes = finished.outcomes()
    fusions = [o for o in outcomes if o.level != "single" and not o.strategy.end_to_end]
    if plan.config.ensemble and len(fusions) > 1 and len(questions) == 1 and plan.targets[0].scores:
        outcomes.append(ensemble(fusions, questions[0]))
    outcomes.append(chance(questions, max(o.seeds for o in outcomes)))
    config = plan.config
    alike = nearest(plan, folder / "work", dataset.store, questions, max(o.seeds for o in outcomes))
    as_they_are, left_out = contending(
        plan.contenders, plan.table, questions[0], (finished.evidence, plan.rows("test")), seed=config.seed,
        seeds=max(o.seeds for o in outcomes), device=config.device, folder=folder / "work" / "contenders",
        progress=progress,
    )  # fmt: skip
    notes = [*notes, *left_out]
    shown = [*([alike] if alike else []), *baselines(plan, questions, max(o.seeds for o in outcomes)), *as_they_are]
    comparison = compare(
        outcomes, questions, budget_ms=config.budget_ms, deploy=config.deploy, seed=config.seed, beside=shown
    )
    outcomes += shown
    write_leaderboard(comparison.rows, folder / "leaderboard.csv")
    stage.end()
    chosen = next(o for o in outcomes if o.name == comparison.chosen)
    predictor = finished.deploy(chosen, comparison.seed, processors)
    dataset = finished.as_deployed(dataset, chosen)
    told = plan.to_json()
    extra = {name: told[name] for name in ("config", "sources", "metrics")}
    predictor.save(folder, {**extra, "digests": dict(plan.digests)})
    predictor.to(device_of(plan.config.device))
    curves = finished.curves(comparison.chosen)
    write_trackers(tracker_of(plan.config.trackers), folder, curves)
    metrics = _metrics(plan, comparison, questions, chosen)
    write_json(folder / "metrics.json", metrics)
    run = Run(folder, predictor, metrics=plan.metrics)
    test = plan.rows("test")
    scores = {
        t.name: predictor.tempered(t.name, finished.scores(chosen, comparison.seed, predictor, t, "test"))
        for t in plan.targets
    }
    _write_predictions(folder / "predictions_test.parquet", plan, predictor, scores, test)
    began = time.perf_counter()
    assessment = evaluate(
        predictor, dataset, plan.table, plan.truth, test, progress,
        groups=plan.groups(), metrics=questions[0].metrics, noise=config.noise, training=_answers(plan),
        train=plan.rows("train"),
    )  # fmt: skip
    comparison.sentences.extend(assessment.said)
    if assessment.noise_spared and not plan.drawn:
        notes = [
            *notes,
            f"No noise curve of {', '.join(assessment.noise_spared)}: a pretrained tower would encode up to 500 rows "
            "four times more for it. `noise: true` draws it, and so does `evaluate`.",
        ]
    timings.append({"what": "evaluating the chosen one", "seconds": time.perf_counter() - began})
    told_apart = deployed(questions[0], chosen, finished.seeds[comparison.seed], comparison.rows, assessment.score)
    comparison.sentences.extend(told_apart)
    comparison.sentences.extend(sentences(order := told_order(plan, questions[0])))
    evaluation = _evaluation(plan, comparison, questions[0], assessment, dataset, curves, notes, timings, folder)
    evaluation["encodings"] = {name: encoder["rungs"] for name, encoder in finished.encoders.items()}
    evaluation["checkpoints"] = plan.towers.lines()
    evaluation |= {"ranking": order} if order else {}
    if plan.bagged and not chosen.strategy.end_to_end:  # what ships has learned from the validation rows too
        evaluation["refitted"] = {part: len(plan.rows(part)) for part in ("train", "valid")}
    evaluation["about"] = {o.name: _about(o.strategy) for o in outcomes}
    evaluation["data"]["columns"] = [
        vars(column) for column in columns_of(plan.table, plan.schema, Counter(p.column for p in aside_in(folder)))
    ]
    evaluation["balance"] = balance(plan, finished, outcomes, questions[0], assessment.worth, comparison.chosen)
    write_json(folder / "evaluation.json", evaluation)
    write_report(evaluation, folder / "report.html")
    log.write("finished", chosen=comparison.chosen, headline=comparison.headline)
    progress.say("")
    size = sum((folder / file).stat().st_size for file in (CONFIG, SCHEMA, WEIGHTS)) / 1e6
    kept = f"Deployed: {comparison.chosen}, a bundle of {size:.1f} MB."
    for line in (comparison.headline, *comparison.sentences, kept, f"Report: {folder / 'report.html'}"):
        progress.say(line)
    return run


def _answers(plan: Plan) -> set[str]:
    """The answers in words of the training rows to the first target; none where it is not written."""
    target = plan.targets[0]
    if not isinstance(target, TextTarget):
        return set()
    return set(target.truth(plan.truth[target.name][plan.rows("train")]).ravel().tolist()) - {""}


def question_of(plan: Plan, target: Target, evidence: np.ndarray | None = None) -> Question:
    """What is asked of a target, its choices by the rows `evidence` (default: the plan's)."""
    seen = plan.evidence() if evidence is None else evidence
    groups, cells = plan.groups(), plan.table.column(target.name)

    def truth(rows: np.ndarray) -> np.ndarray:
        return target.wanted(cells, plan.truth[target.name], rows)

    def codes(rows: np.ndarray) -> np.ndarray | None:
        return units([groups[i] for i in rows], len(rows)) if groups else None

    judges, test = target_metrics(plan.metrics.get(target.name, ()), target), plan.rows("test")
    held = "validation" if np.array_equal(seen, plan.rows("valid")) else "out-of-fold"
    return Question(target, truth(seen), truth(test), codes(test), judges, codes(seen), held)


def deployed(
    q: Question, chosen: Outcome, seed: int, rows: Sequence[Mapping[str, Any]], score: Mapping[str, float]
) -> list[str]:
    """Why the deployed model's `score` on test is another figure than the leaderboard's, if it is."""
    row = next(r for r in rows if r["strategy"] == chosen.name and r["target"] == q.target.name)
    places = decimals([row["test_mean"]])
    mine, mean = plain(score["mean"], places), plain(row["test_mean"], places)
    span = f" ({ends})" if (ends := interval(score["low"], score["high"], places)) else ""
    where = "subsets, worth, noise, calibration and mistakes are"
    if chosen.seeds > 1:
        return [
            f"The {q.metric.name} {mean} of {chosen.name} is the mean of {chosen.seeds} seeds. Deployed is the one of "
            f"them that was best on validation, seed {seed}, whose {q.metric.name} on test is {mine}{span}; {where} "
            "its own."
        ]
    if mine == mean:
        return []
    return [
        f"The deployed model's {q.metric.name} on test is {mine}{span}, not the {mean} of the leaderboard: its answers "
        f"are calibrated on the {q.held} rows, and {where} of these."
    ]


def _metrics(plan: Plan, c: Comparison, questions: Sequence[Question], chosen: Outcome) -> dict[str, Any]:
    row = {r["target"]: r for r in c.rows if r["strategy"] == c.chosen}
    metrics: dict[str, Any] = {}
    for q in questions:
        name = q.target.name
        each = [measure(q.metrics, judged(q.target), q.test, p, q.groups) for p in chosen.test[name]]
        test: dict[str, Any] = {m: {"mean": float(np.mean([e[m] for e in each]))} for m in each[0]}
        columns = [("test_mean", "test_low", "test_high"), *(beside(m.name) for m in q.metrics[1:])]
        for metric, ends in zip(q.metrics, columns):
            test[metric.name] = dict(zip(("mean", "low", "high"), (row[name][end] for end in ends)))
        metrics[name] = {"primary": q.metric.name, "test": test}
    first = plan.targets[0].name
    return {
        "target": first,
        **metrics[first],
        "chosen": c.chosen,
        "best_single": c.single,
        "best_fusion": c.fusion,
        "headline": c.headline,
        "targets": metrics,
    }


def _write_predictions(
    path: Path, plan: Plan, predictor: Predictor, scores: Mapping[str, torch.Tensor], rows: np.ndarray
) -> None:
    """`predictions_test.parquet`: the user's keys, truth and the deployed answer's columns."""
    table = plan.table.select(rows)
    columns: dict[str, Any] = {}
    for target in plan.targets:
        answers = target.columns(predictor.decode(target, scores[target.name]))
        answers = {predictor.names[target.name].get(name, name): values for name, values in answers.items()}
        truth = free({*columns, *answers, *(t.name for t in plan.targets)}, f"{target.name}_truth")
        columns |= {truth: target.written(table.column(target.name)), **answers}
    write_columns(keyed(table, plan.schema, columns), path, files=True)


def _evaluation(
    plan: Plan,
    c: Comparison,
    question: Question,
    assessment: Evaluation,
    dataset: Dataset,
    curves: Mapping[str, Any],
    notes: Sequence[str],
    timings: list[dict[str, Any]],
    folder: Path,
) -> dict[str, Any]:
    """`evaluation.json`: everything that the report draws."""
    target, metric = question.target, question.metric
    said = c.verdict
    against = {} if said is None else {"single": said.single, "concat": said.concat, "chance": said.chance}
    shown = [n for n, curve in curves.items() if curve["stage"] == "encoder"] + [c.chosen, c.fusion or c.chosen]
    return {
        "target": target.name,
        "kind": target.kind,
        "task": target.task,
        "classes": list(target.labels),
        "primary": metric.name,
        "chosen": c.chosen,
        "greater_is_better": metric.greater_is_better,
        "usual": usual(question),
        "unit": getattr(target, "unit_written", ""),
        "verdict": {
            "headline": c.headline,
            "sentences": [*c.sentences, *notes],
            "helped": c.helped,
            **{
                f"against_{key}": {"name": found.name, **vars(found.pair)}
                for key, found in against.items()
                if found is not None
            },
        },
        "data": {
            "rows": {part: len(plan.rows(part)) for part in ("train", "valid", "test")},
            "fields": described(plan.schema, dataset),
            "warnings": list(plan.notes),
        },
        "leaderboard": [r for r in c.rows if r["target"] == target.name],
        **assessment.to_json(),
        "curves": [
            {
                "name": curves[n]["name"],
                "stage": curves[n]["stage"],
                "epoch": curves[n]["epoch"],
                "train": curves[n]["loss"],
                "valid": curves[n]["valid"],
            }
            for n in dict.fromkeys(shown)
            if n in curves
        ],
        "timings": timings,
        "command": _command(plan, folder),
        "environment": environment(),
    }


def _about(strategy: Strategy) -> str:
    """What a row of the leaderboard is, in a sentence."""
    if strategy.family not in CATALOGUES:
        return meaning(strategy.family)
    catalogue, cls = CATALOGUES[strategy.family], strategy.part.cls
    name = catalogue.name_of(cls)
    return catalogue.entry(name).summary if name in catalogue else (inspect.getdoc(cls) or "").split("\n")[0]


def _command(plan: Plan, folder: Path) -> str:
    """How to make this run again, from where it was made: the run's own files say which columns and options."""
    run = Path(told_path(folder))
    files = {"schema": run / "schema.json", "config": run / "config.yaml"}
    again = f"{run}-again"
    sources = dict(plan.sources)
    if any(source.startswith("<") for source in sources.values()):
        words = ["table", *(f"{part}={part}" for part in sources if part != "train")]
        words += [f"{option}={str(file)!r}" for option, file in files.items()]
        return f"polymodal.fit({', '.join([*words, f'out={again!r}'])})  # tables in memory, as they were given"
    words = ["polymodal fit", shlex.quote(sources.pop("train"))]
    given = {**sources, **files, "out": again}
    return " ".join([*words, *(f"--{option} {shlex.quote(str(value))}" for option, value in given.items())])
