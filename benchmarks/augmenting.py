"""Does augmentation inside `fit` help with a tenth of the training rows?

    python benchmarks/augmenting.py [houses avdigits] [--share 0.1] [--seeds 3] [--epochs 8] [--copies 1 4]
        [--only "all of them"] [--out runs/augmenting]

The same tenth of the training rows, with and without `augment`, at matched seeds; validation and test rows are whole
and never augmented. Steps are sensible for the data: photos of houses may be mirrored, digits may not. Fusion: concat.
The difference is paired over test rows and seeds (95 % interval); where it holds zero, augmenting is no proven help.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matched import compared
from realdata import folder_of, known
from tools import parser, show

from polymodal.data.tables.source import read_table
from polymodal.data.tables.write import write_columns

STEPS = {
    "houses": ["flip", "crop", "color", {"jitter": {"columns": ["area_sqft"]}}],
    "avdigits": ["rotate", "affine", "volume", "shift", "add_noise"],
}


def tenth(source: Path, share: float, path: Path) -> Path:
    """A share of the rows, drawn once; cells that name files name them from anywhere."""
    table = read_table(source)
    rows = np.sort(np.random.default_rng(0).permutation(len(table))[: max(10, round(share * len(table)))])
    columns = {name: [_absolute(table.column(name)[i], source.parent) for i in rows] for name in table.columns}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_columns(columns, path)
    return path


def _absolute(cell: object, base: Path) -> object:
    return str(base / cell) if isinstance(cell, str) and "/" in cell and (base / cell).exists() else cell


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("data", nargs="*", default=["houses", "avdigits"])
    arguments.add_argument("--share", type=float, default=0.1)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--epochs", type=int, default=8)
    arguments.add_argument("--copies", type=int, nargs="+", default=[1], help="of each row by each step")
    arguments.add_argument("--only", nargs="+", help="these ways alone, beside the one without")
    arguments.add_argument("--out", type=Path, default=Path("runs/augmenting"))
    options = arguments.parse_args()
    for name in options.data:
        folder, target = folder_of(name), known(name).target
        train = tenth(folder / "train.csv", options.share, options.out / name / "train.csv")
        steps = STEPS[folder.name]
        ways: dict[str, tuple[Path, dict[str, Any]]] = {"without": (train, {})}
        for copies in options.copies:
            made = [_step(step, copies) for step in steps]
            times = "" if copies == 1 else f", {copies} copies each"
            ways |= {_name(step) + times: (train, {"augment": [step]}) for step in made}
            ways[f"all of them{times}"] = (train, {"augment": made})
        if options.only:
            wanted = {"without", *options.only}
            ways = {way: given for way, given in ways.items() if way.split(",")[0] in wanted}
        print(f"\n{name}: {len(read_table(train))} training rows, {options.seeds} seeds")
        show(
            compared(
                ways,
                target,
                folder / "valid.csv",
                folder / "test.csv",
                options.out / name,
                seeds=options.seeds,
                epochs=options.epochs,
                against="without",
                number=target == "price",
            ),
            options.json,
        )


def _step(step: Any, copies: int) -> dict[str, dict[str, Any]]:
    """A step with that many copies, as in a recipe; a picture has one mirror image."""
    name, options = next(iter(step.items())) if isinstance(step, dict) else (step, {})
    return {name: {**options, **({"copies": copies} if copies > 1 and name != "flip" else {})}}


def _name(step: dict[str, Any]) -> str:
    return next(iter(step))


if __name__ == "__main__":
    main()
