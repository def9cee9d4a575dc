"""Films for people who have not seen them, of films that nobody in training has seen: `movies`.

`python benchmarks/recommend.py [--out RUN] [--preset fast] [--users 40]`: a default fit that puts films in order within
each user, beside popularity, collaborative filtering and what is reached by hand, on the same test rows. Intervals are
by resampling users. Among the films that a user rated, those he liked are relevant; with `--users` also among all films
of the test, for so many users (what he did not rate counts as not liked, so that figures are low whoever answers).
By hand is a logistic regression on who it is, words, genres, tags, year and the colours of the poster.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from realdata import folder_of

import polymodal as pm
from polymodal.evaluation.statistics import bootstrap
from polymodal.metrics.within import Ndcg, RecallAt

STREAMS = {"title": "text", "genres": "text", "tags": "text", "poster": "image", "user_id": "entity", "year": "table"}
FIELDS = {name: {"kind": kind, "columns": [name]} for name, kind in STREAMS.items()}
METRICS = ("group_auc", "ndcg@10", "recall@20", "mrr", "auroc")
BY_HAND = {"user": 0.700, "text": 0.594, "poster": 0.482, "user x genre": 0.577, "all": 0.724}
BESIDE = ("popularity", "factorised", "user_id alone", "concat", "stacking")


def fit(out: Path, options: dict[str, Any]) -> Any:
    """A fit that puts films in order within users."""
    folder = folder_of("movies")
    return pm.fit(
        folder / "train.csv", "liked", valid=folder / "valid.csv", test=folder / "test.csv", schema={"fields": FIELDS},
        rank={"by": "user_id", "item": "movie_id"}, metric=list(METRICS), out=out, resume=out.exists(), **options,
    )  # fmt: skip


def told(row: dict[str, Any]) -> str:
    """A line of the table: every metric on test with its interval."""
    beside = [tuple(f"{name}_test{end}" for end in ("", "_low", "_high")) for name in METRICS[1:]]
    keys = [("test_mean", "test_low", "test_high"), *beside]
    each = ["{:.3f} ({:.3f} to {:.3f})".format(*(row[key] for key in some)) for some in keys]
    return f"{row['strategy'][:22]:22s} " + "  ".join(f"{one:24s}" for one in each)


def among_all(run: Any, users: int) -> list[str]:
    """Recall and NDCG at 20 where every film of the test is asked for each of some users; an order by chance beside."""
    folder = folder_of("movies")
    with (folder / "test.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    films = list({row["movie_id"]: row for row in rows}.values())
    liked = {(row["user_id"], row["movie_id"]) for row in rows if row["liked"] == "yes"}
    whose = sorted({user for user, _ in liked}, key=int)
    whose = [whose[i] for i in np.random.default_rng(0).permutation(len(whose))[:users]]
    columns = ("title", "genres", "tags", "year")
    asked = [
        {"user_id": user, "movie_id": film["movie_id"], **{name: film[name] for name in columns},
         "poster": str(folder / film["poster"])}
        for user in whose for film in films
    ]  # fmt: skip
    said = run.predict(asked)
    truth = np.array([float((row["user_id"], row["movie_id"]) in liked) for row in asked])
    groups = np.repeat(np.arange(len(whose)), len(films))
    lines = []
    for name, scores in (
        ("the deployed model", np.array(said["liked_score"])),
        ("popularity, CF", np.zeros(len(truth))),
    ):
        found = [
            bootstrap(metric, truth, scores[None], seed=0, groups=groups) for metric in (RecallAt(k=20), Ndcg(k=20))
        ]
        ends = "  ".join(
            f"{m} {i.mean:.3f} ({i.low:.3f} to {i.high:.3f})" for m, i in zip(("recall@20", "ndcg@20"), found)
        )
        lines.append(f"{name:22s} {ends}")
    return lines


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--out", type=Path, help="folder of the run; one that is there is read or resumed")
    ask.add_argument("--preset", default="auto")
    ask.add_argument("--seeds", type=int)
    ask.add_argument("--no-joint", action="store_true")
    ask.add_argument("--users", type=int, default=0)
    given = ask.parse_args()
    options: dict[str, Any] = {"preset": given.preset, "noise": False}
    options |= {"seeds": given.seeds} if given.seeds else {}
    options |= {"joint": False} if given.no_joint else {}
    with tempfile.TemporaryDirectory() as scratch:
        run = fit(given.out or Path(scratch) / "run", options)
        rows = {row["strategy"]: row for row in run.leaderboard}
        chosen = run.metrics["chosen"]
        print(run.verdict)
        print(f"{'test':22s} " + "  ".join(f"{name:24s}" for name in METRICS))
        taste = next((name for name in rows if name.startswith("taste")), chosen)
        for name in dict.fromkeys([chosen, taste, *BESIDE]):
            if name in rows:
                print(told(rows[name]))
        print("AUC by hand: " + ", ".join(f"{name} {value:.3f}" for name, value in BY_HAND.items()))
        for line in among_all(run, given.users) if given.users else ():
            print(line)


if __name__ == "__main__":
    main()
