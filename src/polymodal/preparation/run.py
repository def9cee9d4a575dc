"""prepare: a table through a recipe. Kept and set aside together are the input, always."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.digest import digest_cells, fingerprint
from polymodal.core.errors import BadArgument, BadCell, DiskFull, PolymodalError, refused
from polymodal.core.files import clear_unfinished, read_json, write_json, writing
from polymodal.core.numbers import Notation
from polymodal.core.registry import plain
from polymodal.core.runtime import check_device, device_of, told
from polymodal.core.trust import modules
from polymodal.data.absence import read_absence
from polymodal.data.cells import cells
from polymodal.data.infer import tell
from polymodal.data.kinds import KINDS
from polymodal.data.media.cell import MEDIA_KINDS, Media, media_of
from polymodal.data.overrides import Overrides, read_overrides
from polymodal.data.schema import Field
from polymodal.data.split import SPLIT_NAMES
from polymodal.data.storage.decode import Broken, fetch
from polymodal.data.tables.source import Table, read_table
from polymodal.data.tables.table import Lazy, noted
from polymodal.data.tables.write import FORMS
from polymodal.ops.base import Op
from polymodal.ops.rows import Row
from polymodal.preparation.engine import Engine, engine_of
from polymodal.preparation.parts import MediaFolder, write_rows
from polymodal.preparation.recipe import Recipe
from polymodal.preparation.result import Prepared, finalize, idle
from polymodal.preparation.work import PartJob, load_arrays, save_arrays
from polymodal.runs.events import Failed
from polymodal.runs.folder import same_cells
from polymodal.runs.progress import Progress


class Stopped(PolymodalError):
    """Stopped by the user."""

    exit_code = 130


def prepare(
    data: Any,
    recipe: Any,
    *,
    out: str | Path,
    schema: Any = None,
    engine: str = "local",
    workers: int | None = None,
    device: str = "auto",
    resume: bool = False,
    trust: str | Sequence[str] = (),
    quiet: bool = False,
) -> Prepared:
    """Carry out a recipe on a table and write the rows kept, those set aside with the reason, and a report.

    `data` as in `read_table`; `recipe` a YAML file or a list of steps; `out` a new folder; `schema` corrects the kinds
    of columns; `engine` is `local` (processes of this machine) or `ray` (extra `ray`), with the same result; `device`
    is where the networks of ops run (see `device_of`); `resume` goes on with an interrupted run; `trust` names modules
    of own parts that spaces of the recipe may use. Raises `BadArgument` for a recipe that does not fit the data, before
    any work.
    """
    folder = Path(out)
    check_device(device)
    cook = Recipe.read(recipe)
    source = Source.read(data, schema)
    ops = cook.ops(source.kinds, trust=trust)  # every fault of the recipe is said here
    form = _form(data)
    _apart(folder, data)
    _claim(folder, _told(cook, source.kinds, form), source, resume, trust=trust)
    try:
        with Progress(quiet=quiet) as progress:
            for line in noted(source.table):
                progress.say(line)
            for place, op in enumerate(ops):
                if op.kinds and not op.chosen:
                    progress.say(f"Step {place + 1}, {op.name}, has nothing to do: {idle(op)}.")
            session = _Session(folder, cook, ops, source, progress)
            session.cut()
            if device not in ("auto", "cpu") or "torch" in sys.modules:  # else no op needs it, and it takes seconds
                for line in told(device_of(device)):
                    progress.say(line)
            with engine_of(engine, workers, device) as run:
                stages = session.carry_out(run)
            return finalize(folder, source.table, ops, session.all_kinds, stages, session.count, form, progress)
    except KeyboardInterrupt:
        raise Stopped(f"Stopped. The same command with --resume goes on where {folder} stopped.") from None
    except OSError as error:
        if not isinstance(said := refused(error), DiskFull):
            raise
        raise DiskFull(f"{folder} cannot be written: {said} Nothing is lost: --resume goes on.") from error


@dataclass(frozen=True)
class Source:
    """Rows to prepare, and what is known of them.

    `kinds` has the kind of every column: image, audio, series, vector, text, number, category, date, id, constant or
    other; `notations` how the columns of numbers are written that have a unit or decimal commas; `parts` what each row
    is for: train, valid or test, nothing where that is missing, and the cell itself where it is another word.
    """

    table: Table
    kinds: Mapping[str, str]
    notations: Mapping[str, Notation]
    parts: Sequence[str]

    @classmethod
    def read(cls, data: Any, schema: Any = None) -> Source:
        """`data` as in `read_table`.

        A schema (see `data.overrides.read_overrides`) corrects kinds by its `fields` and `kinds`, in which video and
        volume are allowed too; what it ignores is of kind ignore, which no op works on by itself. The column `split`,
        or the one that the schema names, tells the parts.
        """
        table = read_table(data)
        said = Overrides() if schema is None else read_overrides(schema, table.columns)
        table = read_absence(table, (), said, [])[1]
        kinds = kinds_of(table, said.written)
        for field in said.fields.values():
            if not KINDS[field.kind].is_record and "array" not in field.options:
                kinds |= dict.fromkeys(field.columns, field.kind)
        kinds |= {**said.kinds, **dict.fromkeys(said.ignore, "ignore")}
        column = said.split or next((name for name in table.columns if name.lower() == "split"), None)
        words = ["" if v is None else str(v).strip() for v in table.data.get(column or "", [None] * len(table))]
        parts = [SPLIT_NAMES.get(word.lower(), word) for word in words]
        return cls(table, kinds, notations_of(table, kinds, said.written), parts)


def kinds_of(table: Table, written: Mapping[str, str]) -> dict[str, str]:
    """The kind of every column, as its cells tell; `written` as in a schema."""
    return {column: tell(table, column, written.get(column, "")).kind for column in table.columns}


def notations_of(table: Table, kinds: Mapping[str, str], written: Mapping[str, str]) -> dict[str, Notation]:
    """How the columns of numbers are written that have a unit or decimal commas."""
    numbers = [column for column in table.columns if kinds.get(column) == "number"]
    told = {column: Notation.of(table.column(column), written.get(column, "")) for column in numbers}
    return {column: way for column, way in told.items() if way != Notation()}


def _apart(folder: Path, data: Any) -> None:
    """Refuse to write into a folder of data, whose rows the next reading would find there."""
    if isinstance(data, str | Path) and Path(data).is_dir() and folder.resolve().is_relative_to(Path(data).resolve()):
        raise BadArgument(f"{folder} lies inside the data, {data}: it would be read as rows of it. Give another --out.")


def _form(data: Any) -> str:
    """The suffix of the table to write: the input's own where we can write it, else Parquet."""
    suffix = Path(data).suffix.lower() if isinstance(data, str | Path) else ""
    return suffix if suffix in FORMS else ".parquet"


def _told(recipe: Recipe, kinds: Mapping[str, str], form: str) -> dict[str, Any]:
    """What the jobs are told of a run, as JSON."""
    return {"recipe": plain(recipe.to_json()), "kinds": dict(kinds), "form": form}


def _claim(folder: Path, told: Mapping[str, Any], source: Source, resume: bool, *, trust: str | Sequence[str]) -> None:
    """Make the folder ours or refuse: never mix two runs in one folder.

    What is told to the jobs is written anew on resume: ops are those of the command, whatever the folder says.
    """
    stamp = folder / ".work" / "work.json"
    digests, ids = _digests(source), source.table.ids
    mark = fingerprint({**told, "rows": ids, "cells": digests})
    keep = partial(same_cells, stamp.with_name("cells.safetensors"), digests, dict.fromkeys(digests, ids))

    def settings() -> dict[str, Any]:
        ways = {column: (way.decimal, way.unit) for column, way in source.notations.items()}
        return {**told, "trust": modules(trust), "mark": mark, "notations": ways}

    if stamp.exists():
        if not resume:
            raise BadArgument(f"{folder} holds unfinished work. Continue it with --resume, or give another --out.")
        known = read_json(stamp)
        if known["mark"] != mark:
            if all(known[name] == value for name, value in told.items()):
                keep(begun=True)
            raise BadArgument(
                f"{folder} was begun with another recipe or other data; --resume continues the same only."
            )
        clear_unfinished(folder)
        write_json(stamp, settings())
        return
    if (folder / "report.json").exists() and resume and read_json(folder / "report.json").get("mark") == mark:
        if stamp.parent.exists():  # stopped in the very act of clearing it away
            shutil.rmtree(stamp.parent)
        raise BadArgument(f"{folder} is finished already: nothing is left to resume.")
    if folder.exists() and not folder.is_dir():
        raise BadArgument(f"{folder} is a file. --out names a new folder.")
    # a working folder alone is of a run that was killed before it wrote its stamp: begin anew
    if folder.exists() and any(path.name != stamp.parent.name for path in folder.iterdir()):
        raise BadArgument(f"{folder} is not empty. Give another --out.")
    keep(begun=False)
    write_json(stamp, settings())


def _digests(source: Source) -> dict[str, np.ndarray]:
    """What the cells hold, uint8 [N, 16]: each column of media by itself, files by their content, the others a row."""
    table, kinds = source.table, source.kinds
    media = [column for column in table.columns if kinds[column] in MEDIA_KINDS]
    told = {}
    for column in media:
        held = cells(table, Field(column, kinds[column], (column,)))
        each = (fetch(held, row) for row in range(len(table)))
        told[column] = digest_cells(None if isinstance(cell, Broken) else cell for cell in each)
    if others := [column for column in table.columns if column not in media]:
        # what lies in memory or in an archive has no short name of its own, but its place
        plain = [
            [v if isinstance(v, str | int | float | bool | None) else type(v).__name__ for v in table.column(column)]
            for column in others
        ]
        told[", ".join(others)] = digest_cells(dict(zip(others, row)) for row in zip(*plain))
    return told


class _Session:
    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        ops: Sequence[Op],
        source: Source,
        progress: Progress,
    ):
        self.folder, self.recipe, self.ops, self.source, self.progress = folder, recipe, ops, source, progress
        self.work = folder / ".work"
        self.count = -(-len(source.table) // recipe.batch)
        self.all_kinds = dict(source.kinds)
        for op in ops:
            self.all_kinds |= op.adds()

    def cut(self) -> None:
        """The table as part files; cells in archives or in memory become files once."""
        table, kinds = self.source.table, self.source.kinds
        columns = {name: column_cells(table, name, kind) for name, kind in kinds.items()}
        media = MediaFolder(self.work / "source", tuple(c for c, k in kinds.items() if k in MEDIA_KINDS))
        for number in range(self.count):
            path = self.part(-1, number)
            if path.exists():
                continue
            first = number * self.recipe.batch
            rows = []
            for i in range(first, min(first + self.recipe.batch, len(table))):
                held = {column: self._lasting(cell(i)) for column, cell in columns.items()}
                row = Row(table.ids[i], i, held, kinds, self.source.parts[i])
                media.keep(row)
                rows.append(row)
            write_rows(rows, path)

    def _lasting(self, cell: Any) -> Any:
        """A cell whose file stays as long as the work does; the copy of an object may be cleared away before."""
        remote = self.source.table.remote
        if remote is None or not isinstance(cell, Media) or not isinstance(cell.source, Path) or cell.fault:
            return cell
        if not cell.source.is_relative_to(remote.cache.root):
            return cell
        path = self.work / "source" / "fetched" / cell.source.relative_to(remote.cache.root)
        if not path.exists():
            with writing(path) as temporary:
                shutil.copyfile(cell.source, temporary)
        return replace(cell, source=path)

    def carry_out(self, engine: Engine) -> list[list[int]]:
        """Every stage of the recipe; returns the places of each stage's ops."""
        stages = stages_of(self.ops)
        for number, places in enumerate(stages):
            first = self.ops[places[0]]
            if first.surveys:
                self._survey(engine, first, number)
            names = ", ".join(self.ops[p].name for p in places)
            self._run(engine, names, [self._job("apply", places, number, part) for part in range(self.count)])
        return stages

    def part(self, stage: int, number: int) -> Path:
        """The file that a part is after a stage; stage -1 is the input."""
        return self.work / f"stage-{stage}" / f"{number:06d}.jsonl"

    def _job(self, task: str, places: Sequence[int], stage: int, number: int) -> PartJob:
        out = self.part(stage, number)
        return PartJob(
            task=task,
            places=list(places),
            number=number,
            part=str(self.part(stage - 1, number)),
            out=str(out.with_suffix(".sketch.npz") if task == "survey" else out),
            work=str(self.work),
            media=str(self.work / f"media-{stage}"),
        )

    def _survey(self, engine: Engine, op: Op, stage: int) -> None:
        settled = self.work / f"state-{op.place}.npz"
        if settled.exists():
            return
        jobs = [self._job("survey", [op.place], stage, number) for number in range(self.count)]
        self._run(engine, f"{op.name}: looking", jobs)
        op.finalize(load_arrays(Path(job.out)) for job in jobs)
        save_arrays(op.state, settled)

    def _run(self, engine: Engine, name: str, jobs: Sequence[PartJob]) -> None:
        stage = self.progress.stage(name, len(jobs))
        for job, event in engine.run(jobs):
            if isinstance(event, Failed):
                first = job.number * self.recipe.batch
                trace = f"\n{event.trace}" if event.trace else ""
                raise PolymodalError(
                    f"Rows {first} to {first + self.recipe.batch - 1} could not be prepared ({name}): {event.reason}"
                    f"{trace}\nNothing is lost: mend the cause and go on with --resume."
                )
            stage.advance()
        stage.end()


def _loaded(value: Any, kind: str) -> Any:
    """A cell that lies in an archive, read; any other as it is. Raises `BadCell` where the archive is damaged."""
    if not isinstance(value, Lazy):
        return value
    content = value.load()
    return content.decode("utf-8", "replace") if KINDS[kind].words else content


def stages_of(ops: Sequence[Op]) -> list[list[int]]:
    """Places of the ops that can be done in one pass: an op that surveys the whole table begins a new one."""
    stages: list[list[int]] = []
    for op in ops:
        if op.surveys or not stages:
            stages.append([op.place])
        else:
            stages[-1].append(op.place)
    return stages


def column_cells(table: Table, column: str, kind: str) -> Callable[[int], Any]:
    """Media as `Media`, anything else as it was read."""
    if kind not in MEDIA_KINDS:
        values = table.column(column)
        return lambda i: _loaded(values[i], kind)
    source = cells(table, Field(column, kind, (column,)))

    def cell(i: int) -> Any:
        try:
            value = source[i]
            return None if value is None else media_of(kind, value)
        except BadCell as error:
            return Media(kind, b"", fault=error.reason)

    return cell
