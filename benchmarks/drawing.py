"""Pictures drawn from words: what they say, how like real ones and how varied they are, and whether they are copies.

    python benchmarks/drawing.py digits [--train 1197] [--drawn 600] [--steps 700]
    python benchmarks/drawing.py FOLDER [--train 10000] [--drawn 1000] [--steps 3000]

`digits` are those of scikit-learn (8 x 8, stretched to 16 x 16); FOLDER holds FashionMNIST's four idx files, which the
Debian package `dataset-fashion-mnist` has in /usr/share/datasets/fashion-mnist. A fit learns to draw a class from its
name. An independent classifier (`image_resnet`, fitted to the same training pictures by their labels) says how many of
`--drawn` pictures, of names as the test rows have them, are of their class, beside its accuracy on real test pictures,
the ceiling. The Fréchet distance, precision and recall are in the space of its tokens; beside them stands what real
training pictures get, the floor. Below 1,000 pictures a Fréchet distance is mostly its own bias, and is marked so.
`nearest`: median distance to the nearest training picture over that of real test pictures; `distinct`: see
`evaluation.drawing.Drawing`. Costs are CPU seconds of this process, on one thread.
"""

from __future__ import annotations

import gzip
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tools import parser, show

import polymodal as pm
from polymodal.data.tables.source import read_table
from polymodal.evaluation.drawing import LEAST, frechet_distance, nearest_distance, precision_recall
from polymodal.inference.drawing import drawings

GUIDANCE = (1.0, 1.5, 2.0, 3.0)
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLOTHES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
QUIET: dict[str, Any] = {"seeds": 1, "workers": 0, "trackers": "none", "quiet": True, "evidence": "validation"}
FITTED = 50  # test rows of the fit itself, which judges by other figures


def digits() -> tuple[np.ndarray, list[str], int]:
    """Pictures uint8 [N, S, S], their names, and the side to draw them at."""
    from sklearn.datasets import load_digits

    found, side = load_digits(), (16, 16)
    small = (found.images * (255 / 16)).round().astype(np.uint8)
    large = [np.asarray(Image.fromarray(one).resize(side, Image.Resampling.BILINEAR)) for one in small]
    return np.stack(large), [DIGITS[i] for i in found.target], 16


def fashion(folder: Path) -> tuple[np.ndarray, list[str], int]:
    """The same of FashionMNIST, its test pictures last."""
    parts = []
    for part in ("train", "t10k"):
        pixels = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
        labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:]
        parts.append((np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28), np.frombuffer(labels, np.uint8)))
    pictures, numbers = (np.concatenate(each) for each in zip(*parts))
    return pictures, [CLOTHES[i] for i in numbers], 28


def table(pictures: np.ndarray, names: list[str], rows: np.ndarray) -> dict[str, list[Any]]:
    """Columns of some rows."""
    return {"name": [names[i] for i in rows], "picture": [pictures[i] for i in rows]}


class Classifier:
    """Who says of what class a picture is, and where it lies among pictures."""

    def __init__(self, train: dict[str, Any], valid: dict[str, Any], test: dict[str, Any], out: Path):
        self.run = pm.fit(
            train, {"name": "classes"}, valid=valid, test=test, out=out, encoders={"picture": "image_resnet"},
            crossfit=0, **QUIET,
        )  # fmt: skip

    def names(self, pictures: list[Any]) -> np.ndarray:
        return np.array(self.run.predict({"picture": pictures})["name"])

    def features(self, pictures: list[Any]) -> np.ndarray:
        chunks = self.run.predictor.encode(read_table({"picture": pictures}))
        return np.concatenate([streams["picture"].pooled.double().numpy() for _, streams in chunks])


def figures(
    what: str, pictures: list[Any], names: list[str], judge: Classifier, real: np.ndarray, train: np.ndarray,
    of_real: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """One row of the table: pictures of these names beside real ones."""
    x = judge.features(pictures)
    precision, recall = precision_recall(real, x)
    return {
        "what": what,
        "accuracy": float(np.mean(judge.names(pictures) == np.array(names))),
        "frechet": frechet_distance(x, real, least=2),
        "precision": precision, "recall": recall,
        "nearest": float(np.median(nearest_distance(x, train)) / np.median(of_real)),
    }  # fmt: skip


def main() -> None:
    options = parser(__doc__)
    options.add_argument("data")
    options.add_argument("--train", type=int, default=1197)
    options.add_argument("--drawn", type=int, default=600)
    options.add_argument("--steps", type=int, default=700, help="of the flow's training")
    options.add_argument("--channels", type=int, default=32)
    options.add_argument("--draw-steps", type=int, default=20)
    given = options.parse_args()
    torch.set_num_threads(1)
    pictures, names, side = digits() if given.data == "digits" else fashion(Path(given.data))
    order = np.random.default_rng(0).permutation(len(pictures) if given.data == "digits" else len(pictures) - 10_000)
    test = order[given.train :] if given.data == "digits" else np.arange(len(pictures) - 10_000, len(pictures))
    train, valid = order[: given.train * 9 // 10], order[given.train * 9 // 10 : given.train]
    test = test[: given.drawn]
    parts = [table(pictures, names, rows) for rows in (train, valid, test)]
    with tempfile.TemporaryDirectory() as scratch:
        QUIET["store"] = f"{scratch}/store"
        began = time.process_time()
        judge = Classifier(*parts, Path(scratch) / "judge")
        judging = time.process_time() - began
        head = {"name": "flow", "channels": given.channels, "steps": given.draw_steps}
        began = time.process_time()
        run = pm.fit(
            parts[0], {"picture": {"kind": "picture", "size": side}}, valid=parts[1],
            test={name: cells[:FITTED] for name, cells in parts[2].items()}, out=Path(scratch) / "run",
            schema={"kinds": {"name": "text"}}, heads={"picture": head},
            answer_training={"steps": given.steps, "epochs": 10_000, "patience": 0}, **QUIET,
        )  # fmt: skip
        fitting = time.process_time() - began
        real, seen = (judge.features(part["picture"]) for part in (parts[2], parts[0]))
        away = nearest_distance(real, seen)
        few = "" if len(test) >= LEAST else f" (n = {len(test)}: biased)"
        some = np.random.default_rng(1).permutation(len(train))[: len(test)]
        told = {"cpu_ms_a_picture": 0.0}
        rows = [
            {**figures(what, part["picture"], part["name"], judge, real, seen, away), **told}
            for what, part in (("real test" + few, parts[2]), ("real train", table(pictures, names, train[some])))
        ]
        asked = read_table({"name": parts[2]["name"]})
        for guidance in GUIDANCE:
            began = time.process_time()
            drawn = [x[0] for _, many in drawings(run.predictor, asked, guidance=guidance) for x in many]
            cost = 1000 * (time.process_time() - began) / len(drawn)
            found = figures(f"flow, w = {guidance:g}", drawn, parts[2]["name"], judge, real, seen, away)
            rows.append({**found, "cpu_ms_a_picture": cost})
        show(rows, given.json)
        if not given.json:
            board = {row["strategy"]: row["test_mean"] for row in run.leaderboard}
            print(f"energy on {FITTED} test rows:", ", ".join(f"{name} {value:.3f}" for name, value in board.items()))
            print(f"CPU seconds: classifier {judging:.0f}, fit of the flow and its judgement {fitting:.0f}")


if __name__ == "__main__":
    main()
