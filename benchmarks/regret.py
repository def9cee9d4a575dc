"""What a choice by few rows costs: by validation rows, by out-of-fold answers, and by these with refitting.

`python benchmarks/regret.py [NAME …] [--rows 200] [--draws 2]`: subsamples of training rows of every set, each fitted
twice: strategies chosen by the 15 % of rows kept for validation (`evidence: validation`), and by out-of-fold answers to
all rows, which the shipped models then learn from (`evidence: folds`). A line a subsample: what the test rows, which
nobody chose by, say of

- validation: what validation rows chose;
- folds: what out-of-fold answers chose, of the same models, which learned from the same rows;
- refit: the same choice as it ships, having learned from the validation rows too;
- top: of the refitted ones the one with the best out-of-fold score, however small its lead;
- ensemble: the greedy blend of the refitted ones;
- best: the best of the models of the first two by the test rows themselves, which no choice can know.

Then the regret of each choice, best less chosen, in the unit of the metric (below 0: better than the best of those that
learned from fewer rows), and its mean with a 95 % interval by Student's t over the subsamples. Encodings are those by
formula, so that the table costs minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path

import numpy as np
from by_hand import SETS
from scipy import stats

import polymodal as pm

CHOSEN = ("avdigits", "mosi", "houses", "skin", "icu", "gold", "voice_emotion", "airline", "touch")
MOST = 1000  # test rows
WAYS = ("validation", "folds", "refit", "top", "ensemble")


def leaderboard(folder: Path) -> dict[str, tuple[float, float]]:
    """Validation and test score by strategy, without the constant answer."""
    with open(folder / "leaderboard.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["strategy"] != "chance"]
    return {row["strategy"]: (float(row["valid"]), float(row["test_mean"])) for row in rows}


def scores(name: str, rows: int, draw: int) -> dict[str, float]:
    """Test scores of every choice and of the best, on one subsample."""
    known, rng = SETS[name], np.random.default_rng(draw)
    with tempfile.TemporaryDirectory() as scratch:
        folder = known.folder(name, Path(scratch))
        train, test = (pm.read_table(folder / f"{part}.csv") for part in ("train", "test"))
        train = train.select(np.sort(rng.permutation(len(train))[:rows]))
        test = test.select(np.sort(rng.permutation(len(test))[:MOST]))
        schema = {"fields": known.fields, "target": known.target, **({"group": known.group} if known.group else {})}
        boards, picks = {}, {}
        for evidence in ("validation", "folds"):
            run = pm.fit(
                train, test=test, schema=schema, metric=known.metric, seed=draw, evidence=evidence, encodings="fitted",
                joint=False, quiet=True, store=Path(scratch) / "store", out=Path(scratch) / evidence,
            )  # fmt: skip
            boards[evidence] = leaderboard(run.folder)
            picks[evidence] = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))["chosen"]
    menu, after = boards["validation"], {n: v for n, v in boards["folds"].items() if n != "ensemble"}
    return {
        "validation": menu[picks["validation"]][1],
        "folds": menu[picks["folds"]][1],
        "refit": boards["folds"][picks["folds"]][1],
        "top": max(after.values())[1],
        "ensemble": boards["folds"]["ensemble"][1],
        "best": max(test for _, test in menu.values()),
    }


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("names", nargs="*", default=list(CHOSEN), help=", ".join(SETS))
    words.add_argument("--rows", type=int, default=200)
    words.add_argument("--draws", type=int, default=2)
    given = words.parse_args()
    regrets = []
    print(f"{'set':15} {'metric':18} " + " ".join(f"{way:>10}" for way in (*WAYS, "best")))
    for draw in range(given.draws):
        for name in given.names:
            found = scores(name, given.rows, draw)
            regrets.append([found["best"] - found[way] for way in WAYS])
            print(f"{name:15} {SETS[name].metric:18} " + " ".join(f"{found[way]:10.3f}" for way in found), flush=True)
    mean = np.mean(regrets, axis=0)
    half = stats.sem(regrets, axis=0) * stats.t.ppf(0.975, len(regrets) - 1)
    for way, middle, width in zip(WAYS, mean, half):
        print(f"regret of {way}: {middle:.4f} ± {width:.4f} over {len(regrets)} subsamples")


if __name__ == "__main__":
    main()
