"""One modality's encodings side by side: by formula, from scratch, a pretrained tower frozen, and tuned to the target.

    python benchmarks/rungs.py --models FOLDER [banking airline skin houses flickr] [--rungs formula frozen ...]
        [--towers mobilenet] [--rows 1500] [--test 1000] [--ladder]

FOLDER holds `minilm`, `mobilenet` and `efficientnet`, as `benchmarks/local_models.py` makes them. A rung is a fit of
that encoding alone in a process of its own: one seed, no cross-fitting, the validation rows stop the training; `--rows`
training and `--test` test rows at most, drawn with a fixed seed. A line a rung: the score on test rows with its 95 %
interval and the CPU seconds of the whole fit; then for each tower target-aware against frozen, and against the best
rung without a tower, paired over the same test rows. `--ladder` fits once more with default settings, with and without
the folder, and says what evidence kept. The label of flickr is made from captions and asked of the photo alone: the
first of dog, child and adult that at least three of its five captions name, else `other`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from realdata import folder_of

import polymodal as pm

# By data set: the column, its kind, target and its kind, metric.
SETS: dict[str, tuple[str, str, str, str, str]] = {
    "banking": ("text", "text", "label", "classes", "accuracy"),
    "airline": ("text", "text", "label", "classes", "accuracy"),
    "skin": ("image", "image", "label", "classes", "balanced_accuracy"),
    "houses": ("frontal", "image", "price", "number", "r2"),
    "flickr": ("image", "image", "shows", "classes", "balanced_accuracy"),
}
FORMULA = {"text": "text_linear", "image": {"name": "scored", "of": "image_hog"}}
SCRATCH = {"text": "text_tfidf", "image": "image_resnet"}
TOWERS = {"text": ("pretrained_text", ["minilm"]), "image": ("pretrained_vision", ["mobilenet", "efficientnet"])}
RUNGS = ("formula", "scratch", "frozen", "aware")
NAMED = {
    "dog": {"dog", "dogs", "puppy", "puppies"},
    "child": {"boy", "boys", "girl", "girls", "child", "children", "kid", "kids", "baby", "toddler", "toddlers"},
    "adult": {"man", "men", "woman", "women", "lady", "ladies", "guy", "guys"},
}
CAPTIONS = [f"caption_{i}" for i in range(5)]
DRAWS = 2000


def rungs_of(name: str) -> list[str]:
    """The rungs of a data set; those of a tower bear its name."""
    towers = TOWERS[SETS[name][1]][1]
    return ["formula", "scratch", *(f"{tower}-{rung}" for tower in towers for rung in ("frozen", "aware"))]


def encoder_of(name: str, rung: str, models: str) -> Any:
    """The spec of a rung of a data set."""
    kind = SETS[name][1]
    if rung in ("formula", "scratch"):
        return (FORMULA if rung == "formula" else SCRATCH)[kind]
    folder, _, way = rung.rpartition("-")
    spec = {"name": TOWERS[kind][0], "model": str(Path(models) / folder)}
    return {"name": "scored", "of": spec} if way == "frozen" else {**spec, "tune": "lora_last"}


def shows(captions: tuple[str, ...]) -> str:
    """What most captions of a photo name."""
    said = [set(caption.lower().split()) for caption in captions]
    return next((what for what, names in NAMED.items() if sum(bool(words & names) for words in said) >= 3), "other")


def tables(name: str, rows: int, test: int) -> list[Any]:
    """Training, validation and test rows, drawn."""
    each = []
    for part, most in (("train", rows), ("valid", max(50, rows // 6)), ("test", test)):
        table = pm.read_table(folder_of(name) / f"{part}.csv")
        chosen = np.sort(np.random.default_rng(0).permutation(len(table))[:most])
        table = table.select(chosen)
        if name == "flickr":
            labels = [shows(captions) for captions in zip(*(table.column(one) for one in CAPTIONS))]
            photos = [str(table.base / photo) for photo in table.column("image")]
            table = pm.read_table({"image": photos, "shows": labels})
        each.append(table)
    return each


def spent() -> float:
    """CPU seconds of this process and of all that it waited for."""
    each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in each)


def fitted(name: str, out: Path, given: argparse.Namespace, **options: Any) -> dict[str, Any]:
    """What a fit of the data set's one column gives: score, interval, CPU seconds, encodings."""
    column, kind, target, task, metric = SETS[name]
    train, valid, test = tables(name, given.rows, given.test)
    schema = {"fields": {column: {"kind": kind, "columns": [column]}}, "target": {target: task}}
    run = pm.fit(
        train, valid=valid, test=test, schema=schema, metric=metric, out=out / "run", store=str(out / "store"),
        noise=False, quiet=True, workers=0, trackers="none", **options,
    )  # fmt: skip
    metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    evaluation = json.loads((run.folder / "evaluation.json").read_text(encoding="utf-8"))
    import pyarrow.parquet as pq

    said = pq.read_table(run.folder / "predictions_test.parquet").to_pydict()
    answers = [said[target], said[f"{target}_truth"]]
    found = {**metrics["test"][metric], "cpu": spent(), "answers": answers, "rows": [len(train), len(test)]}
    return {**found, "kept": [r["encoder"] for rungs in evaluation["encodings"].values() for r in rungs if r["kept"]]}


def apart(name: str, rung: str, given: argparse.Namespace) -> dict[str, Any]:
    """The same in a process of its own."""
    words = [sys.executable, __file__, name, "--models", given.models, "--one", rung]
    words += ["--rows", str(given.rows), "--test", str(given.test)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def one(name: str, rung: str, given: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        if rung in ("with", "without"):
            return fitted(name, Path(scratch), given, models=given.models if rung == "with" else None)
        column = SETS[name][0]
        options = {"seeds": 1, "crossfit": 0, "evidence": "validation", "joint": False, "fusion": "late_mean"}
        return fitted(name, Path(scratch), given, encoders={column: encoder_of(name, rung, given.models)}, **options)


def score(metric: str, said: np.ndarray, truth: np.ndarray) -> float:
    """The metric of some rows."""
    if metric == "r2":
        return float(1 - ((said - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())
    right = said == truth
    if metric == "accuracy":
        return float(right.mean())
    return float(np.mean([right[truth == k].mean() for k in np.unique(truth)]))


def paired(metric: str, first: list[Any], second: list[Any]) -> str:
    """Second against first over the same rows: the difference and its 95 % interval from resampled rows."""
    (a, truth), (b, same) = (list(map(np.asarray, one)) for one in (first, second))
    assert (truth == same).all()
    draws = np.random.default_rng(0).integers(0, len(truth), (DRAWS, len(truth)))
    gaps = [score(metric, b[rows], truth[rows]) - score(metric, a[rows], truth[rows]) for rows in draws]
    low, high = np.quantile(gaps, (0.025, 0.975))
    return f"{score(metric, b, truth) - score(metric, a, truth):+.3f} ({low:+.3f} to {high:+.3f})"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("names", nargs="*", default=list(SETS), help=", ".join(SETS))
    words.add_argument("--models", required=True)
    words.add_argument("--rungs", nargs="*", default=list(RUNGS), choices=RUNGS)
    words.add_argument("--towers", nargs="*", default=[tower for _, some in TOWERS.values() for tower in some])
    words.add_argument("--rows", type=int, default=1500)
    words.add_argument("--test", type=int, default=1000)
    words.add_argument("--ladder", action="store_true")
    words.add_argument("--one", help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.one:
        print(json.dumps(one(given.names[0], given.one, given)))
        return
    for name in given.names:
        metric, found = SETS[name][4], {}
        parts = [(rung, *rung.rpartition("-")[::2]) for rung in rungs_of(name)]
        wanted = [rung for rung, tower, way in parts if way in given.rungs and tower in ("", *given.towers)]
        for rung in (*wanted, *(("without", "with") if given.ladder else ())):
            now = found[rung] = apart(name, rung, given)
            kept = f"  kept {' and '.join(now['kept'])}" if rung in ("with", "without") else ""
            print(
                f"{name:8} {rung:19} {metric} {now['mean']:.3f} ({now['low']:.3f} to {now['high']:.3f})  "
                f"{now['cpu']:.0f} CPU s, {now['rows'][0]} training and {now['rows'][1]} test rows{kept}",
                flush=True,
            )
        plain = [rung for rung in ("formula", "scratch") if rung in found]
        best = max(plain, key=lambda rung: found[rung]["mean"], default="")
        for tower in TOWERS[SETS[name][1]][1]:
            frozen, aware = f"{tower}-frozen", f"{tower}-aware"
            for first, second in ((frozen, aware), (best, frozen), (best, aware)):
                if first in found and second in found:
                    gap = paired(metric, found[first]["answers"], found[second]["answers"])
                    print(f"{name:8} {second} against {first} {gap}", flush=True)


if __name__ == "__main__":
    main()
