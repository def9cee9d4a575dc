"""Clouds of points: planted shapes, how far objects of the road are, and a million points a cloud.

    python benchmarks/points.py shapes [--train 300] [--test 300] [--epochs 30] [--seeds 3] [--json]
    python benchmarks/points.py driving [--seeds 1] [--json]
    python benchmarks/points.py reading [--points 1000000] [--json]

`shapes`: made here, so they tell whether an encoder sees shape, and nothing about any sensor: a ball, a box, a
cylinder, a cone, a ring or a helix, each turned at random, of its own size and proportions, sampled by 100 to 600
points, which lie densely on one side, with noise and some stray ones. A line an encoder: accuracy on test clouds, mean
over seeds and its 95 % interval over them, and CPU seconds of a fit.

`driving` (POLYMODAL_DATA/driving: 54 objects of KITTI in 4 folds by drive, each with the camera's crop and its box in
the picture, and the lidar's points in the beam around it): the mean absolute error of the distance in metres, each fold
answered by a fit to the others with default options, every fourth of their rows for validation, since these are too few
to be cut by drive again; its 95 % interval over objects, and over drives, by bootstrap. Beside what a ridge regression
by hand reaches (README of the data).

`reading`: CPU seconds to read a cloud and to keep 8,192 points of it, and the memory that the process needed at most,
in a process of its own for each form.
"""

from __future__ import annotations

import csv
import io
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from tools import parser, show

import polymodal as pm

SHAPES = ("ball", "box", "cylinder", "cone", "ring", "helix")
TURNED = {"rotate": 180.0}  # things that lie in any way
ENCODERS: dict[str, Any] = {
    "points_set": {"name": "points_set", **TURNED},
    "attention": {"name": "points_set", "mixing": "attention", **TURNED},
    "points_pillars": {"name": "points_pillars", **TURNED},
    "points_plain": {"name": "scored", "of": "points_plain"},
    "points_shape": {"name": "scored", "of": "points_shape"},
    "shape, turned": {"name": "scored", "of": {"name": "points_shape", "rotation": "any"}},
}
BY_HAND = {"camera": 4.69, "lidar": 3.50, "both": 3.37}
FORMS = ("ply", "ply_ascii", "pcd", "pcd_compressed", "bin", "npy", "xyz", "las", "laz")


# --- shapes ---


def surface(draw: np.random.Generator, shape: str, count: int) -> np.ndarray:
    """[count, 3] points on a shape about as large as a ball of radius 1, before it is turned."""
    around, along = draw.uniform(0, 2 * np.pi, count), draw.uniform(-1, 1, count)
    round_ = np.stack([np.cos(around), np.sin(around)], 1)
    match shape:
        case "ball":
            flat = np.sqrt(1 - along**2)
            return np.c_[round_ * flat[:, None], along] * draw.uniform(0.7, 1, 3)
        case "box":
            places = draw.uniform(-1, 1, (count, 3))
            side = draw.integers(0, 3, count)
            places[np.arange(count), side] = draw.choice([-1.0, 1.0], count)
            return places * draw.uniform(0.5, 0.9, 3)
        case "cylinder":
            return np.c_[round_ * draw.uniform(0.4, 0.8), along]
        case "cone":
            wide = np.sqrt((1 + along) / 2)[:, None]
            return np.c_[round_ * draw.uniform(0.5, 0.9) * wide, 1 - 2 * wide]
        case "ring":
            tube = draw.uniform(0.15, 0.35)
            return np.c_[round_ * (1 - tube + tube * np.cos(np.pi * along))[:, None], tube * np.sin(np.pi * along)]
        case _:
            turn = draw.choice([-1.0, 1.0]) * along * 2 * np.pi * draw.uniform(1, 2)
            return np.c_[0.6 * np.cos(turn), 0.6 * np.sin(turn), along]


def cloud(draw: np.random.Generator, shape: str) -> np.ndarray:
    """float32 [n, 3]: a shape, turned, somewhere, more of it seen from one side, with noise and stray points."""
    count = int(draw.integers(100, 600))
    places = surface(draw, shape, 3 * count)
    turn = np.linalg.qr(draw.normal(size=(3, 3)))[0]
    places = places @ turn.T
    seen = draw.random(len(places)) < 1 / (1 + np.exp(-2 * places[:, 0]))
    places = places[seen][:count] * draw.uniform(0.5, 2) + draw.normal(0, 0.04, (min(count, int(seen.sum())), 3))
    stray = draw.uniform(-1.5, 1.5, (count // 20, 3))
    return (np.r_[places, stray] + draw.normal(0, 1, 3)).astype(np.float32)


def rows_of(count: int, seed: int, split: str) -> list[dict[str, Any]]:
    draw = np.random.default_rng(seed)
    made = [SHAPES[row % len(SHAPES)] for row in range(count)]
    return [{"scan": cloud(draw, shape), "shape": shape, "split": split} for shape in made]


def shapes(given: Any) -> list[dict[str, Any]]:
    rows = [*rows_of(given.train, 0, "train"), *rows_of(given.test // 2, 1, "valid"), *rows_of(given.test, 2, "test")]
    asked = [{"scan": one["scan"]} for one in rows[-given.test :]]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only or ENCODERS:
            scores, began = [], time.process_time()
            for seed in range(given.seeds):
                run = pm.fit(
                    rows, out=f"{folder}/{name}{seed}", store=f"{folder}/store", seed=seed, seeds=1, workers=0,
                    trackers="none", quiet=True, noise=False, crossfit=0, evidence="validation", joint=False,
                    schema={"fields": {"scan": {"kind": "points", "normalize": "unit", "count": 512}},
                            "target": "shape", "split": "split"},
                    encoders={"scan": ENCODERS[name]}, encodings="trained", pretrained=False,
                    encoder_training={"epochs": given.epochs},
                )  # fmt: skip
                said = run.predict(asked)["shape"]
                scores.append(np.mean([a == b["shape"] for a, b in zip(said, rows[-given.test :])]))
            mean, spread = float(np.mean(scores)), stats.sem(scores) if given.seeds > 1 else float("nan")
            far = float(stats.t.ppf(0.975, max(1, given.seeds - 1)) * spread)
            took = (time.process_time() - began) / given.seeds
            lines.append(
                {"encoder": name, "accuracy": mean, "low": mean - far, "high": mean + far, "cpu_seconds": took}
            )
    return lines


# --- driving ---


def driving(given: Any) -> list[dict[str, Any]]:
    base = Path(os.environ["POLYMODAL_DATA"]) / "driving"
    with (base / "objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    fields = {
        "camera": {"kind": "image", "columns": ["image"]},
        "box": {"kind": "table", "columns": ["left", "top", "right", "bottom"]},
        "lidar": {"kind": "points", "columns": ["points"], "up": "-y"},
    }
    read = {"camera": ["camera", "box"], "lidar": ["lidar"], "both": ["camera", "box", "lidar"]}
    box = fields["box"]["columns"]
    lines = []
    for name in given.only or read:
        errors, drives = np.zeros((given.seeds, len(rows))), np.array([row["drive"] for row in rows])
        began = time.process_time()
        for seed in range(given.seeds):
            with tempfile.TemporaryDirectory() as folder:
                for fold in sorted({row["fold"] for row in rows}):
                    learnt = [i for i, row in enumerate(rows) if row["fold"] != fold]
                    part = {i: "valid" if at % 4 == 3 else "train" for at, i in enumerate(learnt)}
                    cells = [
                        {"image": str(base / row["image"]), "points": str(base / row["points"]),
                         **{side: float(row[side]) for side in box}, "distance": float(row["distance_m"]),
                         "split": part.get(i, "test")}
                        for i, row in enumerate(rows)
                    ]  # fmt: skip
                    run = pm.fit(
                        cells, out=f"{folder}/{fold}", store=f"{folder}/store", seed=seed, workers=0,
                        trackers="none", quiet=True, pretrained=False,
                        schema={"fields": {one: fields[one] for one in read[name]}, "target": {"distance": "number"},
                                "split": "split"},
                    )  # fmt: skip
                    test = [i for i, row in enumerate(rows) if row["fold"] == fold]
                    said = run.predict([{k: cells[i][k] for k in ("image", "points", *box)} for i in test])["distance"]
                    errors[seed, test] = [abs(float(a) - cells[i]["distance"]) for a, i in zip(said, test)]
        each = errors.mean(0)
        lines.append({
            "reads": name, "mae_metres": float(each.mean()), "by_object": _resampled(each, np.arange(len(each))),
            "by_drive": _resampled(each, drives), "by_hand": BY_HAND[name], "cpu_seconds": time.process_time() - began,
        })  # fmt: skip
    return lines


def _resampled(errors: np.ndarray, groups: np.ndarray) -> str:
    """The 95 % interval of the mean, groups drawn with replacement."""
    draw, members = np.random.default_rng(0), [errors[groups == one] for one in np.unique(groups)]
    means = []
    for _ in range(5000):
        means.append(np.concatenate([members[i] for i in draw.integers(0, len(members), len(members))]).mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{low:.2f}-{high:.2f}"


# --- reading ---


def reading(given: Any) -> list[dict[str, Any]]:
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for form in given.only or FORMS:
            path = Path(folder) / f"cloud.{form.partition('_')[0]}"
            write(path, form, given.points)
            done = subprocess.run(
                [sys.executable, __file__, "one", str(path)], check=True, capture_output=True, text=True
            )
            read, kept, before, most = map(float, done.stdout.split())
            lines.append({
                "form": form, "megabytes": path.stat().st_size / 1e6, "read_cpu_seconds": read,
                "keep_cpu_seconds": kept, "more_memory_mb": most - before,
            })  # fmt: skip
            path.unlink()
    return lines


def one(path: str) -> None:
    """Read a cloud: CPU seconds of it and of keeping some points, and the process's memory before and at most."""
    from polymodal.data.media.cloud import read_cloud, thinned

    if path.endswith(("las", "laz")):
        import laspy  # noqa: F401 - its import is not measured
    before, began = _memory("VmRSS"), time.process_time()
    made = read_cloud(Path(path))
    read = time.process_time()
    thinned(made, 8192)
    print(read - began, time.process_time() - read, before, _memory("VmHWM"))


def _memory(which: str) -> float:
    """Megabytes of this process (Linux): VmRSS now, VmHWM at most."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) / 1000


def write(path: Path, form: str, count: int) -> None:
    """A cloud of x, y, z and intensity."""
    draw = np.random.default_rng(0)
    values = np.c_[draw.normal(size=(count, 3)) * 20, draw.random(count)].astype("<f4")
    names = ("x", "y", "z", "intensity")
    properties = "".join(f"property float {name}\n" for name in names)
    pcd = (
        f"# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS {' '.join(names)}\nSIZE 4 4 4 4\n"
        f"TYPE F F F F\nCOUNT 1 1 1 1\nWIDTH {count}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA "
    )
    text = io.BytesIO()
    if form in ("ply_ascii", "xyz"):
        np.savetxt(text, values, fmt="%.4f")
    match form:
        case "ply" | "ply_ascii":
            kind = "ascii" if form == "ply_ascii" else "binary_little_endian"
            head = f"ply\nformat {kind} 1.0\nelement vertex {count}\n{properties}end_header\n".encode()
            path.write_bytes(head + (text.getvalue() or values.tobytes()))
        case "pcd":
            path.write_bytes(f"{pcd}binary\n".encode() + values.tobytes())
        case "pcd_compressed":
            raw = values.T.tobytes()
            packed = b"".join(bytes([len(raw[at : at + 32]) - 1]) + raw[at : at + 32] for at in range(0, len(raw), 32))
            path.write_bytes(f"{pcd}binary_compressed\n".encode() + struct.pack("<II", len(packed), len(raw)) + packed)
        case "bin":
            path.write_bytes(values.tobytes())
        case "npy":
            np.save(path, values)
        case "xyz":
            path.write_bytes(text.getvalue())
        case _:
            import laspy

            made = laspy.LasData(laspy.LasHeader(point_format=0, version="1.2"))
            made.header.scales = [0.001] * 3
            made.x, made.y, made.z = values[:, :3].T.astype(float)
            made.intensity = (values[:, 3] * 65535).astype("u2")
            made.write(str(path))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("what", choices=("shapes", "driving", "reading", "one"))
    options.add_argument("only", nargs="*", help="encoders, streams or forms")
    options.add_argument("--train", type=int, default=300)
    options.add_argument("--test", type=int, default=300)
    options.add_argument("--epochs", type=int, default=30)
    options.add_argument("--seeds", type=int)
    options.add_argument("--points", type=int, default=1_000_000)
    given = options.parse_args()
    if given.what == "one":
        one(given.only[0])
        return
    given.seeds = given.seeds or {"shapes": 3}.get(given.what, 1)
    show({"shapes": shapes, "driving": driving, "reading": reading}[given.what](given), given.json)


if __name__ == "__main__":
    main()
