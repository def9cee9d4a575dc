"""What prepare leaves behind: the table, its media, what was set aside, and the report."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.core.files import read_json, write_json, writing
from polymodal.core.limits import check_file
from polymodal.core.registry import options_of
from polymodal.core.shown import many
from polymodal.data.kinds import KINDS
from polymodal.data.media.cell import MEDIA_KINDS, Media
from polymodal.data.media.remarks import summed
from polymodal.data.paths import placed
from polymodal.data.tables.source import Table
from polymodal.data.tables.table import Problem
from polymodal.data.tables.write import write_columns
from polymodal.ops.base import Op
from polymodal.ops.rows import SAMPLES, Refused, Row
from polymodal.preparation.page import write_page
from polymodal.preparation.parts import read_refused, read_rows, stem
from polymodal.runs.progress import Progress

MOST_REASONS = 200  # in report.json
# what differs from row to row in a reason: quoted names, rows, numbers
_VARIES = re.compile(r"'[^']*'|\"[^\"]*\"|\brow \S+|[-+]?\d[\d.,]*%?")


def idle(op: Op) -> str:
    """Why an op that chose no column has nothing to do."""
    return f"no column is of kind {' or '.join(op.kinds)}"


@dataclass(frozen=True)
class Prepared:
    """A finished preparation. `table` is the file to go on with, `report` what `report.json` holds."""

    folder: Path
    table: Path
    report: Mapping[str, Any]

    @property
    def kept(self) -> int:
        """Rows of the input that are in the table."""
        return self.report["rows"]["kept"]

    @property
    def set_aside(self) -> int:
        """Rows of the input that are in `set_aside.parquet`."""
        return self.report["rows"]["set_aside"]


def finalize(
    folder: Path,
    table: Table,
    ops: Sequence[Op],
    kinds: Mapping[str, str],
    stages: Sequence[Sequence[int]],
    parts: int,
    form: str,
    progress: Progress,
) -> Prepared:
    """Gather the parts into the files that the user keeps, and clear the working folder away."""
    work = folder / ".work"
    last = work / f"stage-{len(stages) - 1}"
    kept = [row for n in range(parts) for row in read_rows(last / f"{n:06d}.jsonl", kinds)]
    refused = [
        one
        for stage in range(len(stages))
        for n in range(parts)
        for one in read_refused(work / f"stage-{stage}" / f"{n:06d}.refused", kinds)
    ]
    refused.sort(key=lambda one: (one.row.number, one.row.copy))
    report = _report(folder, table, ops, stages, parts, kept, refused)
    columns = [*table.columns, *(c for c in kinds if c not in table.data)]
    written = _columns(folder, columns, kinds, kept, table)
    path = folder / f"data{form}"
    write_columns(written, path)
    _write_set_aside(folder / "set_aside.parquet", table, refused)
    write_page(report, folder / "report.html")
    write_json(folder / "report.json", report)
    (work / "work.json").unlink()  # first: from here on the run is finished, whatever happens to the rest
    shutil.rmtree(work)
    rows = report["rows"]
    added = f", {rows['added']} added" if rows["added"] else ""
    progress.say(f"{many(rows['kept'], 'row')} kept{added}, {rows['set_aside']} set aside of {rows['input']}: {path}")
    return Prepared(folder, path, report)


def _columns(
    folder: Path, names: Sequence[str], kinds: Mapping[str, str], rows: Sequence[Row], table: Table
) -> dict[str, list[Any]]:
    """Columns of the table to write; media are placed in `media/COLUMN/` and named relative to the table."""
    key = next(
        (c for c in table.columns if c.lower() == "id" and table.data[c][:1] and str(table.data[c][0]) == table.ids[0]),
        None,
    )
    columns: dict[str, list[Any]] = {}
    for number, name in enumerate(names):
        given = table.data.get(name)
        shelf = _Shelf(folder, Path("media") / _safe(name, number), keep_names=name == key)
        if kinds.get(name) in MEDIA_KINDS:
            columns[name] = [shelf.cell(row, row.cells.get(name), given[row.number] if given else None) for row in rows]
        elif kinds.get(name) in KINDS.of(cell="value"):  # never the name of a file
            columns[name] = [row.cells.get(name) for row in rows]
        else:
            columns[name] = [shelf.along(row, row.cells.get(name), table) for row in rows]
    if key is not None and kinds.get(key) not in MEDIA_KINDS:
        columns[key] = [row.id if row.copy else row.cells[key] for row in rows]
    return columns


class _Shelf:
    """The media of one column, a file each, or a folder of files: rows that named one name one again.

    With `keep_names` the files of the input's own rows lie beside the table as they lay beside the input, for their
    names are the ids of the rows.
    """

    def __init__(self, folder: Path, place: Path, *, keep_names: bool = False):
        self.folder, self.place, self.keep_names = folder, place, keep_names
        self._placed: dict[Path, str] = {}

    def cell(self, row: Row, cell: Any, given: Any) -> Any:
        """What the table says for a cell of media; `given` is what the input said."""
        if not isinstance(cell, Media):
            return None
        if not isinstance(cell.source, Path):  # a web address, say: as it was, for no op asked for it
            return given if cell.fault and isinstance(given, str) else None
        if isinstance(given, list | tuple | np.ndarray) and KINDS[cell.kind].takes_array:
            # numbers in the table stay in the table; as they were, not as float32, unless an op changed them
            changed = (self.folder / ".work" / "source") not in cell.source.parents
            return np.load(cell.source, allow_pickle=False).tolist() if changed else given
        if KINDS[cell.kind].cell == "files" and cell.source.is_dir():
            return self._place_folder(row, cell.source)
        return self._place(row, cell.source, given if self.keep_names and not row.copy else None)

    def along(self, row: Row, cell: Any, table: Table) -> Any:
        """A cell of any other column: where it names a file of data (an array, a text) that file comes along."""
        if not isinstance(cell, str) or KINDS.of_file(cell) is None or "\n" in cell:
            return cell
        try:
            source = placed(table.bases[row.number], cell, table.remote)
        except BadCell:
            return cell  # an address that is not, or cannot be, fetched
        return self._place(row, source) if os.path.isfile(source) else cell

    def _place(self, row: Row, source: Path, name: Any = None) -> str:
        if name is None and source in self._placed:
            return self._placed[source]
        try:
            check_file(source)
        except (OSError, ValueError):
            return name or str(source)  # as broken as it was: no op asked for it
        suffixes = source.suffixes[-2:] if source.suffix == ".gz" else [source.suffix]  # brain.nii.gz keeps both
        target = self.place / f"{stem(row)}{''.join(suffixes).lower()}"
        if isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts:
            target = Path(name)
        (self.folder / target).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / target).unlink(missing_ok=True)
        if (self.folder / ".work") in source.parents:
            os.link(source, self.folder / target)  # the working folder goes away, and with it the other name
        else:  # a copy, not a link: whoever edits it later must not reach the original
            shutil.copyfile(source, self.folder / target)
        self._placed[source] = target.as_posix()
        return self._placed[source] if name is None else name

    def _place_folder(self, row: Row, source: Path) -> str:
        if source not in self._placed:
            target = self.place / stem(row)
            try:
                shutil.copytree(source, self.folder / target, dirs_exist_ok=True, ignore_dangling_symlinks=True)
            except OSError:
                return str(source)  # as broken as it was: no op asked for it
            self._placed[source] = target.as_posix()
        return self._placed[source]


def _safe(name: str, number: int) -> str:
    kept = "".join(c if c.isalnum() or c in "_-" else "_" for c in name)
    return kept if kept == name else f"{kept}_{number}"


def _write_set_aside(path: Path, table: Table, refused: Sequence[Refused]) -> None:
    """One row for each row (or, with `column`, each cell) set aside; the input's cells as text beside it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    unread = table.left_out + table.emptied
    told: dict[str, list[Any]] = {
        "id": [p.row for p in unread] + [one.row.id for one in refused],
        "op": ["read"] * len(unread) + [one.op for one in refused],
        "reason": [p.reason for p in unread] + [one.reason for one in refused],
        "column": [p.column for p in unread] + [one.column for one in refused],
    }
    for name in table.columns:
        cells = [_text(table.data[name][one.row.number]) for one in refused]
        told[name if name not in ("op", "reason", "column", "id") else f"{name} (input)"] = [None] * len(unread) + cells
    with writing(path) as temporary:
        pq.write_table(pa.table({name: pa.array(values, pa.string()) for name, values in told.items()}), temporary)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float | bool):
        return json.dumps(value)
    return str(value)[:1000]


def _report(
    folder: Path,
    table: Table,
    ops: Sequence[Op],
    stages: Sequence[Sequence[int]],
    parts: int,
    kept: Sequence[Row],
    refused: Sequence[Refused],
) -> dict[str, Any]:
    originals = sum(row.copy == 0 for row in kept)
    aside = sum(one.row.copy == 0 and not one.column for one in refused)
    if originals + aside != len(table):
        raise AssertionError(f"{originals} rows kept and {aside} set aside are not the {len(table)} of the input")
    return {
        "source": table.name,
        "mark": read_json(folder / ".work" / "work.json")["mark"],
        "rows": {
            "input": table.records,
            "kept": originals,
            "set_aside": aside + len(table.left_out),
            "added": len(kept) - originals,
            "cells_set_aside": sum(bool(one.column) for one in refused) + len(table.emptied),
        },
        "notes": [
            *(str(p) for p in table.problems if p.record is None and not p.emptied),
            *summed(_remarks(folder / ".work", len(stages), parts)),
            *(
                f"Step {op.place + 1}, {op.name}, had nothing to do: {idle(op)}."
                for op in ops
                if op.kinds and not op.chosen
            ),
        ],
        "ops": _told_ops(folder / ".work", ops, stages, parts),
        "reasons": _reasons(table, refused),
    }


def _remarks(work: Path, stages: int, parts: int) -> list[Problem]:
    """What readers remarked on cells that were used, each once, though every stage reads them."""
    files = [work / f"stage-{stage}" / f"{n:06d}.json" for stage in range(stages) for n in range(parts)]
    return [
        Problem(*told)
        for told in dict.fromkeys(tuple(one) for file in files for one in read_json(file).get("said", []))
    ]


def _reasons(table: Table, refused: Sequence[Refused]) -> list[dict[str, Any]]:
    """Reasons alike but for the numbers and names in them count together; the first tells them, with its row."""
    told = [("read", p.column, p.reason, p.row) for p in table.left_out + table.emptied]
    told += [(one.op, one.column, one.reason, one.row.id) for one in refused]
    first: dict[tuple[str, str, str], dict[str, Any]] = {}
    for op, column, reason, row in told:
        key = (op, column, _VARIES.sub("…", reason))
        spoken = f"{column}: {reason}" if column else reason
        first.setdefault(key, {"op": op, "reason": spoken, "row": row, "rows": 0})["rows"] += 1
    return sorted(first.values(), key=lambda one: -one["rows"])[:MOST_REASONS]


def _told_ops(work: Path, ops: Sequence[Op], stages: Sequence[Sequence[int]], parts: int) -> list[dict[str, Any]]:
    tallies: dict[str, list[dict[str, Any]]] = {str(op.place): [] for op in ops}
    for stage in range(len(stages)):
        for n in range(parts):
            for place, tally in read_json(work / f"stage-{stage}" / f"{n:06d}.json")["tallies"].items():
                tallies[place].append(tally)
    sums = ("seen", "changed", "set_aside", "added", "blanked", "seconds")
    return [
        {
            "name": op.name,
            "options": options_of(op),
            "columns": list(op.chosen),
            **{key: sum(t[key] for t in tallies[str(op.place)]) for key in sums},
            "samples": [s for t in tallies[str(op.place)] for s in t["samples"]][:SAMPLES],
        }
        for op in ops
    ]
