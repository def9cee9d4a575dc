"""Augmentation during a fit: copies of the training rows, varied by the ops of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument, suggest
from polymodal.data.media.cell import MEDIA_KINDS, Media
from polymodal.data.tables.source import Table
from polymodal.experiment.plan import Plan
from polymodal.experiment.work import TRAIN
from polymodal.ops import AUGMENT
from polymodal.ops.rows import Refused, Row, Rows
from polymodal.preparation.parts import MediaFolder
from polymodal.preparation.recipe import Recipe, catalogue_of
from polymodal.preparation.run import column_cells, kinds_of, notations_of
from polymodal.targets.base import CLASSES


def augmented(plan: Plan, folder: Path) -> tuple[Plan, list[str]]:
    """The plan with copies of its training rows, as `config.augment` says; and what to tell the user.

    A copy has its source's targets, group and cross-fitting part, so that no encoder learns from a copy of a row that
    it is tested on; rows of validation and test have none. Changed media are written to `folder`, once; everything
    after is as for any other row: processed once, encoded once. Raises `BadArgument` for an op that does not augment.
    """
    recipe = Recipe.read(list(plan.config.augment))
    for step in recipe.steps:
        name = step["name"] if isinstance(step, dict) else step
        if isinstance(name, str) and catalogue_of(name) is not AUGMENT and ":" not in name:
            raise BadArgument(f"{name!r} is no augmentation: use it in `polymodal prepare`.{suggest(name, AUGMENT)}")
    kinds = _kinds(plan)
    labels = {target.name: "category" for target in plan.targets if target.scores == CLASSES}  # for SMOTE, MixUp
    copies, broken = _copies(plan, recipe, kinds, labels, folder)
    notes = [f"{len(copies)} augmented copies of {len(plan.rows('train'))} training rows."]
    if broken:
        notes.append(
            f"{len(broken)} training rows could not be augmented, as in row {broken[0].row.id}: {broken[0].reason}"
        )
    return _extended(plan, copies, list(kinds), folder), notes


def _kinds(plan: Plan) -> dict[str, str]:
    """The kinds of the columns that the fit reads: as its schema has them, numbers and categories by their cells."""
    told = kinds_of(plan.table, _written(plan))
    kinds = {}
    for field in plan.schema.fields.values():
        types = field.options.get("types", {})
        for column in field.columns:
            if column in told:
                kinds[column] = types.get(column, told[column]) if field.about.is_record else field.kind
    return kinds


def _written(plan: Plan) -> dict[str, str]:
    return {k: v for field in plan.schema.fields.values() for k, v in field.options.get("written", {}).items()}


def _copies(
    plan: Plan, recipe: Recipe, kinds: dict[str, str], labels: dict[str, str], folder: Path
) -> tuple[list[Row], list[Refused]]:
    ops = recipe.ops({**kinds, **labels})
    for op in ops:
        op.chosen = [column for column in op.chosen if column not in labels]  # the answer itself is never varied
    cell_of = {name: column_cells(plan.table, name, kind) for name, kind in kinds.items()}
    cell_of |= {name: plan.table.column(name).__getitem__ for name in labels}
    media = MediaFolder(folder, tuple(c for c, k in kinds.items() if k in MEDIA_KINDS))
    numbers, ways = plan.rows("train").tolist(), notations_of(plan.table, kinds, _written(plan))
    rows = [
        Row(plan.table.ids[i], i, {c: cell(i) for c, cell in cell_of.items()}, kinds, "train", notations=ways)
        for i in numbers
    ]
    made: list[Row] = []
    broken: list[Refused] = []
    for op in ops:
        if op.surveys:
            op.finalize([op.partial_fit(Rows(list(rows)))])
        for start in range(0, len(rows), recipe.batch):
            batch = Rows(rows[start : start + recipe.batch])
            op.apply(batch)
            broken += batch.refused
            for row in batch.kept:
                if row.copy:
                    media.keep(row)
                    made.append(row)
            for row in rows[start : start + recipe.batch]:
                _forget(row)
    return made, broken


def _forget(row: Row) -> None:
    for cell in row.cells.values():
        if isinstance(cell, Media):
            cell.forget()


def _extended(plan: Plan, copies: Sequence[Row], columns: Sequence[str], folder: Path) -> Plan:
    source = np.array([copy.number for copy in copies], np.int64)
    table = plan.table.select(source)
    data = {**table.data}
    for column in columns:
        data[column] = [_raw(copy.cells[column], table.data[column][i], folder) for i, copy in enumerate(copies)]
    table = replace(table, data=data, ids=[copy.id for copy in copies], problems=[])
    both = Table.concat([plan.table, table])
    return replace(
        plan,
        table=replace(both, problems=list(plan.table.problems), joined=plan.table.joined),
        truth={name: np.concatenate([values, values[source]]) for name, values in plan.truth.items()},
        split=np.concatenate([plan.split, np.full(len(source), TRAIN, plan.split.dtype)]),
        fold=np.concatenate([plan.fold, plan.fold[source]]),
        part=np.concatenate([plan.part, plan.part[source]]),
    )


def _raw(cell: Any, source: Any, folder: Path) -> Any:
    """The copy's cell as a table holds it; what was not changed is the source's own, to be processed once."""
    if not isinstance(cell, Media):
        return cell
    ours = isinstance(cell.source, Path) and folder in cell.source.parents
    return str(cell.source.resolve()) if isinstance(cell.source, Path) and ours else source
