"""A model trained on dirty, cleaned and original digits: for `dirt.py --train`.

Faults of several kinds are planted in the training rows together; one recipe undoes them. Test rows that were leaked
into training are left out of the score, so that no way has seen what it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import soundfile
from matched import compared
from PIL import Image

from polymodal.data.tables.source import read_table
from polymodal.data.tables.write import write_columns
from polymodal.preparation.run import prepare

Columns = dict[str, list[str]]
Lines = list[dict[str, Any]]
NAMES = ("id", "image", "audio", "label")
SCHEMA = {"fields": {"image": "image", "audio": "audio"}, "target": {"label": "classes"}}
EMPTY = [{"silent": {"keep_row": True}}, {"uniform": {"keep_row": True}}]
COPIES = [{"exact_duplicates": {"columns": ["image", "audio"]}}]
LEAKS = [{"leaks": {"columns": "audio"}}]  # digits look alike: pictures say nothing of who is whose copy
LABELS = [{"label_errors": {"label": "label", "columns": ["image", "audio"]}}]
RECIPES = {"all steps": EMPTY + LEAKS + COPIES + LABELS, "labels alone": LABELS}


def trained(folder: Path, share: float, out: Path, rows: int, seeds: int, epochs: int) -> tuple[Lines, Lines]:
    """A line a way, scored on test rows that nobody was trained on; then what planting and cleaning did to the rows."""
    out.mkdir(parents=True, exist_ok=True)
    original = part(folder, "train", rows)
    test = part(folder, "test", rows)
    leaked = round(share * rows) // 2
    clean_test = {name: cells[leaked:] for name, cells in test.items()}
    write_columns(part(folder, "valid", rows // 2), out / "valid.csv")
    write_columns(clean_test, out / "test.csv")
    dirty, faults = planted(original, {name: cells[:leaked] for name, cells in test.items()}, share, out)
    tables = {"dirty": dirty, "original": original}
    counts = []
    for name, steps in RECIPES.items():
        tables[name], found = cleaned(dirty, test, steps, faults, out / name.replace(" ", "-"))
        counts += [{"recipe": name, **line} for line in found]
    ways: dict[str, Any] = {}
    for name, columns in tables.items():
        path = out / f"{name.replace(' ', '-')}.csv"
        write_columns(columns, path)
        ways[name] = (path, {"schema": SCHEMA})
    told = compared(
        ways, "label", out / "valid.csv", out / "test.csv", out / "fits",
        seeds=seeds, epochs=epochs, against="dirty", number=False,
    )  # fmt: skip
    return [{**line, "rows": len(tables[line["trained on"]]["id"])} for line in told], counts


def part(folder: Path, name: str, rows: int) -> Columns:
    """The first rows of a split, media as absolute paths."""
    table = read_table(folder / f"{name}.csv")
    media = ("image", "audio")
    return {n: [str(folder / v) if n in media else str(v) for v in table.column(n)[:rows]] for n in NAMES}


def planted(columns: Columns, test: Columns, share: float, out: Path) -> tuple[Columns, dict[str, set[str]]]:
    """The rows with wrong labels, empty photos, silent sounds, copies and leaked test rows; and which they are."""
    rng = np.random.default_rng(2)
    dirty = {name: list(cells) for name, cells in columns.items()}
    rows = len(dirty["id"])
    count = round(share * rows)
    faults: dict[str, set[str]] = {}
    names = sorted(set(dirty["label"]))

    def picked(what: str) -> list[int]:
        found = rng.permutation(rows)[:count].tolist()
        faults[what] = {dirty["id"][i] for i in found}
        return found

    for i in picked("wrong labels"):
        dirty["label"][i] = names[(names.index(dirty["label"][i]) + 1 + int(rng.integers(len(names) - 1))) % len(names)]
    Image.new("L", (28, 28), 40).save(out / "empty.png")
    soundfile.write(out / "silent.wav", np.zeros(8000), 8000)
    for i in picked("empty photos"):
        dirty["image"][i] = str(out / "empty.png")
    for i in picked("silent sounds"):
        dirty["audio"][i] = str(out / "silent.wav")
    again = picked("copies")
    faults["copies"] = {f"copy-{dirty['id'][i]}" for i in again}
    for name, cells in dirty.items():
        cells += [f"copy-{cells[i]}" if name == "id" else cells[i] for i in again]
        cells += [f"leaked-{cell}" if name == "id" else cell for cell in test[name]]
    faults["leaks"] = {f"leaked-{name}" for name in test["id"]}
    return dirty, faults


def cleaned(
    dirty: Columns, test: Columns, steps: list[Any], faults: Mapping[str, set[str]], out: Path
) -> tuple[Columns, list[dict[str, Any]]]:
    """The training rows that a recipe leaves, and of each fault how many rows were planted and set aside or emptied."""
    both = {name: [*cells, *test[name]] for name, cells in dirty.items()}
    both["split"] = ["train"] * len(dirty["id"]) + ["test"] * len(test["id"])
    if not (out / "report.json").exists():
        write_columns(both, out.with_suffix(".dirty.csv"))
        prepare(out.with_suffix(".dirty.csv"), steps, out=out, workers=0, quiet=True)
    table = read_table(out / "data.csv")
    kept = [i for i, split in enumerate(table.column("split")) if split == "train"]
    aside: dict[str, set[str]] = {}
    for line in pq.read_table(out / "set_aside.parquet").to_pylist():
        aside.setdefault(line["op"], set()).add(line["id"])
    everything = set(dirty["id"])
    undoing = {"wrong labels": "label_errors", "empty photos": "uniform", "silent sounds": "silent",
               "copies": "exact_duplicates", "leaks": "leaks"}  # fmt: skip
    counts = []
    for fault, op in undoing.items():
        taken = aside.get(op, set()) & everything
        hit = len(taken & faults[fault])
        counts.append({"fault": fault, "op": op, "planted": len(faults[fault]), "found": hit, "else": len(taken) - hit})
    columns = {name: [_cell(out, table.column(name)[i], name) for i in kept] for name in NAMES}
    return columns, counts


def _cell(folder: Path, value: Any, name: str) -> str:
    if value is None:
        return ""
    return str(folder / value) if name in ("image", "audio") and not Path(value).is_absolute() else str(value)
