"""Augmentation across modalities: streams that go missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.data.media.cell import MEDIA_KINDS
from polymodal.ops.augment.base import Augment, share
from polymodal.ops.rows import Row


class DropStreams(Augment):
    """Copies in which streams are missing (modality dropout, Neverova et al. 2016): each of the columns is emptied with
    probability `chance`, never all of them.

    During `fit` the option `modality_dropout` does the same at every step without copies; this is for tables that
    others train on. `columns` are the streams; by default those of pictures, sound, video, series, scans and text.
    """

    kinds = (*MEDIA_KINDS, "text", "number", "category")

    def __init__(self, *, columns: Sequence[str] | str | None = None, copies: int = 1, chance: float = 0.3):
        super().__init__(columns=columns, copies=copies)
        self.chance = share("chance", chance)

    def bind(self, kinds: Mapping[str, str]) -> dict[str, str]:
        kinds_after = super().bind(kinds)
        if self.columns is None:
            self.chosen = [c for c in self.chosen if kinds[c] not in ("number", "category")]
        if len(self.chosen) < 2:
            raise BadArgument(f"Dropping needs two columns at least, so that one is left; got {self.chosen}.")
        return kinds_after

    def vary(self, row: Row, rng: np.random.Generator) -> None:
        there = [column for column in self.chosen if row.cells.get(column) is not None]
        gone = [column for column in there if rng.uniform() < self.chance]
        if len(gone) == len(there) and gone:
            gone.pop(int(rng.integers(len(gone))))
        for column in gone:
            row.put(column, None)
