"""Which strategies, and which objectives, can be told apart on real data?

    python benchmarks/strategies.py avdigits mosi houses [--seeds 5] [--out runs/strategies] [--finetune EPOCHS]
                                    [--markdown]

Every strategy is fitted with every seed, then every objective on `concat` and on the best other joint fusion by
validation. Printed for each data set: score on validation and test (mean of seeds, 95 % interval over rows and seeds),
the paired difference from the best single modality, seconds a fit, and, by paired tests with Holm's correction, which
can be told from the strategy that validation chooses. The objectives' table compares each with the same fusion and
adapters trained without. `--finetune` trains encoders and fusion together as well, with each objective. A run that was
interrupted goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from realdata import folder_of, known
from tools import parser, show

import polymodal as pm
from polymodal.evaluation.statistics import Draws, compare_draws, holm, resample
from polymodal.experiment.finalize import question_of
from polymodal.experiment.fit import fit_plan
from polymodal.experiment.outcome import Outcome, Question, chance, score_of
from polymodal.experiment.results import Results

Row = dict[str, Any]
TRIVIAL = ("chance", "single")


def fitted(name: str, out: Path, options: Any) -> tuple[list[Outcome], Question]:
    """Every strategy's predictions, from a fit or from what one left."""
    chosen: dict[str, Any] = {"fusion": options.fusion or "all", "seeds": options.seeds}
    if options.objectives:
        chosen |= {"objectives": "all", "objectives_on": ["concat", "best"]}
    if options.finetune:
        chosen |= {"finetune": True, "finetune_training": {"epochs": options.finetune}}
    if options.epochs:
        chosen |= {"training": {"epochs": options.epochs}}
    sources = known(name).sources(folder_of(name))
    plan = pm.plan(sources.pop("data"), sources.pop("target"), **sources, **chosen)
    folder = out / name
    fit_plan(plan, out=folder, resume=(folder / "work" / "plan.json").exists(), quiet=options.quiet)
    question = question_of(plan, plan.targets[0])
    outcomes = Results(plan, folder / "work").outcomes()
    return [*outcomes, chance([question], outcomes[0].seeds)], question


def compared(outcomes: Sequence[Outcome], q: Question) -> list[Row]:
    """A row a strategy, best validation first: its score, and paired tests against the best single and the chosen."""
    draws = {o.name: _draws(o, q) for o in outcomes}
    ranked = sorted(outcomes, key=lambda o: -score_of(o, [q]))
    single = next(o for o in ranked if o.level == "single")
    best = next(o for o in ranked if o.level not in TRIVIAL)
    against_single = {o.name: _paired(draws, o, single, q) for o in ranked}
    others = [o for o in ranked if o is not best]
    tests = [_paired(draws, best, o, q) for o in others]
    corrected = dict(zip((o.name for o in others), holm([t.p for t in tests])))
    rows = []
    for o in ranked:
        interval, gain = draws[o.name].interval(), against_single[o.name]
        rows.append(
            {
                "strategy": o.name,
                "valid": abs(score_of(o, [q])) if not q.metric.greater_is_better else score_of(o, [q]),
                "test": f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})",
                "against_" + single.name.replace(" ", "_"): "" if o is single else _signed(gain),
                "seconds": round(o.seconds, 2),
                "p_Holm_against_" + best.name.replace(" ", "_"): "" if o is best else f"{corrected[o.name]:.3g}",
                "told_apart": "" if o is best else "yes" if corrected[o.name] < 0.05 else "no",
            }
        )
    return rows


def balanced(outcomes: Sequence[Outcome], q: Question) -> list[Row]:
    """A row an objective: the paired difference from the same fusion with adapters, trained without one."""
    named = {o.name: o for o in outcomes}
    draws = {name: _draws(o, q) for name, o in named.items() if o.strategy.adapters}
    without = {name: replace(named[name].strategy, objective=None).name for name in draws}
    pairs = [(name, plain) for name, plain in without.items() if name != plain and plain in named]
    tests = [_paired(draws, named[a], named[b], q) for a, b in pairs]
    rows = []
    for (name, plain), test, p in zip(pairs, tests, holm([t.p for t in tests]) if tests else ()):
        rows.append(
            {
                "trained_by": name,
                "valid": score_of(named[name], [q]),
                "valid_without": score_of(named[plain], [q]),
                "test": draws[name].mean,
                "test_without": draws[plain].mean,
                "difference": _signed(test),
                "p_Holm": f"{p:.3g}",
                "told_apart": "yes" if p < 0.05 else "no",
                "seconds": round(named[name].seconds, 2),
            }
        )
    return rows


def _draws(outcome: Outcome, q: Question) -> Draws:
    return resample(q.metric, q.test, outcome.test[q.target.name], seed=0, groups=q.groups)


def _paired(draws: dict[str, Draws], a: Outcome, b: Outcome, q: Question) -> Any:
    """By how much `a` is better than `b`; above 0 is better whatever the metric."""
    sides = (draws[a.name], draws[b.name])
    return compare_draws(*(sides if q.metric.greater_is_better else sides[::-1]))


def _signed(gap: Any) -> str:
    return f"{gap.difference:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})".replace("-", "−")


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table of a documentation page."""
    head = [name.replace("_", " ") for name in rows[0]]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        lines.append("| " + " | ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    return "\n".join(lines)


def summary(name: str, rows: Sequence[Row], q: Question) -> str:
    """How many strategies can be told from the chosen one at all."""
    apart = [r for r in rows if r["told_apart"] == "yes"]
    test_rows = int(np.isfinite(np.asarray(q.test, dtype=float).reshape(len(q.test), -1)).all(1).sum())
    return (
        f"{name}: {q.metric.name} on {test_rows} test rows. {len(apart)} of {len(rows) - 1} others can be told from "
        f"the chosen strategy after Holm's correction; {len(rows) - 1 - len(apart)} cannot."
    )


def main() -> int:
    """Run the benchmark."""
    arguments = parser(__doc__)
    arguments.add_argument("data", nargs="+", help="avdigits, mosi, houses: names or folders")
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--out", type=Path, default=Path("runs/strategies"))
    arguments.add_argument("--fusion", nargs="+", help="only these; the baselines are always there")
    arguments.add_argument("--no-objectives", dest="objectives", action="store_false")
    arguments.add_argument("--finetune", type=int, default=0, metavar="EPOCHS", help="end to end as well")
    arguments.add_argument("--epochs", type=int, default=0, help="of every training, for a quick look")
    arguments.add_argument("--markdown", action="store_true")
    arguments.add_argument("--quiet", action="store_true")
    options = arguments.parse_args()
    for name in options.data:
        outcomes, question = fitted(name, options.out, options)
        plain = [o for o in outcomes if not o.strategy.adapters and not o.strategy.end_to_end]
        tables = [compared(plain, question), balanced(outcomes, question)]
        print(summary(name, tables[0], question))
        for line in known(name).published:
            print(f"Published: {line}.")
        for rows in filter(None, tables):
            print()
            if options.markdown:
                print(markdown(rows))
            else:
                show(rows, options.json)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
