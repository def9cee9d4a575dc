"""Scans that hold planted shapes: a network of the whole volume, one of its slices, one of a single slice, a formula.

    python benchmarks/volumes.py [--train 600] [--test 300] [--epochs 20] [--seeds 3] [--json]

The data are made here, since no volumes with labels may be had without asking: a ball, a cylinder, a spindle, a helix
that winds to the right or one to the left, each somewhere in a noisy volume, of its own size, brightness and place,
standing along the body; slices 1 to 3 mm apart, pixels of 1 mm. The middle slice shows a disc or a spot: which of the
three solid ones it is, or which way a helix winds, only the slices together tell. So what is compared is whether an
encoder sees depth, and nothing about bodies. A line an encoder: accuracy on test scans, mean over seeds and its 95 %
interval over them, and CPU seconds of a fit.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import numpy as np
from scipy import stats
from tools import parser, show

import polymodal as pm
from polymodal.data.media.volume import Volume

SHAPES = ("ball", "cylinder", "spindle", "right", "left")
EXTENT = (36.0, 32.0, 32.0)  # millimetres
ENCODERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "volume_resnet": ("volume_resnet", {}), "volume_slices": ({"name": "volume_slices", "stride": 2}, {}),
    "one slice": ({"name": "volume_slices", "stride": 2}, {"slices": 1}), "volume_plain": ("volume_plain", {}),
}  # fmt: skip


def scan(draw: np.random.Generator, shape: str) -> Volume:
    """A volume of EXTENT with a shape in it, in noise; the spacing of its slices is drawn."""
    step = float(draw.choice([1.0, 1.5, 2.0, 3.0]))
    axes = [(np.arange(round(size / each)) + 0.5) * each - size / 2 for size, each in zip(EXTENT, (step, 1.0, 1.0))]
    up, back, right = np.meshgrid(*axes, indexing="ij")
    up, back, right = (axis - draw.uniform(-3, 3) for axis in (up, back, right))
    high, wide = draw.uniform(9, 12), draw.uniform(5, 8)
    round_ = np.hypot(back, right)
    match shape:
        case "ball":
            inside = np.hypot(up / high, round_ / wide) < 1
        case "cylinder":
            inside = (np.abs(up) < high) & (round_ < wide)
        case "spindle":
            inside = round_ / wide < 1 - np.abs(up) / high
        case _:
            turn = (1 if shape == "right" else -1) * up * 2 * np.pi / 20 + draw.uniform(0, 2 * np.pi)
            inside = (np.abs(up) < high) & (np.hypot(back - wide * np.sin(turn), right - wide * np.cos(turn)) < 2.2)
    values = draw.uniform(50, 120) * inside + draw.normal(0, 25, up.shape)
    return Volume(values.astype(np.float32), (step, 1.0, 1.0))


def table(count: int, seed: int, folder: str) -> list[dict[str, Any]]:
    """Rows with a NIfTI file each."""
    import nibabel

    draw, rows = np.random.default_rng(seed), []
    for row in range(count):
        shape = SHAPES[row % len(SHAPES)]
        made = scan(draw, shape)
        path = f"{folder}/{seed}_{row}.nii"
        affine = np.diag([*made.spacing[::-1], 1.0])
        nibabel.Nifti1Image(made.values[:, ::-1].transpose(2, 1, 0), affine).to_filename(path)
        rows.append({"scan": path, "shape": shape})
    return rows


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--train", type=int, default=600)
    options.add_argument("--test", type=int, default=300)
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--seeds", type=int, default=3)
    given = options.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        rows = [{**one, "split": "train"} for one in table(given.train, 0, folder)]
        rows += [{**one, "split": "valid"} for one in table(given.test // 2, 1, folder)]
        rows += [{**one, "split": "test"} for one in table(given.test, 2, folder)]
        for name, (encoder, processor) in ENCODERS.items():
            scores, began = [], time.process_time()
            for seed in range(given.seeds):
                run = pm.fit(
                    rows, out=f"{folder}/{name}{seed}", store=f"{folder}/store", seed=seed, seeds=1, workers=0,
                    trackers="none", quiet=True, noise=False, crossfit=0, evidence="validation", joint=False,
                    schema={"fields": {"scan": {"kind": "volume", "size": 32, **processor}}, "target": "shape",
                            "split": "split"},
                    encoders={"scan": encoder}, encodings="trained", pretrained=False,
                    encoder_training={"epochs": given.epochs},
                )  # fmt: skip
                said = run.predict([{"scan": one["scan"]} for one in rows if one["split"] == "test"])["shape"]
                scores.append(np.mean([a == b["shape"] for a, b in zip(said, rows[-given.test :])]))
            mean, spread = float(np.mean(scores)), stats.sem(scores) if given.seeds > 1 else float("nan")
            far = float(stats.t.ppf(0.975, given.seeds - 1) * spread) if given.seeds > 1 else float("nan")
            took = (time.process_time() - began) / given.seeds
            lines.append(
                {"encoder": name, "accuracy": mean, "low": mean - far, "high": mean + far, "cpu_seconds": took}
            )
    show(lines, given.json)


if __name__ == "__main__":
    main()
