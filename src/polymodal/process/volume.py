"""Scans of bodies: files, series of slices or arrays to grids of equal voxels, seen through a window."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from polymodal.core.errors import BadArgument, BadCell, suggest
from polymodal.core.values import check_range
from polymodal.data.media.scan import read_scan
from polymodal.data.media.volume import Volume
from polymodal.process.base import Processor
from polymodal.process.image import noisy

WINDOWS = ("auto", "scan", "training", "file")
SIDE = 48  # voxels, when the side is chosen; of scans of one slice, which are pictures, twice as many
DEEPEST = 2  # times as many slices as a side has voxels, at most, when their number is chosen
WORKING = 160  # voxels a side that `read` keeps, or twice as many as are asked for
AIR = -500.0  # what lies below is on Hounsfield's scale: no other scanner's values do
ENDS = (0.5, 99.5)  # percentiles that a window keeps


class _Looks(NamedTuple):
    """What is chosen by, of a training scan: its voxels and millimetres along the axes, its percentiles, and whether
    its values are Hounsfield's."""

    shape: tuple[int, ...]
    extent: list[float]
    ends: list[float]
    same: bool


class ScanReader(Processor):
    """Abstract: what processors of scans share, reading them and seeing them through a window.

    `window` says which values become black and white. `scan`: each scan's own 0.5th and 99.5th percentile, for scanners
    whose values mean something else every time, as an MR's do. `training`: the same for all scans, the medians of the
    training scans' percentiles, where they mean the same, as a CT's do. `auto`: the latter where all training scans
    are CTs, or reach below -500, else the former. `file`: as each file says, else its own percentiles. Or [centre,
    width], in the scans' units.
    """

    kind = "volume"
    at_once = 4  # 16 MB each, and more where a finer grid is asked for

    def __init__(self, window: str | Sequence[float]):
        if isinstance(window, str):
            if window not in WINDOWS:
                raise BadArgument(f"Unknown window {window!r}.{suggest(window, WINDOWS)}")
        elif len(window) != 2 or any(isinstance(one, str) for one in window) or not 0 < window[1] < np.inf:
            raise BadArgument(f"window is a word or [centre, width], the width above 0; got {window!r}.")
        self.window = window
        self.ends_: list[float] | None = None  # the values that are black and white in all scans

    def scan(self, cell: Any, least: int) -> Volume:
        """A path, a folder's path, bytes, an array or a list of slices, shrunk to at most `least` voxels a side.

        Raises `BadCell`."""
        scan = read_scan(cell if isinstance(cell, bytes | np.ndarray | list | tuple) else Path(cell))
        known = np.isfinite(scan.values)
        if not known.any():
            raise BadCell("holds no value that is a number: export it again")
        if not known.all():
            scan = replace(scan, values=np.where(known, scan.values, scan.values[known].min()))
        return shrunk(scan, [min(size, least) for size in scan.values.shape])

    def fit(self, cells: Iterable[Volume]) -> None:
        """Choose what is black and white, and more, from decoded training scans, of which one at a time is held."""
        self._settle([_Looks(one.values.shape, _extent(one), _ends(one), _absolute(one)) for one in cells])

    def _settle(self, scans: Sequence[_Looks]) -> None:
        if isinstance(self.window, str):
            same = scans and (self.window == "training" or (self.window == "auto" and all(one.same for one in scans)))
            self.ends_ = np.median([one.ends for one in scans], axis=0).tolist() if same else None
        else:
            centre, width = map(float, self.window)
            self.ends_ = [centre - width / 2, centre + width / 2]

    def seen(self, scan: Volume) -> np.ndarray:
        """Values float32 [slices, H, W] from 0, black, to 255."""
        low, high = self.ends_ or _ends(scan)
        if self.window == "file" and scan.window:
            low, high = scan.window[0] - scan.window[1] / 2, scan.window[0] + scan.window[1] / 2
        grey = ((scan.values - low) / max(high - low, 1e-6)).clip(0, 1) * 255
        return 255 - grey if scan.inverted else grey

    def state(self) -> dict[str, Any]:
        return {"ends": self.ends_}

    def load_state(self, state: dict[str, Any]) -> None:
        self.ends_ = state["ends"]

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """White noise whose deviation is 2 · `level` times that of the scan: SNR = -20 log10(2 · level) dB."""
        return {**inputs, "pixels": noisy(inputs["pixels"].float(), level, generator)}

    def show(self, cell: Volume) -> dict[str, Any]:
        """Its grey values uint8 [slices, H, W], the spacing of the three axes in millimetres, and what made it."""
        made = cell.tags.get("Modality", "")
        return {"kind": "volume", "array": self.seen(cell).astype(np.uint8), "spacing": cell.spacing, "made": made}


class VolumeProcessor(ScanReader):
    """Reads scans as `data.media.scan` does and resamples them to one grid of voxels that are cubes.

    `spacing` is the side of a voxel in millimetres; None: such that the median training scan just fits, by its height
    and width, into `size` x `size` voxels (None: the median shorter side of their slices, at most 48, or 96 where they
    have one slice). `slices` is how many there are
    (None: as many as the median training scan then has, at most twice `size`). A scan's middle becomes the grid's:
    what lies outside is cut, what it lacks is black. For `window` see `ScanReader`.

    Arrays: `pixels` uint8 [N, slices, 1, size, size]. Facts: `channels` 1, `size`, `slices`, `spacing`.
    """

    def __init__(
        self,
        *,
        size: int | None = None,
        slices: int | None = None,
        spacing: float | None = None,
        window: str | Sequence[float] = "auto",
    ):
        super().__init__(window)
        check_range("[4, 512]", "voxels", size=size)
        check_range("[1, 1024]", slices=slices)
        check_range("[0.001, 1000]", "millimetres", spacing=spacing)
        self.size, self.slices, self.spacing = size, slices, spacing
        self.size_, self.slices_, self.spacing_ = size or SIDE, slices or size or SIDE, spacing or 1.0

    def read(self, cell: Any) -> Volume:
        """A path, bytes, an array or a list of slices to the scan, at working size. Raises `BadCell`."""
        return self.scan(cell, max(WORKING, 2 * (self.size or 0), self.slices or 0))

    def _settle(self, scans: Sequence[_Looks]) -> None:
        """The grid too."""
        super()._settle(scans)
        if not scans:
            return
        deep, high, wide = (statistics.median(each) for each in zip(*(scan.extent for scan in scans)))
        flat = statistics.median(scan.shape[0] for scan in scans) == 1
        native = int(statistics.median(min(scan.shape[1:]) for scan in scans))
        self.size_ = self.size or max(4, min(native, 2 * SIDE if flat else SIDE))
        self.spacing_ = self.spacing or max(high, wide) / self.size_
        found = 1 if flat else min(max(1, round(deep / self.spacing_)), DEEPEST * self.size_)
        self.slices_ = self.slices or found

    def process(self, cells: Sequence[Volume]) -> dict[str, np.ndarray]:
        """Decoded scans to `pixels`."""
        pixels = np.zeros((len(cells), self.slices_, 1, self.size_, self.size_), np.uint8)
        for row, scan in enumerate(cells):
            pixels[row, :, 0] = self._grid(replace(scan, values=self.seen(scan), inverted=False))
        return {"pixels": pixels}

    def facts(self) -> dict[str, Any]:
        return {"channels": 1, "size": self.size_, "slices": self.slices_, "spacing": self.spacing_}

    def state(self) -> dict[str, Any]:
        return {**super().state(), "size": self.size_, "slices": self.slices_, "spacing": self.spacing_}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.size_, self.slices_, self.spacing_ = int(state["size"]), int(state["slices"]), float(state["spacing"])

    def _grid(self, scan: Volume) -> np.ndarray:
        """uint8 [slices_, size_, size_]; a grid of one slice shows the middle one."""
        want = (self.slices_, self.size_, self.size_)
        if self.slices_ == 1:
            middle = len(scan.values) // 2
            scan = replace(scan, values=scan.values[middle : middle + 1], spacing=(self.spacing_, *scan.spacing[1:]))
        # What would be cut away is never resampled: a sheet of paper beside a crumb would fill the memory.
        spared = []
        for size, step, most in zip(scan.values.shape, scan.spacing, want):
            keep = min(size, max(1, int(np.ceil((most + 2) * self.spacing_ / step))))
            spared.append(slice((size - keep) // 2, (size - keep) // 2 + keep))
        scan = replace(scan, values=scan.values[tuple(spared)])
        target = [max(1, round(extent / self.spacing_)) for extent in _extent(scan)]
        target = [min(goal, most) if size == 1 else goal for goal, size, most in zip(target, scan.values.shape, want)]
        values = resampled(scan.values, target)
        made = np.zeros(want, np.float32)
        source, goal = zip(*(_middles(have, most) for have, most in zip(values.shape, want)))
        made[goal] = values[source]
        return made.round().clip(0, 255).astype(np.uint8)


def shrunk(scan: Volume, sizes: Sequence[int]) -> Volume:
    """The scan at so many voxels, none more than it has; their spacing grows alike."""
    if tuple(sizes) == scan.values.shape:
        return scan
    spacing = [step * have / size for step, have, size in zip(scan.spacing, scan.values.shape, sizes)]
    return replace(scan, values=resampled(scan.values, sizes), spacing=(spacing[0], spacing[1], spacing[2]))


def resampled(values: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """float32 [slices, H, W] to other sizes: means of what falls into a voxel where there are fewer, else linear."""
    x = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None, None]
    deep, high, wide = (min(have, want) for have, want in zip(values.shape, sizes))
    if x.shape[2:] != (deep, high, wide):
        x = F.adaptive_avg_pool3d(x, (deep, high, wide))
    if x.shape[2:] != tuple(sizes):
        x = F.interpolate(x, tuple(sizes), mode="trilinear")
    return x[0, 0].numpy()


def _extent(scan: Volume) -> list[float]:
    """Millimetres along the three axes."""
    return [size * step for size, step in zip(scan.values.shape, scan.spacing)]


def _ends(scan: Volume) -> list[float]:
    low, high = np.percentile(scan.values, ENDS)
    return [float(low), float(high)]


def _absolute(scan: Volume) -> bool:
    """Whether its values are Hounsfield's."""
    return scan.tags.get("Modality") == "CT" or float(scan.values.min()) <= AIR


def _middles(have: int, want: int) -> tuple[slice, slice]:
    """Of a line of `have` and one of `want`: the parts of both that lie on one another when their middles do."""
    both = min(have, want)
    return slice((have - both) // 2, (have - both) // 2 + both), slice((want - both) // 2, (want - both) // 2 + both)
