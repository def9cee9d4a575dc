"""Encoder work saved at equal accuracy: answers that choose streams row by row against fixed subsets of streams.

    python benchmarks/dynamic.py [avdigits] [--seeds 5] [--out runs/dynamic] [--json]

The encoders are trained once (an interrupted run is continued). Then, with every seed, on their stored tokens: concat
on every subset of the streams; `dynamic` at several tolerances and by gain; `policy` at several prices, row by row and
one choice for all; `bandit` before any feedback. A row of the table says how right the test rows are, the difference to
concat on all streams (paired over rows and seeds, 95 % interval), and what share of the work on streams was saved
(decoding, processing and encoding, at the cost that stage 1 measured). `best` marks what nothing else beats in both.
The chart is OUT/pareto.svg. Last, `predict` of the run's own dynamic answer is timed on the test file with its
threshold and without: what is really not done.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from realdata import folder_of, known
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors
from tools import parser, show

import polymodal as pm
from polymodal.evaluation.statistics import paired
from polymodal.experiment.answer_job import AnswerJob
from polymodal.experiment.work import TEST, Work, answer_out, open_features, open_work
from polymodal.models.adaptive import Adaptive
from polymodal.models.build import build_answer
from polymodal.models.strategy import Strategy
from polymodal.runs.events import Failed
from polymodal.runs.pool import Pool

CHOOSING: tuple[dict[str, Any], ...] = (
    *({"name": "dynamic", "tolerance": t} for t in (0.0, 0.01, 0.02)),
    {"name": "dynamic", "tolerance": 0.01, "confidence": 0.5},
    {"name": "dynamic", "order": "gain", "tolerance": 0.01},
    *({"name": "policy", "price": p} for p in (0.01, 0.03, 0.1)),
    *({"name": "policy", "per": "data", "price": p} for p in (0.01, 0.03, 0.1)),
    {"name": "bandit", "price": 0.03},
)


def strategies(streams: Sequence[str]) -> list[Strategy]:
    """Every subset with plain concatenation, all streams first, then what chooses."""
    subsets = [s for size in range(len(streams), 0, -1) for s in combinations(streams, size)]
    families = ["fusion" if len(s) > 1 else "single" for s in subsets]
    fixed = [Strategy(f, "concat", s, "concat of " + "+".join(s)) for f, s in zip(families, subsets)]
    return fixed + [Strategy("answer", spec, tuple(streams)) for spec in CHOOSING]


def train(folder: Path, todo: Sequence[Strategy], seeds: int, workers: int | None) -> None:
    """Train every strategy with every seed on the run's stored tokens; what is there already is not repeated."""
    jobs = [
        AnswerJob(
            strategy=s, seed=seed, training={},
            work=str((folder / "work").resolve()), out=str(_out(folder, s, seed)),
        )
        for seed in range(seeds) for s in todo
    ]  # fmt: skip
    with Pool(workers, runs="polymodal.experiment.jobs:guarded") as pool:
        for job, event in pool.run(jobs):
            if isinstance(event, Failed):
                raise SystemExit(f"{job.name} failed: {event.reason}\n{event.trace}")


def _out(folder: Path, strategy: Strategy, seed: int) -> Path:
    return answer_out(folder.resolve() / "benchmark", strategy, seed)


def measured(work: Work, folder: Path, strategy: Strategy, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions of the test rows, and what each row spent on streams, in ms."""
    out, rows = _out(folder, strategy, seed), work.rows(TEST)
    features = open_features(str(work.folder), strategy.streams, True)
    answer = build_answer(strategy, features.widths, work.targets, work.dim, work.heads)
    answer.load_state_dict(load_tensors(out.with_suffix(".safetensors")))
    streams = features.read(torch.from_numpy(rows))
    cost = work.cost(strategy.streams)
    if isinstance(answer, Adaptive):
        used = dict(zip(answer.names, answer.eval().used(streams).double().numpy().T))
    else:
        used = {name: tokens.present.double().numpy() for name, tokens in streams.items()}
    target = work.targets[0]
    scores = load_file(out.with_suffix(".scores.safetensors"))[f"test/{target.name}"]
    said = target.prediction(work.heads.build(1, target).decode(torch.from_numpy(scores)))
    return said, sum(used[name] * cost[name] for name in strategy.streams)


def table(work: Work, folder: Path, todo: Sequence[Strategy], seeds: int) -> list[dict[str, Any]]:
    """A row a strategy; the first is what the others are compared with."""
    target = work.targets[0]
    metric, truth = work.metrics[target.name], work.truth(target, work.rows(TEST))
    found: list[dict[str, Any]] = []
    first: tuple[np.ndarray, np.ndarray] | None = None
    for strategy in todo:
        each = [measured(work, folder, strategy, seed) for seed in range(seeds)]
        said, spent = (np.stack(part) for part in zip(*each))
        first = first or (said, spent)
        against = paired(metric, truth, said, first[0], seed=0)
        saved, off = _saved(spent, float(first[1].mean()))
        found.append(
            {
                "strategy": strategy.name, metric.name: float(np.mean([metric(truth, p) for p in said])),
                "difference": against.difference, "low": against.low, "high": against.high,
                "work_saved": saved, "saved_low": saved - off, "saved_high": saved + off, "ms_a_row": spent.mean(),
            }
        )  # fmt: skip
    for row in found:
        row["best"] = not any(_beats(other, row, metric.name, metric.greater_is_better) for other in found)
    return found


def _saved(spent: np.ndarray, whole: float) -> tuple[float, float]:
    """The share of the work saved, [S, N] ms against `whole`, and half its 95 % interval over rows and seeds."""
    rows, seeds = spent.mean(0), spent.mean(1)
    variance = rows.var() / len(rows) + (seeds.var(ddof=1) / len(seeds) if len(seeds) > 1 else 0.0)
    return float(1 - spent.mean() / whole), float(1.96 * np.sqrt(variance) / whole)


def _beats(a: Mapping[str, Any], b: Mapping[str, Any], metric: str, greater: bool) -> bool:
    better = (a[metric] - b[metric]) * (1 if greater else -1)
    less = b["ms_a_row"] - a["ms_a_row"]
    return better >= 0 and less >= 0 and (better > 0 or less > 0)


def chart(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Rightness over work: fixed subsets as circles, each kind of choice with a mark of its own."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    metric = list(rows[0])[1]
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for family, mark in (("concat", "o"), ("dynamic", "s"), ("policy", "^"), ("bandit", "D")):
        mine = [r for r in rows if r["strategy"].startswith(family)]
        words = {"concat": "fixed subsets"}.get(family, family)
        axes.plot([100 * (1 - r["work_saved"]) for r in mine], [r[metric] for r in mine], mark, label=words, alpha=0.8)
    edge = sorted((100 * (1 - r["work_saved"]), r[metric]) for r in rows if r["best"])
    axes.plot(*zip(*edge), color="grey", linewidth=0.8, zorder=0)
    axes.set(xlabel="work on streams, % of all", ylabel=f"{metric} on test rows")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def really_skipped(run: pm.Run, test: Path) -> list[dict[str, Any]]:
    """Wall time of `predict` on the test file, with the run's threshold and without, the better of two each."""
    predictor, found = run.predictor, []
    threshold = predictor.answer.threshold.clone()  # type: ignore[operator,union-attr]
    for words, value in (("as settled", threshold), ("never stops", torch.full_like(threshold, -1.0))):
        predictor.answer.threshold.copy_(value)  # type: ignore[operator,union-attr]
        took = []
        for _ in range(2):
            started = time.perf_counter()
            rows = len(run.predict(test)[run.metrics["target"]])
            took.append(time.perf_counter() - started)
        found.append({"predict": words, "ms_a_row": 1000 * min(took) / rows, **predictor.work})
    return found


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("data", nargs="?", default="avdigits", help="a known data set, or its folder")
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--out", type=Path, default=Path("runs/dynamic"))
    arguments.add_argument("--workers", type=int, default=None)
    arguments.add_argument("--encoder-epochs", type=int, default=None, help="fewer than their own, for a trial")
    given = arguments.parse_args()
    folder = folder_of(given.data)
    sources = known(given.data).sources(folder)
    options = {"encoder_training": {"epochs": given.encoder_epochs}} if given.encoder_epochs else {}
    plan = pm.plan(
        **sources, **options, fusion=["dynamic"], deploy="dynamic", seeds=1, ensemble=False, workers=given.workers
    )
    if not (given.out / "metrics.json").exists():
        from polymodal.experiment.fit import fit_plan

        fit_plan(plan, out=given.out, resume=(given.out / "work").exists(), quiet=given.json)
    work = open_work(str((given.out / "work").resolve()))
    todo = strategies(plan.streams)
    train(given.out, todo, given.seeds, given.workers)
    rows = table(work, given.out, todo, given.seeds)
    chart(rows, given.out / "pareto.svg")
    show([*rows], given.json)
    print()
    show(really_skipped(pm.load(given.out), sources["test"]), given.json)
    if not given.json:
        cost = ", ".join(f"{n} {ms:.2f}" for n, ms in work.cost(plan.streams).items())
        print(f"\nms a row and stream: {cost}. Chart: {given.out / 'pareto.svg'}")


if __name__ == "__main__":
    main()
