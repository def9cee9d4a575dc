"""What spoken and written digits cost a default fit, against another tree, and how cost grows with rows.

    python benchmarks/avdigits_cost.py [--before TREE/src] [--pairs 3] [--rows N ...] [--json]

Fits image and audio of the avdigits set in POLYMODAL_DATA or ../shared/data, all options as they are, from the command
line and on an empty store. With --before, each pair fits with this tree and the other, first or last in turns; told are
accuracy on test of the chosen strategy and of what was deployed, CPU seconds of all processes, the most memory held at
a time, and the ratios with their quartiles. With --rows, this tree fits so many training rows each (more than there
are: rows repeated), and the exponent by which CPU seconds grow from the first to the last is told.
"""

from __future__ import annotations

import csv
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from tools import Usage, measured, parser, polymodal, quartiles, show

DATA = Path(os.environ.get("POLYMODAL_DATA", Path(__file__).parents[2] / "shared" / "data")) / "avdigits"
HERE = Path(__file__).resolve().parents[1] / "src"


def split(name: str, to: Path, rows: int | None = None) -> Path:
    """A split with image, audio and label alone; `rows` of it, from the start again where there are fewer."""
    with open(DATA / f"{name}.csv", encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    with open(to / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["image", "audio", "label"])
        for i in range(len(read) if rows is None else rows):
            one = read[i % len(read)]
            lines.writerow([DATA / one["image"], DATA / one["audio"], one["label"]])
    return to / f"{name}.csv"


def fitted(source: Path, rows: int | None = None) -> tuple[Usage, float]:
    """One fit by the tree whose src folder is `source`: what it cost, and the chosen strategy's accuracy on test."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        train, valid, test = split("train", out, rows), split("valid", out), split("test", out)
        command = polymodal(
            "fit", train, "--valid", valid, "--test", test, "--target", "label", "--out", out / "run", "--quiet"
        )
        usage = measured(command, POLYMODAL_STORE=str(out / "store"), PYTHONPATH=str(source))
        metrics = json.loads((out / "run" / "metrics.json").read_text(encoding="utf-8"))
        return usage, float(metrics["test"]["accuracy"]["mean"])


def told(tree: str, rows: Any, usage: Usage, accuracy: float) -> dict[str, Any]:
    return {
        "tree": tree, "rows": rows, "accuracy": round(accuracy, 4), "CPU_s": round(usage.cpu, 1),
        "wall_s": round(usage.wall, 1), "peak_MB": round(usage.peak_mb),
    }  # fmt: skip


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--before", type=Path)
    options.add_argument("--pairs", type=int, default=3)
    options.add_argument("--rows", type=int, nargs="+", default=[])
    given = options.parse_args()
    found: list[dict[str, Any]] = []
    trees = {"here": HERE} | ({"before": given.before.resolve()} if given.before else {})
    pairs: list[dict[str, Usage]] = []
    for i in range(0 if given.rows and not given.before else given.pairs):
        pair = {}
        for name in list(trees)[:: 1 if i % 2 else -1]:
            pair[name], accuracy = fitted(trees[name])
            found.append(told(name, "all", pair[name], accuracy))
        pairs.append(pair)
    if given.before:
        ratios = {
            "CPU_s": quartiles([p["here"].cpu / p["before"].cpu for p in pairs]),
            "peak_MB": quartiles([p["here"].peak_mb / p["before"].peak_mb for p in pairs]),
        }
        found.append(dict.fromkeys(found[0], "") | {"tree": "here / before"} | ratios)
    grown = [(rows, *fitted(HERE, rows)) for rows in given.rows]
    found += [told("here", rows, usage, accuracy) for rows, usage, accuracy in grown]
    if len(grown) > 1:
        (few, less, _), (many, more, _) = grown[0], grown[-1]
        power = math.log(more.cpu / less.cpu) / math.log(many / few)
        found.append(dict.fromkeys(found[0], "") | {"tree": "exponent", "CPU_s": round(power, 3)})
    show(found, given.json)


if __name__ == "__main__":
    main()
