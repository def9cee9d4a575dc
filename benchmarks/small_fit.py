"""What the first report of a small shop's table costs: CPU seconds of all processes, by stage.

    python benchmarks/small_fit.py [--rows 240] [--presets fast good] [--repeats 3] [--before TREE/src] [--json]

Makes a table of ROWS products (a drawn picture, a title, six columns; what is sold as the target) and fits it by each
preset from the command line, each time on an empty store. Titles often name the kind, price and weight tell something
of it and pictures a little. Told are the medians of: CPU seconds, of them encodings and strategies as their jobs
measured them, and the rest (imports, reading, comparison, evaluation, report); wall seconds; the most memory held at a
time. With --before, each repeat also fits with another tree, first or last in turns, and the ratio has its quartiles.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from tools import Usage, measured, parser, polymodal, quartiles, show

HERE = Path(__file__).resolve().parents[1] / "src"
KINDS = ("bag", "hat", "shoe")
WORDS = ("soft", "warm", "light", "classic", "summer", "travel", "leather", "cotton", "city", "sport", "slim", "daily")
COLOURS = ("red", "green", "blue")


def shop(folder: Path, rows: int, seed: int = 0) -> Path:
    """A table of products, with their pictures beside it."""
    draw = np.random.default_rng(seed)
    (folder / "photos").mkdir(parents=True)
    with open(folder / "shop.csv", "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["photo", "title", "price", "weight", "brand", "color", "rating", "stock", "category"])
        for i in range(rows):
            kind, colour = int(draw.integers(3)), int(draw.integers(3))
            name = f"photos/{i:05d}.jpg"
            _picture(draw, kind, colour).save(folder / name, quality=85)
            words = list(draw.choice(WORDS, int(draw.integers(3, 8))))
            if draw.random() < 0.8:
                words.insert(int(draw.integers(len(words))), KINDS[kind])
            price = round(float(draw.lognormal(3 + 0.3 * kind, 0.4)), 2)
            weight = round(float(draw.gamma(4, 0.2 + 0.1 * kind)), 2)
            other = ["ABCD"[draw.integers(4)], COLOURS[colour], round(float(draw.uniform(1, 5)), 1)]
            lines.writerow([name, " ".join(words), price, weight, *other, int(draw.integers(100)), KINDS[kind]])
    return folder / "shop.csv"


def _picture(draw: np.random.Generator, kind: int, colour: int) -> Image.Image:
    """A shape of its kind, or any, on a noisy ground."""
    ground = draw.integers(120, 255, (12, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(ground).resize((240, 180), Image.Resampling.BICUBIC)
    left, top = int(draw.integers(20, 90)), int(draw.integers(20, 60))
    place = (left, top, left + int(draw.integers(60, 120)), top + int(draw.integers(60, 100)))
    fill = tuple(220 if i == colour else int(draw.integers(20, 90)) for i in range(3))
    shape = kind if draw.random() < 0.6 else int(draw.integers(3))
    pen = ImageDraw.Draw(picture)
    [pen.rectangle, pen.ellipse, lambda box, fill: pen.polygon([box[:2], box[2:], (box[0], box[3])], fill)][shape](
        place, fill=fill
    )
    return picture


def fitted(table: Path, preset: str, source: Path) -> tuple[Usage, dict[str, float]]:
    """One fit on an empty store by the tree whose src folder is `source`: what it cost, and its jobs' CPU seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        chosen = [] if preset == "good" else ["--preset", preset]  # the defaults; older trees know no word for them
        command = polymodal("fit", table, "--target", "category", *chosen, "--out", out / "run", "--quiet")
        usage = measured(command, POLYMODAL_STORE=str(out / "store"), PYTHONPATH=str(source))
        return usage, {place: _spent(out / "run" / "work" / place) for place in ("encoders", "answers")}


def _spent(folder: Path) -> float:
    read = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sum(one.get("cpu_seconds", 0.0) for one in read)


def row(preset: str, rows: int, tree: str, found: Sequence[tuple[Usage, dict[str, float]]]) -> dict[str, Any]:
    """The medians of a tree's fits."""

    def middle(values: Sequence[float]) -> float:
        return round(float(np.median(values)), 1)

    total = [usage.cpu for usage, _ in found]
    stages = {name: middle([jobs[name] for _, jobs in found]) for name in ("encoders", "answers")}
    rest = middle([usage.cpu - sum(jobs.values()) for usage, jobs in found])
    spread = f"{min(total):.1f}-{max(total):.1f}"
    return {
        "preset": preset, "rows": rows, "tree": tree, "CPU_s": middle(total), "from_to": spread,
        "encodings_s": stages["encoders"], "strategies_s": stages["answers"], "rest_s": rest,
        "wall_s": middle([usage.wall for usage, _ in found]), "peak_MB": middle([usage.peak_mb for usage, _ in found]),
    }  # fmt: skip


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=240)
    options.add_argument("--presets", nargs="+", default=["fast", "good"])
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--before", type=Path)
    given = options.parse_args()
    told: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        table = shop(Path(folder) / "shop", given.rows)
        for preset in given.presets:
            trees = {"here": HERE} | ({"before": given.before.resolve()} if given.before else {})
            found: dict[str, list[tuple[Usage, dict[str, float]]]] = {name: [] for name in trees}
            for i in range(given.repeats):
                for name in list(trees)[:: 1 if i % 2 else -1]:
                    found[name].append(fitted(table, preset, trees[name]))
            ratios = [a[0].cpu / b[0].cpu for a, b in zip(found["here"], found.get("before", []))]
            for name, fits in found.items():
                ratio = {"of_before": quartiles(ratios) if name == "here" else ""} if ratios else {}
                told.append({**row(preset, given.rows, name, fits), **ratio})
    show(told, given.json)


if __name__ == "__main__":
    main()
