"""Clouds of points from lidar, radar and depth cameras, or of things that were scanned, to a fixed number of points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadCell, suggest
from polymodal.core.values import check_range
from polymodal.data.media.calibration import Calibrated
from polymodal.data.media.cloud import Cloud, evened, in_words, photographed, read_cloud, thinned
from polymodal.data.media.remarks import remark
from polymodal.process.base import Processor

NORMALIZE = ("none", "centre", "unit")
UP = {"z": np.eye(3)[[0, 1, 2]], "y": np.eye(3)[[2, 0, 1]], "-y": np.diag([1, -1, -1]) @ np.eye(3)[[2, 0, 1]]}
MOST = 1024  # points of a cloud, when their number is chosen
WORKING = 8192  # that `read` keeps, or as many as are asked for
SHOWN = 4096  # that a card shows
LIMIT = 10.0  # deviations of a feature


class PointsProcessor(Processor):
    """Reads clouds as `data.media.cloud` does and keeps `count` points of each, the same whatever their order.

    `count` None: as many as the largest training cloud has, at most 1,024. `within` keeps points up to so many metres
    from the origin; `voxel` one point of each cube of so many metres. `normalize`: `none` keeps metres as measured from
    the sensor; `centre` takes the middle of the cloud off; `unit` makes its farthest point lie 1 from there, too, for
    things whose size means nothing. `up` is the axis of the files that points upwards: `z`, as of lidar and maps, `y`,
    as of many meshes, or `-y`, as in the coordinates of a camera (x right, y down, z ahead); places are then turned so
    that x is ahead, y left and z up. `columns` name the columns of files that name none: None is x, y, z, intensity.
    `features` are the ones of a point that are used: None, those that half of the training clouds have. Of a field with
    `projection` and `camera` columns, `paint` gives each point the colours of the picture there (Vora et al. 2020).

    Arrays: `points` float32 [N, count, 3 + K], places and features in units of their spread in training, zero behind
    the `length` int32 [N]; `total` int32 [N], how many points there were; `frame` float32 [N, 4], the middle and the
    size that were taken off, which lead back to metres. Facts: `points`, `features`.
    """

    kind = "points"
    at_once = 16  # half a megabyte each, before its points are so few

    def __init__(
        self,
        *,
        count: int | None = None,
        within: float | None = None,
        voxel: float | None = None,
        normalize: str = "none",
        up: str = "z",
        columns: Sequence[str] | None = None,
        features: Sequence[str] | None = None,
        paint: bool = True,
    ):
        check_range("[1, 65536]", "points", count=count)
        check_range("(0, inf)", "metres", within=within, voxel=voxel)
        for name, given, allowed in (("normalize", normalize, NORMALIZE), ("up", up, UP)):
            if given not in allowed:
                raise BadArgument(f"Unknown {name} {given!r}.{suggest(given, allowed)}")
        if columns is not None and not {"x", "y", "z"} <= set(columns):
            raise BadArgument(f"columns name x, y, z and what else a file holds, in order; got {', '.join(columns)}.")
        self.count, self.within, self.voxel, self.normalize = count, within, voxel, normalize
        self.up, self.columns, self.features, self.paint = up, columns, features, paint
        self.count_ = count or MOST
        self.names_: list[str] | None = None
        self.scale_: list[list[float]] = []  # mean and spread of each feature

    def read(self, cell: Any) -> Cloud:
        """A path, bytes, an array [n, 3 or more] or a list of them, or a `Calibrated` one, to a cloud in metres, of at
        most 8,192 points. Raises `BadCell`."""
        whole = cell if isinstance(cell, Calibrated) else Calibrated(cell, None, None)
        source = Path(whole.source) if isinstance(whole.source, str) else whole.source
        cloud = read_cloud(source, self.columns)
        if self.within is not None:
            near = np.linalg.norm(cloud.places, axis=1) <= self.within
            if not near.any():
                raise BadCell(f"has no point within {self.within:g} m of the origin of its coordinates")
            cloud = replace(cloud.keep(near), total=int(near.sum()))
        if self.voxel is not None:
            cloud = evened(cloud, self.voxel)
        cloud = thinned(cloud, max(WORKING, self.count or 0))
        if whole.projection is not None and whole.camera is not None:
            try:
                cloud = photographed(cloud, np.reshape(whole.projection, (3, 4)), whole.camera, paint=self.paint)
            except BadCell as error:
                remark(f"lacks its camera's picture, which {error.reason}")
        return replace(cloud, places=cloud.places @ UP[self.up].T.astype(np.float32))

    def fit(self, cells: Iterable[Cloud]) -> None:
        """Choose the number of points and the features, and the scale of each, from decoded training clouds."""
        clouds, longest = 0, 1
        have: Counter[str] = Counter()
        sums: dict[str, np.ndarray] = {}
        for cloud in cells:
            clouds += 1
            longest = max(longest, len(cloud))
            known = np.isfinite(cloud.features)
            values = np.where(known, cloud.features, 0).astype(np.float64)
            counts = known.sum(0)
            for name, *moments in zip(cloud.names, counts, values.sum(0), np.square(values).sum(0)):
                have[name] += 1
                # Each cloud counts alike: one of many points would else decide alone.
                sums[name] = sums.get(name, np.zeros(3)) + np.array(moments) / max(1, moments[0])
        self.count_ = self.count or min(MOST, longest)
        chosen = [name for name in have if 2 * have[name] >= clouds] if self.features is None else list(self.features)
        if lacking := [name for name in chosen if clouds and name not in have]:
            near = suggest(lacking[0], have)
            raise BadArgument(f"No training cloud has the feature {lacking[0]!r}.{near}")
        self.names_ = chosen
        self.scale_ = []
        for name in chosen:
            count, total, squares = sums.get(name, np.zeros(3))
            mean = total / max(1.0, count)
            self.scale_.append([float(mean), float(np.sqrt(max(0.0, squares / max(1.0, count) - mean**2)) or 1.0)])

    def process(self, cells: Sequence[Cloud]) -> dict[str, np.ndarray]:
        """Decoded clouds to `points`, `length`, `total` and `frame`; see the class."""
        names = self.fitted(self.names_)
        points = np.zeros((len(cells), self.count_, 3 + len(names)), np.float32)
        length, total = (np.zeros(len(cells), np.int32) for _ in range(2))
        frame = np.zeros((len(cells), 4), np.float32)
        for row, cloud in enumerate(cells):
            places = cloud.places[: self.count_]  # which `thinned` put in an order of chance
            middle, size = self._frame(places)
            kept = length[row] = len(places)
            points[row, :kept, :3] = (places - middle) / size
            for at, (name, (mean, spread)) in enumerate(zip(names, self.scale_)):
                if name in cloud.names:
                    values = cloud.features[:kept, cloud.names.index(name)]
                    points[row, :kept, 3 + at] = np.nan_to_num((values - mean) / spread).clip(-LIMIT, LIMIT)
            total[row], frame[row] = min(cloud.total, 2**31 - 1), (*middle, size)
        return {"points": points, "length": length, "total": total, "frame": frame}

    def _frame(self, places: np.ndarray) -> tuple[np.ndarray, float]:
        if self.normalize == "none":
            return np.zeros(3, np.float32), 1.0
        middle = places.mean(0, dtype=np.float64).astype(np.float32)
        far = float(np.linalg.norm(places - middle, axis=1).max(initial=0)) if self.normalize == "unit" else 1.0
        return middle, far or 1.0

    def facts(self) -> dict[str, Any]:
        return {"points": self.count_, "features": list(self.fitted(self.names_))}

    def state(self) -> dict[str, Any]:
        return {"count": self.count_, "names": list(self.fitted(self.names_)), "scale": self.scale_}

    def load_state(self, state: dict[str, Any]) -> None:
        self.count_, self.names_ = int(state["count"]), list(state["names"])
        self.scale_ = [list(map(float, one)) for one in state["scale"]]

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Noise whose deviation is `level` times the spread of the cloud on every place and feature."""
        points = inputs["points"]
        real = (torch.arange(points.shape[1]) < inputs["length"][:, None])[..., None]
        count = real.sum(1, keepdim=True).clamp(min=1)
        away = (points - (points * real).sum(1, keepdim=True) / count) * real
        spread = (away.square().sum(1, keepdim=True) / count).sqrt()
        noise = torch.randn(points.shape, generator=generator)
        return {**inputs, "points": points + level * spread * noise * real}

    def show(self, cell: Cloud) -> dict[str, Any]:
        """Its places float32 [n, 3], x ahead, y left and z up; what a camera saw, and where in it they lie."""
        some = cell.keep(np.arange(min(len(cell), SHOWN)))
        seen = {} if some.picture is None else {"picture": some.picture, "pixels": some.pixels}
        return {"kind": "points", "array": some.places, "made": in_words(cell), **seen}
