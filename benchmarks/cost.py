"""What a comparison of all fusions costs over a single one, encoders included.

    python benchmarks/cost.py [--data FOLDER] [--rows N] [--epochs N] [--seeds 3] [--repeats 1] [--json]

Fits the same table with `--fusion all` and --seeds, and with one fusion (gated) and one seed; each on an empty store,
as commands of their own, wall and CPU seconds of all processes. What a fit always compares beside (each stream alone,
concatenation, the late mean) is in both. FOLDER holds train.csv, valid.csv and test.csv; by default the avdigits
rows in POLYMODAL_DATA or ../shared/data beside the repository, or else a planted table. The aim is a factor of at most
2.5 for the whole table.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools import Usage, measured, parser, polymodal, show

from polymodal.data import synthetic

DATA = Path(os.environ.get("POLYMODAL_DATA", Path(__file__).parents[2] / "shared" / "data")) / "avdigits"


def sources(folder: Path, data: Path | None, rows: int | None) -> list[str]:
    """The arguments that name the data: real files, cut to `rows` training rows, or a planted table."""
    if data is None:
        columns, target = synthetic.missing(rows or 4000)
        lines = [json.dumps(dict(zip(columns, cells))) for cells in zip(*columns.values())]
        (folder / "table.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return [str(folder / "table.jsonl"), "--target", target]
    train = data / "train.csv" if rows is None else _cut(data / "train.csv", rows, folder / "train.csv")
    return [str(train), "--valid", str(data / "valid.csv"), "--test", str(data / "test.csv"), "--target", "label"]


def _cut(path: Path, rows: int, to: Path) -> Path:
    """The first `rows` rows, cells that name files made absolute."""
    with open(path, encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))[: rows + 1]
    for row in table[1:]:
        row[:] = [str(path.parent / cell) if cell and (path.parent / cell).is_file() else cell for cell in row]
    with open(to, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(table)
    return to


def fit(folder: Path, named: list[str], fusion: str, seeds: int, epochs: int | None) -> tuple[Usage, Path]:
    """One fit on an empty store; what it cost, and its folder."""
    fewer = [f"--set=training={{epochs: {epochs}}}"] if epochs else []
    command = polymodal(
        "fit", *named, "--fusion", fusion, "--seeds", str(seeds), "--out", folder / "run", "--quiet", *fewer
    )
    return measured(command, POLYMODAL_STORE=str(folder / "store")), folder / "run"


def encoder_share(run: Path) -> float:
    """CPU seconds spent on training encoders and storing their tokens."""
    return sum(
        json.loads(p.read_text(encoding="utf-8"))["cpu_seconds"] for p in (run / "work" / "encoders").glob("*.json")
    )


def compare(named: list[str], seeds: int, epochs: int | None) -> list[dict[str, Any]]:
    """Both fits, and their ratio."""
    told: list[dict[str, Any]] = []
    spent: list[Usage] = []
    for what, fusion, count in (("one fusion, one seed", "gated", 1), (f"all, {seeds} seeds", "all", seeds)):
        with tempfile.TemporaryDirectory() as scratch:
            usage, run = fit(Path(scratch), named, fusion, count, epochs)
            encoders = encoder_share(run)
            answers = len(list((run / "work" / "answers").glob("*.json")))
        spent.append(usage)
        figures = {"wall_s": round(usage.wall, 1), "CPU_s": round(usage.cpu, 1), "of_it_encoders_s": round(encoders, 1)}
        told.append({"fit": what, **figures, "answers_trained": answers})
    one, every = spent
    ratio = {"wall_s": round(every.wall / one.wall, 2), "CPU_s": round(every.cpu / one.cpu, 2)}
    told.append({"fit": "ratio", **ratio, "of_it_encoders_s": "", "answers_trained": ""})
    return told


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, default=DATA if DATA.is_dir() else None)
    arguments.add_argument("--rows", type=int, help="training rows (default: all)")
    arguments.add_argument("--epochs", type=int, help="of every training (default: each part's own recipe)")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--repeats", type=int, default=1)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        named = sources(Path(folder), options.data, options.rows)
        told = [row for _ in range(options.repeats) for row in compare(named, options.seeds, options.epochs)]
    print(f"data: {' '.join(named)}", file=sys.stderr)
    show(told, options.json)


if __name__ == "__main__":
    main()
