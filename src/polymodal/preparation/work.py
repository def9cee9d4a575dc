"""The job of preparing: one part of the table through one stage of the recipe."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.core.files import read_json, write_json, writing
from polymodal.core.numbers import Notation
from polymodal.data.media.cell import MEDIA_KINDS, Media
from polymodal.ops.base import BatchOp, Op
from polymodal.ops.networks import DEVICE
from polymodal.ops.rows import Row, Rows, Tally
from polymodal.preparation.compare import LONGEST
from polymodal.preparation.parts import MediaFolder, read_rows, write_refused, write_rows
from polymodal.preparation.recipe import Recipe
from polymodal.runs.events import Done, Event, Failed
from polymodal.runs.pool import Job

SHOWN_FROM = 3  # parts whose changes the report may show


@dataclass(frozen=True, kw_only=True)
class PartJob(Job):
    """Part `number` of the table, the file `part`, through the ops at `places`: `task` is `survey` or `apply`.

    New media go into the folder `media`.
    """

    task: str
    places: Sequence[int]
    number: int
    part: str
    media: str


def run_part(values: Mapping[str, Any], device: str = "cpu") -> Iterator[Event]:
    """Carry out a `PartJob`, as JSON has it, with networks on `device`; errors become `Failed`.

    A part's result is written whole and last, so a killed run repeats unfinished parts only.
    """
    job = PartJob.from_json(values)
    before = DEVICE.set(device)
    try:
        {"survey": _survey, "apply": _apply}[job.task](job)
        yield Done()
    except Exception as error:  # noqa: BLE001 - an op may be the user's; what it raised is reported, never lost
        yield Failed.by(error)
    finally:
        DEVICE.reset(before)


def ops_of(job: PartJob) -> tuple[list[Op], dict[str, str], dict[str, Notation]]:
    """The ops of the stage, with what earlier surveys settled; all columns' kinds, and how numbers are written."""
    work = Path(job.work)
    told = read_json(work / "work.json")
    recipe = Recipe.read(told["recipe"])
    ops = recipe.ops(told["kinds"], trust=told["trust"])
    chosen = [op for op in ops if op.place in job.places]
    for op in chosen:
        state = work / f"state-{op.place}.npz"
        if state.exists():
            op.state = load_arrays(state)
    kinds = dict(told["kinds"])
    for op in ops:
        kinds |= op.adds()
    return chosen, kinds, {column: Notation(*way) for column, way in told.get("notations", {}).items()}


def save_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Arrays to one file, without pickled objects."""
    with writing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _survey(job: PartJob) -> None:
    out = Path(job.out)
    if out.exists():
        return
    (op,), kinds, notations = ops_of(job)
    save_arrays(op.partial_fit(Rows(read_rows(Path(job.part), kinds, notations))), out)


def _apply(job: PartJob) -> None:
    out = Path(job.out)
    done = out.with_suffix(".json")
    if done.exists():
        return
    ops, kinds, notations = ops_of(job)
    media = MediaFolder(Path(job.media), tuple(c for c, k in kinds.items() if k in MEDIA_KINDS))
    rows = Rows(read_rows(Path(job.part), kinds, notations))
    tallies = {op.place: Tally() for op in ops}
    for together, group in itertools.groupby(ops, lambda op: isinstance(op, BatchOp)):
        if together:
            for op in group:
                op.apply(rows, tallies[op.place])
        else:
            rows = _row_by_row(rows, list(group), tallies, media)
    show = job.number < SHOWN_FROM
    told = {
        place: {**asdict(tally), "samples": _samples(tally, place, Path(job.work) / "samples") if show else []}
        for place, tally in tallies.items()
    }
    for row in rows.kept:
        media.keep(row)
    for refused in rows.refused:  # by ops on the whole batch
        _as_it_came(refused.row)
    write_refused([*rows.refused, *rows.blanked], out.with_suffix(".refused"))
    write_rows(rows.kept, out)
    said = [[row.id, column, one] for row in rows.kept for column, every in row.said.items() for one in every]
    write_json(done, {"kept": len(rows.kept), "tallies": told, "said": said})


def _row_by_row(rows: Rows, ops: Sequence[Op], tallies: Mapping[int, Tally], media: MediaFolder) -> Rows:
    """All ops on one row, then the next: a photo is decoded once, and only one is in memory."""
    done = Rows([], rows.refused, rows.blanked)
    for row in rows.kept:
        one = Rows([row])
        for op in ops:
            op.apply(one, tallies[op.place])
        for kept in one.kept:
            media.keep(kept)
        for refused in one.refused:
            _as_it_came(refused.row)
        done.kept += one.kept
        done.refused += one.refused
        done.blanked += [replace(b, cell=_undecoded(b.cell)) for b in one.blanked]
    return done


def _as_it_came(row: Row) -> None:
    """A refused row goes out with its files, not with what earlier ops of the stage had decoded from them."""
    for column, cell in row.cells.items():
        row.cells[column] = _undecoded(cell)


def _undecoded(cell: Any) -> Any:
    """The file of a cell of media, or nothing where an op of this stage made the cell."""
    if not isinstance(cell, Media):
        return cell
    if isinstance(cell.source, Path):
        return Media(cell.kind, cell.source)
    return None if cell.decoded is not None else cell


def _samples(tally: Tally, place: int, folder: Path) -> list[dict[str, Any]]:
    """Changes to show: text as it is, media as small files of their own."""
    samples = []
    for number, (row, column, before, after) in enumerate(tally.samples):
        sides = {}
        for side, value in (("before", before), ("after", after)):
            if isinstance(value, Media):
                path = folder / f"{place}-{abs(hash_of(row))}-{number}-{side}{value.suffix}"
                sides[side] = _shown(value, path)
            else:
                sides[side] = {"text": "" if value is None else as_text(value)}
        samples.append({"id": row, "column": column, **sides})
    return samples


def as_text(value: Any) -> str:
    """A cell of words or numbers as a reader sees it: 0.1 + 0.2 is 0.3."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)[: 2 * LONGEST]


def _shown(media: Media, path: Path) -> dict[str, Any]:
    """Media as a file that the report can open, or what is wrong with them."""
    try:
        media.value()
        media.write(path)
    except BadCell as error:
        return {"text": f"broken: {error.reason}"}
    return {"media": media.kind, "path": str(path)}


def hash_of(text: str) -> int:
    """A number for a file name, the same in every process."""
    import zlib

    return zlib.crc32(text.encode("utf-8"))
