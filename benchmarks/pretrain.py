"""What learning without labels is worth when few rows have one.

    python benchmarks/pretrain.py avdigits|icu|touch [--fractions 0.01 0.05 0.2 1] [--seeds 5] [--epochs 40]
        [--objective auto] [--encodings trained|auto] [--rows N] [--json]

Each seed pretrains on the training rows without their labels (`--rows` of them), then fits shares of the labels twice,
the encoders started from there and from scratch: the same rows, seeds and options. Validation rows are cut to the same
share, two a class at least, since their labels are labels too. Told are the test scores of the deployed strategy and of
the mean single modality, and the paired difference with its 95 % t-interval over seeds; how many encoders were kept
that started there; CPU seconds. `--encodings auto` lets features by formula compete. Data lie in POLYMODAL_DATA or
../shared/data.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from tools import parser, show

import polymodal as pm
from polymodal.core.files import read_json

DATA = Path(os.environ.get("POLYMODAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
STREAMS = {
    "avdigits": ("image", "audio"), "icu": ("vitals", "labs"), "touch": ("pressure", "electrodes", "force", "joints"),
}  # fmt: skip
METRICS = {"avdigits": "accuracy", "icu": "roc_auc", "touch": "accuracy"}
LEAST = 2  # labelled validation rows a class
WAYS = ("scratch", "start")


def tables(name: str) -> dict[str, dict[str, Any]]:
    """The splits, each the streams' cells and the labels."""
    made = {}
    for split in ("train", "valid", "test"):
        table = pm.read_table(DATA / name / f"{split}.csv")
        if name == "avdigits":
            columns = {c: np.array([DATA / name / cell for cell in table.column(c)]) for c in STREAMS[name]}
        else:
            rows = [int(row) for row in table.column("row")]
            columns = {c: np.load(DATA / name / "arrays" / f"{c}.npy")[rows] for c in STREAMS[name]}
        made[split] = {**columns, "label": np.array([str(one) for one in table.column("label")])}
    return made


def some(table: dict[str, Any], rows: np.ndarray) -> dict[str, list[Any]]:
    return {name: list(values[rows]) for name, values in table.items()}


def share(labels: np.ndarray, fraction: float, least: int, seed: int) -> np.ndarray:
    """A share of the rows of each class, `least` at least."""
    draw, chosen = np.random.default_rng(seed), []
    for label in np.unique(labels):
        rows = draw.permutation(np.flatnonzero(labels == label))
        chosen.append(rows[: max(least, round(fraction * len(rows)))])
    return np.sort(np.concatenate(chosen))


def kinds(name: str) -> dict[str, Any] | None:
    """The schema, where arrays could be taken for something else."""
    return None if name == "avdigits" else {"kinds": dict.fromkeys(STREAMS[name], "series")}


def fitted(
    name: str, splits: dict[str, Any], out: Path, seed: int, encodings: str, start: Path | None
) -> dict[str, Any]:
    """One fit: its test scores, how many encoders started from what was pretrained, and CPU seconds."""
    began = time.process_time()
    run = pm.fit(
        splits["train"], "label", valid=splits["valid"], test=splits["test"], out=out, quiet=True, seeds=1, seed=seed,
        schema=kinds(name), workers=0, joint=False, start=start and str(start), store=str(out.parent / "store"),
        fusion=["concat", "gated"], encodings=encodings, metric=METRICS[name], evidence="validation", ensemble=False,
        noise=False, trackers="none", pretrained=False,
    )  # fmt: skip
    took = time.process_time() - began
    board = {row["strategy"]: row["test_mean"] for row in run.leaderboard}
    alone = [value for strategy, value in board.items() if strategy.endswith(" alone")]
    settled = [read_json(out / "work" / "encoders" / f"{stream}.json")["rungs"] for stream in STREAMS[name]]
    kept = sum(rung["kept"] and "started from" in rung["encoder"] for rungs in settled for rung in rungs)
    return {"deployed": board[run.metrics["chosen"]], "alone": float(np.mean(alone)), "kept": kept, "cpu": took}


def interval(values: np.ndarray) -> str:
    """The mean and its 95 % t-interval."""
    if len(values) < 2:
        return f"{values.mean():+.3f}"
    reach = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.3f} ({values.mean() - reach:+.3f} to {values.mean() + reach:+.3f})"


def main() -> None:
    """Run the benchmark."""
    options = parser(__doc__)
    options.add_argument("data", choices=tuple(STREAMS))
    options.add_argument("--fractions", type=float, nargs="*", default=(0.01, 0.05, 0.2, 1.0))
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--epochs", type=int, default=40)
    options.add_argument("--objective", default="auto")
    options.add_argument("--encodings", choices=("trained", "auto"), default="trained")
    options.add_argument("--rows", type=int, default=0, help="training rows to pretrain on (0: all)")
    given = options.parse_args()
    torch.set_num_threads(1)
    whole = tables(given.data)
    found: dict[float, dict[str, list[dict[str, Any]]]] = {f: {way: [] for way in WAYS} for f in given.fractions}
    learned = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.seeds):
            place, began = Path(folder) / str(seed), time.process_time()
            bare = {part: {c: v for c, v in table.items() if c != "label"} for part, table in whole.items()}
            rows = np.random.default_rng(seed).permutation(len(whole["train"]["label"]))
            rows = np.sort(rows[: given.rows or len(rows)])
            every = {part: np.arange(len(table["label"])) for part, table in whole.items()}
            made = pm.pretrain(
                some(bare["train"], rows), valid=some(bare["valid"], every["valid"]),
                test=some(bare["test"], every["test"]), out=place / "pre", objective=given.objective, seed=seed,
                schema=kinds(given.data), training={"epochs": given.epochs}, store=str(place / "store"),
                trackers="none", quiet=True,
            )  # fmt: skip
            learned.append({"seed": seed, "cpu": time.process_time() - began, **made.metrics["valid"]})
            for fraction in given.fractions:
                chosen = {p: share(whole[p]["label"], fraction, LEAST, seed) for p in ("train", "valid")}
                splits = {p: some(whole[p], r) for p, r in chosen.items()}
                splits["test"] = some(whole["test"], every["test"])
                for way in WAYS:
                    out = place / f"{fraction}-{way}"
                    start = place / "pre" if way == "start" else None
                    one = fitted(given.data, splits, out, seed, given.encodings, start)
                    found[fraction][way].append({**one, "rows": len(chosen["train"])})
                    if not given.json:
                        print(seed, fraction, way, one, flush=True)
    show(learned, given.json)
    rows_told = []
    for fraction, ways in found.items():
        each = {w: {k: np.array([one[k] for one in many], float) for k in many[0]} for w, many in ways.items()}
        row: dict[str, Any] = {"labels": fraction, "rows": int(each["start"]["rows"].mean())}
        for key in ("deployed", "alone"):
            row |= {f"{key}_{way}": float(each[way][key].mean()) for way in WAYS}
            row[f"{key}_gain"] = interval(each["start"][key] - each["scratch"][key])
        row |= {"encoders_started": float(each["start"]["kept"].mean())}
        row |= {f"cpu_{way}": float(each[way]["cpu"].mean()) for way in WAYS}
        rows_told.append(row)
    show(rows_told, given.json)


if __name__ == "__main__":
    main()
