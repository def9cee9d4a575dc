"""Does any subset of modalities give a sound answer, and do more modalities never hurt?

    python benchmarks/missing.py [avdigits] [--seeds 5] [--fusion concat] [--out runs/missing] [--markdown]

The same fusion is trained four ways at matched seeds: without modality dropout, with it (`--rate`), by the objective
`ranking`, and as a mixture of experts (`experts`, with dropout), where the catalogue has it. Each is asked for the test
rows with every non-empty subset of the streams: accuracy with its interval, and the paired difference of dropout from
none. Then every pair of a subset and a larger one around it is looked at: how often the score falls at all, by more
than its interval, and by more than chance over all pairs (Holm's correction). A run that was interrupted goes on where
it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from realdata import folder_of, known
from strategies import markdown
from tools import parser, show

import polymodal as pm
from polymodal.evaluation.robustness import Subsets, evaluate_subsets, subset_masks
from polymodal.evaluation.statistics import compare_draws, holm
from polymodal.experiment.finalize import question_of
from polymodal.experiment.fit import fit_plan
from polymodal.experiment.outcome import Question
from polymodal.experiment.plan import Plan
from polymodal.experiment.results import Results
from polymodal.experiment.work import Work
from polymodal.inference.predictor import Predictor
from polymodal.models import ANSWERS
from polymodal.train.features import Features, StreamFeatures

Row = dict[str, Any]


def ways(fusion: str, rate: float) -> dict[str, dict[str, Any]]:
    """How a model is trained: options of a fit, and the row of its leaderboard."""
    plain, dropped = {"modality_dropout": 0.0}, {"modality_dropout": rate}
    found = {
        "without": {"options": {"fusion": fusion, "answer_training": plain}, "row": fusion},
        "dropout": {"options": {"fusion": fusion, "answer_training": dropped}, "row": fusion},
        "ranking": {
            "options": {"fusion": fusion, "objective": "ranking", "answer_training": plain},
            "row": f"{fusion} + ranking",
        },
    }
    if "experts" in ANSWERS:
        found["experts"] = {"options": {"fusion": "experts", "answer_training": dropped}, "row": "experts"}
    return found


def subsets_of(name: str, way: Mapping[str, Any], out: Path, options: Any) -> tuple[Subsets, Question]:
    """Every subset of the streams scored by every seed's model."""
    sources = known(name).sources(folder_of(name))
    given = {"seeds": options.seeds, "ensemble": False, **way["options"]}
    if options.epochs:
        given |= {"training": {"epochs": options.epochs}}
    plan = pm.plan(sources.pop("data"), sources.pop("target"), **sources, **given)
    fit_plan(plan, out=out, resume=(out / "work" / "plan.json").exists(), quiet=options.quiet)
    finished, work = Results(plan, out / "work"), Work(out / "work")
    chosen = next(o for o in finished.outcomes() if o.name == way["row"])
    processors = pm.load(out).predictor.processors
    streams = _tokens(plan, work, finished, processors)
    names, question = tuple(sorted(plan.streams)), question_of(plan, plan.targets[0])
    models = [finished.deploy(chosen, position, processors) for position in range(len(finished.seeds))]

    def predict(keep: np.ndarray) -> np.ndarray:
        rows = len(question.test)
        some = {n: streams[n].keep(torch.full((rows,), bool(k))) for n, k in zip(names, keep)}
        return np.stack([_answer(model, some) for model in models])

    return evaluate_subsets(question.metric, question.test, names, predict, seed=0, groups=question.groups), question


def _tokens(plan: Plan, work: Work, finished: Results, processors: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens of the test rows, from the store."""
    whole = {}
    for name in plan.streams:
        part = np.zeros(len(work.dataset), np.int8)
        group = finished.encoders[name]["group"]
        whole[name] = StreamFeatures.plain(group, part, work.dataset.digests[name], work.dataset.present[name])
    return Features(work.store, whole).read(torch.from_numpy(plan.rows("test")))


def _answer(model: Predictor, streams: Mapping[str, Any]) -> np.ndarray:
    target = model.targets[0]
    return target.prediction(model.decode(target, model.score(streams)[target.name]))


def table(found: Mapping[str, Subsets]) -> list[Row]:
    """A row a subset, small ones first: each way's score with its interval, and dropout's gain over none."""
    names = next(iter(found.values())).names
    order = sorted(range(1, 2 ** len(names)), key=lambda j: (bin(j).count("1"), j))
    rows = []
    for j in order:
        row: Row = {"given": " ".join(subset_masks(names)[j])}
        for way, subsets in found.items():
            interval = subsets.draws[j].interval()
            row[way] = f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"
        gain = compare_draws(found["dropout"].draws[j], found["without"].draws[j])
        row["dropout_gain"] = f"{gain.difference:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})".replace("-", "−")
        rows.append(row)
    return rows


def violations(found: Mapping[str, Subsets]) -> list[Row]:
    """A row a way: for how many pairs of a subset and a larger one around it the score falls.

    `raw`: at all; `interval`: by more than its own 95 % interval; `Holm`: by more than chance over all pairs at once.
    """
    rows = []
    for way, subsets in found.items():
        size = 2 ** len(subsets.names)
        pairs = [(a, b) for a in range(1, size) for b in range(1, size) if a != b and a & b == a]
        sign = 1 if subsets.metric.greater_is_better else -1
        sides = [(subsets.draws[b], subsets.draws[a])[::sign] for a, b in pairs]
        gains = [compare_draws(*side) for side in sides]
        corrected = holm([g.p for g in gains])
        (a, b), worst = min(zip(pairs, gains), key=lambda pair: pair[1].difference)
        named = [" ".join(subset_masks(subsets.names)[j]) for j in (a, b)]
        rows.append(
            {
                "trained": way,
                "pairs": len(pairs),
                "raw": sum(g.difference < 0 for g in gains),
                "interval": sum(g.high < 0 for g in gains),
                "Holm": sum(g.difference < 0 and p < 0.05 for g, p in zip(gains, corrected)),
                "largest_fall": min(worst.difference, 0.0),
                "from": named[0] if worst.difference < 0 else "",
                "to": named[1] if worst.difference < 0 else "",
            }
        )
    return rows


def main() -> int:
    """Run the benchmark."""
    arguments = parser(__doc__)
    arguments.add_argument("data", nargs="?", default="avdigits")
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--fusion", default="concat")
    arguments.add_argument("--rate", type=float, default=0.3, help="of modality dropout")
    arguments.add_argument("--out", type=Path, default=Path("runs/missing"))
    arguments.add_argument("--epochs", type=int, default=0, help="of every training, for a quick look")
    arguments.add_argument("--markdown", action="store_true")
    arguments.add_argument("--quiet", action="store_true")
    options = arguments.parse_args()
    found = {}
    for way, given in ways(options.fusion, options.rate).items():
        found[way], _ = subsets_of(options.data, given, options.out / f"{options.data}-{way}", options)
    for rows in (table(found), violations(found)):
        if options.markdown:
            print(markdown(rows))
        else:
            show(rows, options.json)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
