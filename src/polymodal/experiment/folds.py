"""Into which parts the rows of a fit are cut: for its split, for cross-fitting and for evidence by folds."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polymodal.config import Config
from polymodal.core.errors import BadArgument
from polymodal.data.copies import held_together
from polymodal.data.schema import Schema
from polymodal.data.split import fold_ids, units
from polymodal.data.tables.table import Table
from polymodal.targets.base import Target, asked, fitted

ENOUGH = 1000  # validation rows from which they are evidence enough
LEAST_PARTS = 5  # of evidence by folds
LEAST_SEEDS = 3  # seeds from which evidence by folds is affordable: who asks for fewer trainings gets no more
PARTS_OF_FITTED = 5  # what is fitted in one go costs little, so that its parts may be many
PARTS_OF_MANY, MANY = 3, 2000  # but fewer from so many rows: what a part lacks is then missed little, and costs more


def parts_of_fitted(rows: int) -> int:
    """Into how many parts so many training rows are cut for what is fitted in one go."""
    return PARTS_OF_FITTED if rows < MANY else PARTS_OF_MANY


def split_by(table: Table, schema: Schema) -> dict[str, Any]:
    """By what a split of these rows is stratified, and what stays together (see `data.split.split_rows`)."""
    name, kind = next(iter(schema.targets.items()))
    labels = None
    if type(asked(name, kind)).strata is not Target.strata:  # else nothing needs to be learned or opened for it
        target = fitted(name, kind, table.column(name))
        labels = target.strata(target.encode(table.column(name)))
    return {"labels": labels, "groups": held_together(table, schema)}


@dataclass(frozen=True)
class Folds:
    """Cuts rows: stratified by `labels` [N], and whole by `groups` [N]; None of either is no such demand.

    `timed`: what is judged must come after what is learned, which no parts of all rows respect.
    """

    labels: np.ndarray | None
    groups: Sequence[Hashable] | None
    seed: int
    timed: bool = False

    def crossfit(self, learned: np.ndarray, parts: int) -> np.ndarray:
        """[N] the part of the rows `learned` [N] bool each belongs to; 0 for others, and where they are too few."""
        fold = np.zeros(len(learned), dtype=np.int8)
        rows = np.flatnonzero(learned)
        parts = min(parts, self._units(rows))
        if parts > 1 and len(rows) >= 2 * parts:
            fold[rows] = self._cut(rows, parts, self.seed)
        return fold

    def evidence(self, split: np.ndarray, config: Config, apart: bool) -> np.ndarray:
        """[N] the part, from 1, of each training and validation row by which strategies are judged; all 0: no parts.

        Parts need tokens that no encoder learned from, and rows enough for each; what is trained further by validation
        rows (`apart`, fine-tuning) is judged by these alone. Raises `BadArgument` where folds were asked for all the
        same.
        """
        none, rows = np.zeros(len(split), np.int8), np.flatnonzero(split < 2)
        parts = max(LEAST_PARTS, config.seeds)
        why = (
            "the later validation rows decide, where there is a time" if self.timed
            else "links, objectives and written answers go by validation rows" if apart
            else "copies of rows" if config.augment
            else "fine-tuning goes by validation rows" if config.finetune
            else "cross-fitting is off" if not config.crossfit
            else f"they want {parts} rows a part, and groups" if len(rows) < parts**2 or self._units(rows) < parts
            else ""
        )  # fmt: skip
        if config.evidence == "folds" and why:
            raise BadArgument(f"evidence=folds does not go here: {why}. Leave it out, or say evidence=validation.")
        few = (split == 1).sum() < ENOUGH and config.seeds >= LEAST_SEEDS
        if why or config.evidence == "validation" or (config.evidence == "auto" and not few):
            return none
        none[rows] = 1 + self._cut(rows, parts, self.seed + 1)
        return none

    def tied(self) -> int:
        """How many rows share a group with one before them."""
        return len(self.groups) - self._units(np.arange(len(self.groups))) if self.groups else 0

    def _units(self, rows: np.ndarray) -> int:
        """How many rows, or groups of them, there are to share out."""
        return int(units(self._groups(rows), len(rows)).max(initial=-1)) + 1

    def _cut(self, rows: np.ndarray, parts: int, seed: int) -> np.ndarray:
        labels = None if self.labels is None else self.labels[rows]
        return fold_ids(len(rows), parts, labels=labels, groups=self._groups(rows), seed=seed)

    def _groups(self, rows: np.ndarray) -> list[Hashable] | None:
        return None if self.groups is None else [self.groups[i] for i in rows]
