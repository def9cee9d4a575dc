"""Clouds of points: what no surface can have given is taken out, and what is too dense is thinned."""

from __future__ import annotations

from collections.abc import Sequence

from polymodal.core.values import check_range
from polymodal.data.media.cloud import Cloud, evened
from polymodal.ops.base import CellOp
from polymodal.ops.rows import Row, SetAside


class StrayPoints(CellOp):
    """Takes out points whose mean distance to their `near` nearest is more than `spreads` standard deviations above
    that of the cloud's points (Rusu et al. 2008); with `voxel`, all but one point of each cube of so many metres; and
    sets aside clouds of which fewer than `least` points are left."""

    kinds = ("points",)

    def __init__(
        self,
        *,
        columns: Sequence[str] | str | None = None,
        near: int = 8,
        spreads: float = 3.0,
        voxel: float | None = None,
        least: int = 1,
    ):
        super().__init__(columns=columns)
        self.near, self.spreads, self.voxel, self.least = near, spreads, voxel, least
        check_range("[1, 256]", near=near)
        check_range("(0, inf)", spreads=spreads, voxel=voxel)
        check_range("[1, inf)", least=least)

    def mend(self, value: Cloud, row: Row, column: str) -> Cloud:
        from scipy.spatial import cKDTree

        kept = value if self.voxel is None else evened(value, self.voxel)
        if len(kept) > self.near:
            # A point's nearest is itself; of several at one place their distance is 0, which is right.
            away = cKDTree(kept.places).query(kept.places, self.near + 1)[0][:, 1:].mean(1)
            kept = kept.keep(away <= away.mean() + self.spreads * away.std() + 1e-9)
        if len(kept) < self.least:
            raise SetAside(f"{len(kept)} points are left, fewer than {self.least}")
        return value if len(kept) == len(value) else kept
