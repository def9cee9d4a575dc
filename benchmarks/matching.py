"""A model that judges pairs by the tokens of both, beside the aligned cosine, on Flickr8k (Hodosh et al. 2013).

    python benchmarks/matching.py DATA --picture FOLDER --text FOLDER [--out FOLDER] [--photos 3000 500 500] [--json]

DATA holds train.csv, valid.csv and test.csv with columns image and caption_0 to caption_4. Both towers are frozen, and
encode every photo and every different caption once. Of at most 500 test queries a way: AUC of the pairs that belong
together against each query with its nearest stranger, which the cosine itself has taken for right (`hard`), and with
any stranger (`random`); recall@1 by cosine, and with the first hits put in order by the matching model. All with 95 %
intervals over photos. `--photos` takes the first so many of each part.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from tools import parser, show

import polymodal as pm
from polymodal.data.tables.source import Table, read_table

STREAMS = "image,caption_*"


def first(path: Path, count: int) -> Table:
    """The first so many rows."""
    table = read_table(path)
    return table.select(range(min(count, len(table))))


def interval(one: dict[str, float], size: float = 1.0, places: int = 3) -> str:
    """A figure with the ends of its interval, times `size`."""
    mean = one.get("mean", one.get("difference", float("nan")))
    return f"{size * mean:.{places}f} ({size * one['low']:.{places}f} to {size * one['high']:.{places}f})"


def rows(said: dict[str, Any]) -> list[dict[str, Any]]:
    """A line a way and figure."""
    table = []
    for way, told in said["ways"].items():
        for how, auc in told["auc"].items():
            line = {name: interval(auc[name]) for name in ("cosine", "matching", "gain")}
            table.append({"way": way, "figure": f"AUC, {how} negatives", **line})
        found = told["recall@1"]
        before, after, gain = (interval(found[name], 100, 1) for name in ("before", "after", "gain"))
        figure = f"R@1, first {told['candidates']} of {told['corpus']:,}"
        table.append({"way": way, "figure": figure, "cosine": before, "matching": after, "gain": gain})
    return table


def main() -> None:
    options = parser(__doc__)
    options.add_argument("data", type=Path)
    options.add_argument("--picture", type=Path, required=True)
    options.add_argument("--text", type=Path, required=True)
    options.add_argument("--out", type=Path, default=Path("runs/matching"))
    options.add_argument("--store", type=Path)
    options.add_argument("--photos", type=int, nargs=3, default=(3000, 500, 500))
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    torch.set_num_threads(1)
    train, valid, test = (first(given.data / f"{n}.csv", c) for n, c in zip(("train", "valid", "test"), given.photos))
    started = time.process_time()
    run = pm.align(
        train, STREAMS, valid=valid, test=test, out=given.out, resume=given.out.exists(), seed=given.seed,
        method={"name": "infonce", "head": "linear", "dropout": 0.5},
        encoders={
            "image": {"name": "pretrained_vision", "model": str(given.picture)},
            "caption": {"name": "pretrained_text", "model": str(given.text)},
        },
        matching=True, trackers="none", store=str(given.store or given.out.with_name(f"{given.out.name}-store")),
        quiet=True,
    )  # fmt: skip
    said = run.metrics["matching"]
    show(rows(said), given.json)
    spent = {timing["what"]: round(timing["seconds"], 1) for timing in run.metrics["timings"]}
    about = {"parameters": said["parameters"], "epochs": said["epochs"], "trust": said["trust"]}
    show([{**about, "cpu_seconds": round(time.process_time() - started), "wall": str(spent)}], given.json)


if __name__ == "__main__":
    main()
