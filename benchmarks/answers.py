"""Questions about pictures, answered in words by one Transformer over the patches, the question and the answer.

    python benchmarks/answers.py easy_vqa|clevr [--by prefix_lm|FUSION] [--pictures N] [--epochs N] [--units 64]
        [--depth 2] [--grid N] [--lr X] [--precision float32] [--json]

`--by mlb`, or another fusion, writes the answer from what a fusion makes of both instead.

`easy_vqa`: all questions of the package `easy-vqa` (Zhou 2019, MIT; drawn shapes); a quarter of its test pictures
is for validation. `clevr`: Sort-of-CLEVR (Santoro et al. 2017), drawn here: six shapes of six colours, questions in
English, of one shape (what it is, on which side, how high) and of relations between shapes (the nearest, the farthest,
how many alike); questions in which the two best distances differ by less than 2 pixels are not asked. Encoders and
answer are trained together, on answers of kind `text`.

A line a row of the board: share of test questions answered word for word, its 95 % interval, the CPU seconds of that
training. Rows named joint are trained with their encoders; the others, on tokens of encoders that were trained alone,
take one epoch and are there to be seen, not to be beaten. Then a line a type of question: the one stack's answers, and
`question only`, the most frequent answer to that very question in training, which nobody can beat who does not look.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from tools import parser, show

import polymodal as pm
from polymodal.core.errors import require
from polymodal.core.registry import label

Row = dict[str, Any]
COLOURS = {
    "red": (220, 30, 30), "green": (30, 160, 50), "blue": (30, 60, 220), "orange": (250, 150, 20),
    "gray": (120, 120, 120), "yellow": (240, 220, 30),
}  # fmt: skip
SIDE, RADIUS, TIE = 75, 5, 2.0  # pixels
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
RELATIONS = ("nearest", "farthest", "count")
STILL = {"flip": False, "shift": 0.0, "rotate": 0.0, "scale": 0.0}  # what is left and right stays so
STEPS = {"batch": 128, "patience": 0}
PARTS = ("train", "valid", "test")


def scene(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """A picture uint8 [75, 75, 3], the centres [6, 2] of its shapes in pixels (x, y), and what each is."""
    centres: list[np.ndarray] = []
    while len(centres) < len(COLOURS):
        at = draw.integers(RADIUS, SIDE - RADIUS, 2)
        if all(np.abs(at - other).max() > 2 * RADIUS + 1 for other in centres):
            centres.append(at)
    shapes = [("circle", "square")[i] for i in draw.integers(0, 2, len(centres))]
    picture = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    pen = ImageDraw.Draw(picture)
    for (x, y), shape, colour in zip(centres, shapes, COLOURS.values()):
        put = pen.ellipse if shape == "circle" else pen.rectangle
        put((int(x) - RADIUS, int(y) - RADIUS, int(x) + RADIUS, int(y) + RADIUS), fill=colour)
    return np.asarray(picture), np.stack(centres), shapes


def asked(centres: np.ndarray, shapes: list[str], draw: np.random.Generator) -> list[tuple[str, str, str]]:
    """A question of each type about a scene, its answer and its type; those with ties are left out."""
    found = []
    for kind in ("shape", "side", "height", *RELATIONS):
        at = int(draw.integers(len(shapes)))
        colour = [*COLOURS][at]
        far = np.hypot(*(centres - centres[at]).T)
        order = [i for i in np.argsort(far) if i != at]
        said = {
            "shape": (f"What is the {colour} object?", shapes[at]),
            "side": (f"Is the {colour} object on the left?", "yes" if centres[at][0] < SIDE / 2 else "no"),
            "height": (f"Is the {colour} object at the top?", "yes" if centres[at][1] < SIDE / 2 else "no"),
            "nearest": (f"What is the object nearest to the {colour} one?", shapes[order[0]]),
            "farthest": (f"What is the object farthest from the {colour} one?", shapes[order[-1]]),
            "count": (f"How many objects have the shape of the {colour} one?", NUMBERS[shapes.count(shapes[at])]),
        }
        ends = {"nearest": far[order[1]] - far[order[0]], "farthest": far[order[-1]] - far[order[-2]]}
        if ends.get(kind, TIE) >= TIE:
            found.append((*said[kind], kind))
    return found


def clevr(pictures: int, times: int = 2) -> list[Row]:
    """Scenes to train on, and 500 and 1,000 to choose and to test by; `times` questions of each type a scene."""
    draw, rows = np.random.default_rng(0), []
    for part, count in zip(PARTS, (pictures, 500, 1000)):
        for number in range(count):
            picture, centres, shapes = scene(draw)
            every = [one for _ in range(times if part == "train" else 1) for one in asked(centres, shapes, draw)]
            for question, answer, kind in dict.fromkeys(every):
                rows.append(row(picture, f"{part}{number}", question, answer, kind, part))
    return rows


def easy_vqa(pictures: int) -> list[Row]:
    """All questions about the package's pictures: 4,000 to train on, 250 and 750 to choose and to test by."""
    folder = Path(require("easy_vqa", "demo").__file__).parent / "data"
    rows, opened = [], {}
    for source in ("train", "test"):
        for question, answer, number in json.loads((folder / source / "questions.json").read_text(encoding="utf-8")):
            if source == "train" and number >= pictures:
                continue
            part = "train" if source == "train" else "valid" if number % 4 == 0 else "test"
            scene = f"{source}{number}"
            if scene not in opened:
                opened[scene] = np.asarray(Image.open(folder / source / "images" / f"{number}.png").convert("RGB"))
            kind = "yes or no" if answer in ("yes", "no") else "colour" if "color" in question else "shape"
            rows.append(row(opened[scene], scene, question, answer, kind, part))
    return rows


def row(picture: np.ndarray, scene: str, question: str, answer: str, kind: str, part: str) -> Row:
    return {
        "picture": picture, "question": question, "answer": answer, "scene": scene, "type": kind, "split": part,
        "id": f"{scene} {question}",
    }  # fmt: skip


def board(run: pm.Run) -> list[Row]:
    """The leaderboard, with what each training cost."""
    events = [json.loads(line) for line in (run.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    cost = {event["job"].removesuffix(" #0"): event["cpu_seconds"] for event in events if event["what"] == "done"}
    return [
        {"row": one["strategy"], "exact_match": float(one["test_mean"]), "low": float(one["test_low"]),
         "high": float(one["test_high"]), "parameters": one["parameters"] or 0,
         "cpu_seconds": cost.get(one["strategy"], 0.0)}
        for one in run.leaderboard
    ]  # fmt: skip


def by_type(run: pm.Run, rows: list[Row]) -> list[Row]:
    """Test questions of each type answered right: by the run, and by the question alone."""
    test = [one for one in rows if one["split"] == "test"]
    said = run.predict({name: [one[name] for one in test] for name in ("picture", "question")})["answer"]
    heard: dict[str, Counter[str]] = defaultdict(Counter)
    for one in rows:
        if one["split"] == "train":
            heard[one["question"]][one["answer"]] += 1
    usual = {question: answers.most_common(1)[0][0] for question, answers in heard.items()}
    right: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for one, told in zip(test, said):
        each = told == one["answer"], usual.get(one["question"]) == one["answer"]
        for kind in (one["type"], *(["relational"] if one["type"] in RELATIONS else []), "all"):
            right[kind].append(each)
    means = {kind: np.mean(each, axis=0) for kind, each in right.items()}
    return [
        {"type": kind, "questions": len(right[kind]), "answered": float(ours), "question_only": float(blind)}
        for kind, (ours, blind) in means.items()
    ]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("set", choices=("easy_vqa", "clevr"))
    options.add_argument("--by", default="prefix_lm")
    options.add_argument("--pictures", type=int, default=4000)
    options.add_argument("--epochs", type=int, default=8)
    options.add_argument("--units", type=int, default=64)
    options.add_argument("--depth", type=int, default=2)
    options.add_argument("--grid", type=int, default=4)
    options.add_argument("--lr", type=float, default=3e-3)
    options.add_argument("--precision", default="auto")
    given = options.parse_args()
    rows = (easy_vqa if given.set == "easy_vqa" else clevr)(given.pictures)
    rows = list({one["id"]: one for one in rows}.values())
    whole = given.by == "prefix_lm"
    stack = {"name": "prefix_lm", "units": given.units, "depth": given.depth, "dropout": 0.0} if whole else given.by
    words = {"name": "text_transformer", "layers": 1, "noise": 0.0, "dropout": 0.0}
    began = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        run = pm.fit(
            [{k: v for k, v in one.items() if k != "type"} for one in rows], out=Path(scratch) / "run",
            store=f"{scratch}/store", seeds=1, workers=0, trackers="none", quiet=True, evidence="validation",
            schema={
                "fields": {"picture": "image", "question": "text"}, "target": {"answer": "text"}, "group": "scene",
                "split": "split",
            },
            encoders={
                "picture": {"name": "image_resnet", "stride": 4 if given.grid < 6 else 2, "grid": given.grid,
                            "dropout": 0.0, **(STILL if given.set == "clevr" else {})},
                "question": words if whole else {"name": "text_tfidf", "noise": 0.0},
            },
            heads={"answer": {"name": "writer", "units": given.units, "depth": 1, "dropout": 0.0, "smoothing": 0.0}}
            if whole else {},
            fusion=[stack], joint=True, joint_on=[label(stack)], crossfit=0, pretrained=False, dim=given.units,
            encodings="trained", ensemble=False, noise=False,
            encoder_training={"epochs": 1}, answer_training={"epochs": 1},
            joint_training={"modality_dropout": 0.0, "epochs": given.epochs, "lr": given.lr, **STEPS,
                            **({} if given.precision == "auto" else {"precision": given.precision})},
            deploy=f"{label(stack)} joint",
        )  # fmt: skip
        show(board(run), given.json)
        show(by_type(run, rows), given.json)
    print(f"CPU seconds in all: {time.process_time() - began:.0f}")


if __name__ == "__main__":
    main()
