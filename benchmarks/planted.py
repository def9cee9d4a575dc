"""Does a fit with the default recipe find what was planted in the data?

    python benchmarks/planted.py [--rows 2000] [--seeds 3] [--draw 0] [--json]

`product`: the target is the inner product of two streams' hidden directions, or its sign; each stream alone is
independent of it. Late fusion must stay at chance, tensor fusion be near perfect, and the streams show synergy.
`noise`: one stream tells the label in nine rows of ten, another has nothing to do with it; its Shapley worth must have
an interval that contains zero. `copy`: the second stream is the first again; the two must show redundancy.
Exits with 1 when one of them fails.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from tools import parser, show

import polymodal as pm
from polymodal.core.files import read_json
from polymodal.data import synthetic

LATE = ("late_mean", "late_weighted", "product", "stacking")
ALONE = ("left alone", "right alone")
MULTIPLY = ("tensor", "lowrank", "mlp", "attention")
FIGURES = {"classes": ("accuracy", 0.5, 0.06, 0.97), "number": ("R²", 0.0, 0.06, 0.9)}  # chance, its breadth, near 1
Row = dict[str, Any]


def product(folder: Path, rows: int, seeds: int, draw: int, kind: str = "classes") -> list[Row]:
    """Late fusion at chance, tensor fusion near perfect, synergy."""
    late = [name for name in LATE if kind == "classes" or name != "product"]
    run = _fit(synthetic.product(rows, kind=kind, seed=draw), folder, fusion=[*MULTIPLY, *late], seeds=seeds)
    found = {r["strategy"]: r for r in run.leaderboard}
    metric, chance, breadth, near = FIGURES[kind]
    told = []
    for name in (*ALONE, *late):
        row = _row(f"product, {kind}", f"{metric} of {name}", _interval(found[name]), f"{chance:g}")
        told.append({**row, "found": abs(float(found[name]["test_mean"]) - chance) < breadth})
    for name in (*MULTIPLY, "concat"):
        wanted = name == "tensor"
        row = _row(f"product, {kind}", f"{metric} of {name}", _interval(found[name]), "near 1" if wanted else "any")
        told.append({**row, "found": not wanted or float(found[name]["test_mean"]) > near})
    told.append(_interaction(f"product, {kind}", run, "synergy"))
    return told


def numbers(folder: Path, rows: int, seeds: int, draw: int) -> list[Row]:
    """The same where the product itself is the target."""
    return product(folder, rows, seeds, draw, "number")


def noise(folder: Path, rows: int, seeds: int, draw: int) -> list[Row]:
    """The worth of noise contains zero; that of the signal does not."""
    run = _fit(synthetic.noise_stream(rows, seed=draw), folder, seeds=seeds)
    worth = {s["name"]: s for s in _evaluation(run)["worth"]["streams"]}
    none, some = worth["noise"], worth["signal"]
    return [
        {**_row("noise", "worth of noise", _ends(none), "contains 0"), "found": none["low"] <= 0 <= none["high"]},
        {**_row("noise", "worth of signal", _ends(some), "above 0"), "found": some["low"] > 0},
    ]


def copy(folder: Path, rows: int, seeds: int, draw: int) -> list[Row]:
    """Two equal streams are redundant."""
    return [_interaction("copy", _fit(synthetic.copied_stream(rows, seed=draw), folder, seeds=seeds), "redundancy")]


def _fit(planted: synthetic.Planted, folder: Path, **options: Any) -> pm.Run:
    columns, target = planted
    return pm.fit(columns, target, out=folder / "run", store=str(folder / "store"), quiet=True, **options)


def _row(data: str, what: str, value: str, expected: str) -> Row:
    return {"data": data, "what": what, "value": value, "expected": expected}


def _interaction(data: str, run: pm.Run, expected: str) -> Row:
    found = _evaluation(run)["worth"]["interactions"][0]
    row = _row(data, f"interaction ({found['kind']}) in {run.metrics['chosen']}", _ends(found), expected)
    return {**row, "found": found["kind"] == expected}


def _evaluation(run: pm.Run) -> dict[str, Any]:
    return read_json(run.folder / "evaluation.json")


def _interval(row: dict[str, str]) -> str:
    return _ends({"mean": float(row["test_mean"]), "low": float(row["test_low"]), "high": float(row["test_high"])})


def _ends(found: dict[str, float]) -> str:
    return f"{found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def main() -> int:
    """Run the benchmark; 1 when something planted is not found."""
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=2000)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--draw", type=int, default=0, help="the tables' own seed")
    options = arguments.parse_args()
    told: list[Row] = []
    for check in (product, numbers, noise, copy):
        with tempfile.TemporaryDirectory() as folder:
            told += check(Path(folder), options.rows, options.seeds, options.draw)
    show(told, options.json)
    return 0 if all(row["found"] for row in told) else 1


if __name__ == "__main__":
    sys.exit(main())
