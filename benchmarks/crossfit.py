"""What cross-fitting gives, and what cheaper ways of it give and cost.

    python benchmarks/crossfit.py avdigits|mosi [--rows 1000] [--seeds 3] [--ways WAY ...] [--json]

Fits the same training rows in every way and measures on the same test rows: `3` and `2` parts, `short` (three parts,
each trained for half as many epochs), `off`. Each seed draws other training rows, and starts all with it. Told are
the CPU seconds of the fit over those of `3`, the test score of the fusions (mean of concat, gated and attention) and of
the chosen one, and their difference to `3` with its standard error over seeds. Data lie in POLYMODAL_DATA or
../shared/data.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tools import parser, show

import polymodal as pm
from polymodal.experiment import encoder_job
from polymodal.train.loop import Epoch

DATA = Path(os.environ.get("POLYMODAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
WAYS = ("3", "2", "short", "off")
FUSIONS = ("concat", "gated", "attention")
HALF = 2
train_encoder = encoder_job.fit_encoder


def shorter(work: Any, model: Any, stream: str, rows: Any, valid: Any, options: Any, *rest: Any) -> Iterator[Epoch]:
    """`fit_encoder`, whose parts train for half as many epochs."""
    if not Path(rest[-1]).name.endswith("-whole.checkpoint"):
        options = replace(options, epochs=-(-options.epochs // HALF))
    yield from train_encoder(work, model, stream, rows, valid, options, *rest)


def tables(name: str, rows: int, seed: int) -> dict[str, dict[str, Any]]:
    """Splits of a set as `fit` takes them, with `rows` of its training rows and a quarter as many of validation."""
    columns: Mapping[str, Any]
    made = {}
    for split in ("train", "valid", "test"):
        table = pm.read_table(DATA / name / f"{split}.csv")
        some = np.arange(len(table))
        if split != "test":  # as many of both as a cut of these rows would give
            most = rows if split == "train" else max(100, rows // 4)
            some = np.sort(np.random.default_rng(seed).permutation(len(table))[:most])
        if name == "avdigits":
            folder = DATA / name
            columns = {c: [folder / table.column(c)[i] for i in some] for c in ("image", "audio")}
        else:
            places = [int(table.column("row")[i]) for i in some]
            columns = {
                c: list(np.load(DATA / name / "arrays" / f"{c}.npy")[places]) for c in ("text", "audio", "video")
            }
        made[split] = {**columns, "label": [str(table.column("label")[i]) for i in some]}
    return made


def fitted(name: str, way: str, rows: int, seed: int) -> dict[str, float]:
    """One fit on an empty store: its CPU seconds, and test scores."""
    splits = tables(name, rows, seed)
    encoder_job.fit_encoder = shorter if way == "short" else train_encoder
    parts = {"off": 0, "2": 2}.get(way, 3)
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        run = pm.fit(
            splits["train"], "label", valid=splits["valid"], test=splits["test"], out=Path(folder) / "run", quiet=True,
            store=str(Path(folder) / "store"), fusion=list(FUSIONS), seeds=1, seed=seed, crossfit=parts, workers=0,
            joint=False, ensemble=False, trackers="none",
        )  # fmt: skip
        took = time.process_time() - started
        board = {row["strategy"]: row["test_mean"] for row in run.leaderboard}
        chosen = run.metrics["chosen"]
    return {"cpu": took, "fusions": float(np.mean([board[f] for f in FUSIONS])), "chosen": board[chosen]}


def main() -> None:
    """Run the benchmark."""
    options = parser(__doc__)
    options.add_argument("data", choices=("avdigits", "mosi"))
    options.add_argument("--rows", type=int, default=1000)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS)
    given = options.parse_args()
    torch.set_num_threads(1)
    ways = ["3", *(w for w in given.ways if w != "3")]
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for seed in range(given.seeds):
        for way in ways:
            found[way].append(fitted(given.data, way, given.rows, seed))
            print(seed, way, found[way][-1], flush=True) if not given.json else None
    rows = []
    for way in ways:
        each = {key: np.array([one[key] for one in found[way]]) for key in ("cpu", "fusions", "chosen")}
        base = {key: np.array([one[key] for one in found["3"]]) for key in each}
        row = {"way": way, "cpu_s": float(each["cpu"].mean()), "of_3": float((each["cpu"] / base["cpu"]).mean())}
        for key in ("fusions", "chosen"):
            apart = each[key] - base[key]
            error = apart.std(ddof=1) / len(apart) ** 0.5 if len(apart) > 1 else float("nan")
            row |= {key: float(each[key].mean()), f"{key}_over_3": f"{apart.mean():+.4f} ± {error:.4f}"}
        rows.append(row)
    show(rows, given.json)


if __name__ == "__main__":
    main()
