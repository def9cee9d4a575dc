"""What `inspect` costs as a table grows: CPU seconds, memory, and the exponent of their growth.

    python benchmarks/scale_inspect.py [--rows 50000 200000] [--forms 4000 16000] [--keep FOLDER] [--json]

`--rows`: tables of an id, a path (of 200 pictures, which rows share), free text (one in fifty a letter away from an
earlier one), a short title, two numbers, a date, three categories, a group and a label. `--forms`: tables of one
sentence that is filled in with a number, where every text is like every other. The command runs in a process of its
own; reading the CSV is part of it. The exponent is that of CPU seconds beyond those that ten rows take, between the
two largest sizes.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Iterator
from math import log
from pathlib import Path

import numpy as np
from PIL import Image
from scale_prepare import texts
from tools import measured, parser, polymodal, show

PICTURES, LEAST = 200, 10


def mixed(folder: Path, rows: int, seed: int = 0) -> Iterator[list[object]]:
    """A table of every common kind of column; its pictures lie in `folder`."""
    rng = np.random.default_rng(seed)
    (folder / "photos").mkdir(exist_ok=True)
    for i in range(PICTURES):
        pixels = rng.integers(0, 255, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC).save(folder / "photos" / f"{i:03}.jpg")
    given = texts(rows, seed)
    yield ["id", "photo", "note", "title", "price", "weight", "day", "colour", "shop", "size", "customer", "label"]
    for i, text in enumerate(given):
        yield [
            f"r{i:07}", f"photos/{rng.integers(PICTURES):03}.jpg",
            text if i % 50 else given[int(rng.integers(0, i + 1))][:-1] + "q", " ".join(text.split()[:3]),
            round(float(rng.gamma(2, 20)), 2), round(float(rng.normal(50, 9)), 3),
            f"2024-{rng.integers(1, 13):02}-{rng.integers(1, 29):02}", f"c{rng.integers(12)}", f"s{rng.integers(300)}",
            "SML"[rng.integers(3)], int(rng.integers(rows // 8 + 1)), "ab"[rng.integers(2)],
        ]  # fmt: skip


def forms(folder: Path, rows: int, seed: int = 0) -> Iterator[list[object]]:
    """A sentence filled in with a number."""
    rng = np.random.default_rng(seed)
    yield ["id", "mail", "label"]
    for i in range(rows):
        order = rng.integers(10**9)
        yield [i, f"Dear customer your order number {order} has been received by our warehouse and will be sent to you "
               "within three working days", "ab"[i % 2]]  # fmt: skip


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, nargs="*", default=[50_000, 200_000], help="ascending")
    arguments.add_argument("--forms", type=int, nargs="*", default=[4_000, 16_000], help="ascending")
    arguments.add_argument("--keep", type=Path, help="write the tables here and leave them")
    options = arguments.parse_args()
    found, exponents = [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for make, sizes in ((mixed, options.rows), (forms, options.forms)):
            costs = []
            for rows in [LEAST, *sizes] if sizes else []:
                path = folder / f"{make.__name__}_{rows}.csv"
                if not path.exists():
                    with path.open("w", newline="", encoding="utf-8") as file:
                        csv.writer(file).writerows(make(folder, rows))
                cost = measured(polymodal("inspect", path, "--target", "label"))
                costs.append((rows, cost.cpu))
                found.append({"table": make.__name__, "rows": rows, "CPU_seconds": cost.cpu, "peak_MB": cost.peak_mb})
            if len(costs) > 2:
                (_, start), *_, (n, less), (m, more) = costs
                exponents.append(f"{make.__name__}: {log((more - start) / (less - start)) / log(m / n):.2f}")
    show(found, options.json)
    print(f"growth exponents: {', '.join(exponents)}", file=sys.stderr)


if __name__ == "__main__":
    main()
