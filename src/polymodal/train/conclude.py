"""From finished jobs to a finished run: compare, keep the best, evaluate it, write the files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors

from polymodal.assemble import Heads, Strategy, build_encoder
from polymodal.core.errors import PolymodalError
from polymodal.core.files import read_json, write_json
from polymodal.core.types import Target
from polymodal.data.dataset import Dataset
from polymodal.evaluate.calibration import conformal_radius, fit_temperature
from polymodal.evaluate.metrics import compute, primary
from polymodal.plan import Plan
from polymodal.predictor import Member, Predictor, answer_columns, assemble_answer
from polymodal.process.base import Processor
from polymodal.train.assess import Assessment, assess
from polymodal.train.compare import Comparison, Outcome, Question, chance, compare, ensemble, write_leaderboard
from polymodal.train.jobs import answer_out, prediction_of, safe_name
from polymodal.train.progress import Log, Progress, write_trackers
from polymodal.train.run import Run


def conclude(
    plan: Plan,
    folder: Path,
    dataset: Dataset,
    processors: dict[str, Processor],
    progress: Progress,
    log: Log,
    notes: Sequence[str],
    started: float,
) -> Run:
    """Compare what is finished, keep the best and write every file of the run."""
    stage = progress.stage("comparing", 1)
    finished = _Finished(plan, folder / "work")
    questions = [_question(plan, t) for t in plan.targets]
    outcomes = finished.outcomes()
    fusions = [o for o in outcomes if o.level != "single"]
    if plan.config.ensemble and len(fusions) > 1 and len(questions) == 1:
        outcomes.append(ensemble(fusions, questions[0]))
    outcomes.append(chance(questions, plan.config.seeds))
    comparison = compare(outcomes, questions, budget_ms=plan.config.budget_ms, seed=plan.config.seed)
    write_leaderboard(comparison.rows, folder / "leaderboard.csv")
    stage.end()
    chosen = next(o for o in outcomes if o.name == comparison.chosen)
    predictor = finished.deploy(chosen, comparison.seed, processors)
    predictor.save(folder, {"config": plan.to_json()["config"], "sources": dict(plan.sources)})
    curves = finished.curves(comparison.chosen)
    write_trackers(plan.config.trackers, folder, curves)
    metrics = _metrics(plan, comparison, questions, chosen)
    write_json(folder / "metrics.json", metrics)
    run = Run(folder, predictor)
    test = plan.rows("test")
    scores = finished.test_scores(predictor, comparison.seed)
    _write_predictions(folder / "predictions_test.parquet", plan, predictor, scores, test)
    assessment = assess(predictor, dataset, plan.table, plan.truth, test, progress, groups=plan.groups())
    evaluation = _evaluation(plan, comparison, assessment, dataset, curves, notes, started)
    write_json(folder / "evaluation.json", evaluation)
    from polymodal.evaluate.report import write_report

    write_report(evaluation, folder / "report.html")
    log.write("finished", chosen=comparison.chosen, headline=comparison.headline, seconds=time.perf_counter() - started)
    progress.say("")
    for line in (comparison.headline, *comparison.sentences, f"Report: {folder / 'report.html'}"):
        progress.say(line)
    return run


class _Finished:
    """The jobs of a run that are done, read back from its working folder."""

    def __init__(self, plan: Plan, work: Path):
        self.plan, self.work = plan, work
        self.heads = Heads(plan.config.heads)
        self.encoders = {name: read_json(work / "encoders" / f"{safe_name(name)}-whole.json") for name in plan.streams}
        self.answers: dict[str, list[dict[str, Any]]] = {}
        for strategy in plan.strategies:
            found = [
                p for s in self._seeds() if (p := answer_out(work, strategy.name, s).with_suffix(".json")).exists()
            ]
            if found:
                self.answers[strategy.name] = [read_json(p) for p in found]
        full = max((len(r) for r in self.answers.values()), default=0)
        if not full:
            raise PolymodalError("No strategy finished, so there is nothing to compare; the log says why.")
        # Matched seeds: a strategy that lacks one is compared on none, rather than on fewer than the others.
        self.answers = {name: r for name, r in self.answers.items() if len(r) == full}
        if not any(self._strategy(name).family == "single" for name in self.answers):
            raise PolymodalError(
                "No single modality finished, so nothing can be said about fusing. Continue with --resume."
            )

    def _seeds(self) -> range:
        return range(self.plan.config.seed, self.plan.config.seed + self.plan.config.seeds)

    def _strategy(self, name: str) -> Strategy:
        return next(s for s in self.plan.strategies if s.name == name)

    def _trained(self, name: str, position: int) -> Strategy:
        """The strategy as its job left it: options that were cross-validated and sizes of trees included."""
        return Strategy.from_json(self.answers[name][position]["strategy"])

    def outcomes(self) -> list[Outcome]:
        """What every finished strategy predicted, in the plan's order."""
        found = []
        for name, results in self.answers.items():
            strategy = self._strategy(name)
            encoders = [self.encoders[s] for s in strategy.streams]
            scores = [load_file(self._path(name, r["seed"]).with_suffix(".scores.safetensors")) for r in results]
            found.append(
                Outcome(
                    name,
                    strategy.level,
                    strategy.streams,
                    self._predictions(scores, "valid"),
                    self._predictions(scores, "test"),
                    seconds=float(np.mean([r["seconds"] for r in results])),
                    predict_ms=sum(e["ms_per_row"] for e in encoders)
                    + float(np.median([r["ms_per_row"] for r in results])),
                    parameters=sum(e["parameters"] for e in encoders) + results[0]["parameters"],
                )
            )
        return found

    def _predictions(self, scores: Sequence[Mapping[str, np.ndarray]], split: str) -> dict[str, np.ndarray]:
        stacked = {}
        for target in self.plan.targets:
            head = self.heads.build(1, target)
            decoded = [head.decode(torch.from_numpy(s[f"{split}/{target.name}"])) for s in scores]
            stacked[target.name] = np.stack([prediction_of(target, d) for d in decoded])
        return stacked

    def _path(self, name: str, seed: int) -> Path:
        return answer_out(self.work, name, seed)

    def scores(self, name: str, seed: int) -> dict[str, np.ndarray]:
        """The scores that a strategy's job stored, `split/target` each."""
        return load_file(self._path(name, seed).with_suffix(".scores.safetensors"))

    def deploy(self, chosen: Outcome, position: int, processors: dict[str, Processor]) -> Predictor:
        """A predictor of the chosen strategy's seed, calibrated on validation rows."""
        plan, seed = self.plan, plan_seed(self.plan, position)
        weights = chosen.weights[position] if chosen.weights else {chosen.name: 1.0}
        members = tuple(Member(self._trained(name, position), w) for name, w in weights.items())
        streams = sorted({s for m in members for s in m.strategy.streams})
        encoders = {}
        for name in streams:
            encoders[name] = build_encoder(plan.encoders[name], processors[name].facts(), plan.config.dim)
            encoders[name].load_state_dict(
                load_tensors(self.work / "encoders" / f"{safe_name(name)}-whole.safetensors")
            )
        answer = assemble_answer(
            members, {n: e.dim for n, e in encoders.items()}, plan.targets, plan.config.dim, self.heads
        )
        parts = [answer] if len(members) == 1 else list(answer.members)  # type: ignore[arg-type]
        for part, member in zip(parts, members):
            part.load_state_dict(load_tensors(self._path(member.strategy.name, seed).with_suffix(".safetensors")))
        answer.eval()
        predictor = Predictor(
            plan.schema,
            plan.targets,
            {n: plan.processors[n] for n in streams},
            {n: processors[n] for n in streams},
            {n: plan.encoders[n] for n in streams},
            encoders,
            members,
            answer,
            dict(plan.config.heads),
            plan.config.dim,
            {},
            {},
        )
        stored = [self.scores(m.strategy.name, seed) for m in members]
        self._calibrate(predictor, stored)
        return predictor

    def _calibrate(self, predictor: Predictor, stored: Sequence[Mapping[str, np.ndarray]]) -> None:
        valid = self.plan.rows("valid")
        for target in self.plan.targets:
            truth = self.plan.truth[target.name][valid]
            scores = blended(predictor, target, [s[f"valid/{target.name}"] for s in stored])
            if target.kind == "number":
                predictor.radius[target.name] = conformal_radius(truth, scores[:, 0].numpy(), 0.9)
            else:
                predictor.temperature[target.name] = fit_temperature(scores.numpy(), truth)

    def test_scores(self, predictor: Predictor, position: int) -> dict[str, torch.Tensor]:
        """The deployed answer's calibrated scores of the test rows, a target each."""
        seed = plan_seed(self.plan, position)
        stored = [self.scores(m.strategy.name, seed) for m in predictor.members]
        return {
            t.name: blended(predictor, t, [s[f"test/{t.name}"] for s in stored])
            / predictor.temperature.get(t.name, 1.0)
            for t in self.plan.targets
        }

    def curves(self, chosen: str) -> dict[str, dict[str, list[float]]]:
        """Training curves: every whole encoder, then every strategy's first seed, the chosen one first."""
        keys = ("epoch", "loss", "valid")
        found = {f"encoder {n}": {k: e[k] for k in keys} for n, e in self.encoders.items() if e["epoch"]}
        order = sorted(self.answers, key=lambda name: name != chosen)
        return found | {
            name: {k: self.answers[name][0][k] for k in keys} for name in order if self.answers[name][0]["epoch"]
        }


def blended(predictor: Predictor, target: Target, scores: Sequence[np.ndarray]) -> torch.Tensor:
    """Scores of the deployed answer from its members' stored scores."""
    tensors = [torch.from_numpy(s) for s in scores]
    return tensors[0] if len(tensors) == 1 else predictor.answer.blend(target.name, tensors)  # type: ignore[operator]


def plan_seed(plan: Plan, position: int) -> int:
    """The seed at a position among those trained."""
    return plan.config.seed + position


def _question(plan: Plan, target: Target) -> Question:
    def truth(part: str) -> np.ndarray:
        encoded = plan.truth[target.name][plan.rows(part)]
        return target.restore(encoded) if target.kind == "number" else encoded

    groups = plan.groups()
    test = plan.rows("test")
    codes = np.unique([str(groups[i]) for i in test], return_inverse=True)[1] if groups else None
    return Question(target, truth("valid"), truth("test"), codes)


def _metrics(plan: Plan, c: Comparison, questions: Sequence[Question], chosen: Outcome) -> dict[str, Any]:
    row = {r["target"]: r for r in c.rows if r["strategy"] == c.chosen}
    found: dict[str, Any] = {}
    for q in questions:
        name = q.target.name
        each = [compute(q.target.kind, q.test, p) for p in chosen.test[name]]
        test: dict[str, Any] = {m: {"mean": float(np.mean([e[m] for e in each]))} for m in each[0]}
        test[q.metric.name] = {
            "mean": row[name]["test_mean"],
            "low": row[name]["test_low"],
            "high": row[name]["test_high"],
        }
        found[name] = {"primary": q.metric.name, "test": test}
    first = plan.targets[0].name
    return {
        "target": first,
        **found[first],
        "chosen": c.chosen,
        "best_single": c.single,
        "best_fusion": c.fusion,
        "headline": c.headline,
        "targets": found,
    }


def _write_predictions(
    path: Path, plan: Plan, predictor: Predictor, scores: Mapping[str, torch.Tensor], rows: np.ndarray
) -> None:
    """`predictions_test.parquet`: id, truth and the deployed answer's columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"id": [plan.table.ids[i] for i in rows]}
    for target in plan.targets:
        cells = plan.table.column(target.name)
        columns[f"{target.name}_truth"] = [None if cells[i] is None else cells[i] for i in rows]
        columns |= answer_columns(target, predictor.decode(target, scores[target.name]))
    pq.write_table(pa.table(columns), path)


def _evaluation(
    plan: Plan,
    c: Comparison,
    assessment: Assessment,
    dataset: Dataset,
    curves: Mapping[str, Any],
    notes: Sequence[str],
    started: float,
) -> dict[str, Any]:
    """`evaluation.json`: everything that the report draws."""
    target = plan.targets[0]
    against = {"against_single": c.against_single, "against_concat": c.against_concat}
    stages = {name: ("encoder" if name.startswith("encoder ") else "strategy") for name in curves}
    shown = [n for n in curves if stages[n] == "encoder"] + [
        n for n in (c.chosen, c.fusion) if n is not None and n in curves
    ]
    return {
        "target": target.name,
        "kind": target.kind,
        "classes": list(target.classes),
        "primary": primary(target.kind),
        "chosen": c.chosen,
        "greater_is_better": Question(target, np.zeros(0), np.zeros(0)).metric.greater_is_better,
        "verdict": {
            "headline": c.headline,
            "sentences": [*c.sentences, *notes],
            "helped": c.helped,
            **{
                key: {"name": name, "difference": p.difference, "low": p.low, "high": p.high, "p": p.p}
                for (key, p), name in zip(against.items(), (c.single, "concat"))
                if p is not None
            },
        },
        "data": {
            "rows": {part: len(plan.rows(part)) for part in ("train", "valid", "test")},
            "fields": [
                {
                    "name": n,
                    "kind": f.kind,
                    "why": f.why,
                    "missing": int((~dataset.present[n]).sum()),
                    "bad": sum(p.column == n for p in dataset.bad),
                }
                for n, f in plan.schema.fields.items()
            ],
            "warnings": list(plan.notes),
        },
        "leaderboard": [r for r in c.rows if r["target"] == target.name],
        **assessment.to_json(),
        "curves": [
            {
                "name": n.removeprefix("encoder "),
                "stage": stages[n],
                "epoch": curves[n]["epoch"],
                "train": curves[n]["loss"],
                "valid": curves[n]["valid"],
            }
            for n in dict.fromkeys(shown)
        ],
        "timings": [{"what": "whole run", "seconds": time.perf_counter() - started}],
        "environment": environment(),
    }


def environment() -> dict[str, str]:
    """What a figure depends on."""
    import platform

    import polymodal

    return {
        "polymodal": polymodal.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "machine": platform.machine(),
        "system": platform.system(),
    }
