"""The one way to open a cloud of points, and to keep some of them that do not depend on the order of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.core.shown import many
from polymodal.data.media.cloud_files import FARTHEST, Columns, columns_of, of_array
from polymodal.data.media.files import opened
from polymodal.data.media.picture import open_picture
from polymodal.data.media.remarks import remark

EXACT = 1e4  # metres: float32 tells millimetres up to here; what lies farther is counted from nearby
STEP = 1e3  # metres, multiples of which are taken off what lies farther
CARD_SIDE = 640  # pixels: the longer side of the picture that is kept with its points
_SAME = {
    "r": "red", "g": "green", "b": "blue", "diffuse_red": "red", "diffuse_green": "green", "diffuse_blue": "blue",
    "reflectance": "intensity", "reflectivity": "intensity", "remission": "intensity", "i": "intensity",
    "scalar_intensity": "intensity", "nx": "normal_x", "ny": "normal_y", "nz": "normal_z", "radar_cross_section": "rcs",
}  # fmt: skip
_NO_FEATURES = ("rgba", "alpha")


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points: `places` float32 [n, 3] in metres, `features` float32 [n, K] called `names`, NaN where not measured.

    `total` is how many there were before some were left out on purpose; `shift` what was taken off the file's
    coordinates. Of a calibrated cloud `picture` uint8 [H, W, 3] is what the camera saw and `pixels` float32 [n, 2]
    where in it, from left and top, the points lie; NaN outside.
    """

    places: np.ndarray
    features: np.ndarray
    names: tuple[str, ...]
    total: int
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    picture: np.ndarray | None = None
    pixels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.places)

    def table(self) -> np.ndarray:
        """[n] records of places, as the file had them, and features, by name."""
        exact = "f8" if any(self.shift) else "f4"
        kind = np.dtype([*((axis, exact) for axis in "xyz"), *((name, "f4") for name in self.names)])
        made = np.zeros(len(self), kind)
        for at, axis in enumerate("xyz"):
            made[axis] = self.places[:, at] + np.float64(self.shift[at])
        for name, values in zip(self.names, self.features.T):
            made[name] = values
        return made

    def keep(self, rows: np.ndarray) -> Cloud:
        """The points of `rows`, numbers or bool [n]; `total` stays."""
        pixels = None if self.pixels is None else self.pixels[rows]
        return replace(self, places=self.places[rows], features=self.features[rows], pixels=pixels)


def read_cloud(source: Path | bytes | np.ndarray | Sequence[Any], columns: Sequence[str] | None = None) -> Cloud:
    """The points of a file (PLY, PCD, LAS, LAZ, STL, OBJ, NPY, NPZ, rows of float32, lines of text), of an array
    [n, 3 or more], or of a list of them, as the sweeps of one scene.

    `columns` name those of files and arrays that name none; without it they are x, y, z and intensity, as KITTI's.
    Points whose place is no number are left out, which a `remark` says. Raises `BadCell`; `MissingExtra` for LAS
    and LAZ without what reads them (extra `points`).
    """
    if isinstance(source, list | tuple):
        return _together([read_cloud(one, columns) for one in source])
    if isinstance(source, np.ndarray):
        return _cloud(of_array(source, columns))
    if not isinstance(source, Path | bytes):
        raise BadCell(f"is {str(source)[:40]!r}, where points were expected: a file, or a list of [x, y, z]")
    with opened(source) as stream:
        suffix = source.suffix.lower() if isinstance(source, Path) else ".bin"
        return _cloud(columns_of(stream.read(), columns, suffix))


def _cloud(columns: Columns) -> Cloud:
    columns = {_SAME.get(name.lower().strip(), name.lower().strip()): values for name, values in columns.items()}
    if lacking := [axis for axis in "xyz" if axis not in columns]:
        raise BadCell(f"has no column {lacking[0]!r} among {', '.join(columns)[:200] or 'none'}: places are x, y, z")
    places = np.stack([np.asarray(columns.pop(axis), np.float64) for axis in "xyz"], 1)
    if not len(places):
        raise BadCell("holds no point")
    with np.errstate(invalid="ignore"):
        known = (np.abs(places) < FARTHEST * 10).all(1)  # of NaN too: False
    if not known.any():
        raise BadCell("holds no point whose place is a number: export it again")
    columns = _coloured({name: np.asarray(values) for name, values in columns.items()})
    features = np.zeros((len(places), len(columns)), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for at, values in enumerate(columns.values()):
            features[:, at] = values
    features[~np.isfinite(features)] = np.nan
    if not known.all():
        remark("has points whose place is no number, which are left out")
        places, features = places[known], features[known]
    shift = np.zeros(3)
    if np.abs(places).max() > EXACT:
        shift = np.floor(places.min(0) / STEP) * STEP
        remark("lies far from the origin of its coordinates; they are counted from a corner nearby")
    near = (places - shift).astype(np.float32) + np.float32(0)  # no -0.0
    return Cloud(near, features, tuple(columns), len(places), (float(shift[0]), float(shift[1]), float(shift[2])))


def _coloured(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Colours that are packed in one number (PCL's `rgb`) as three; names that mean nothing left out."""
    packed = columns.pop("rgb", None)
    if packed is not None and packed.dtype.itemsize >= 4:
        bits = packed.astype(np.float32).view(np.uint32) if packed.dtype.kind == "f" else packed.astype(np.uint32)
        columns |= {name: bits >> shift & 255 for name, shift in (("red", 16), ("green", 8), ("blue", 0))}
    kept = {name: values for name, values in columns.items() if values.dtype.kind in "biuf"}
    return {name: values for name, values in kept.items() if name not in _NO_FEATURES and name[:1] != "_"}


def _together(clouds: Sequence[Cloud]) -> Cloud:
    """Several clouds as one, with the features that all of them have."""
    if not clouds:
        raise BadCell("is an empty list, without a point")
    names = tuple(name for name in clouds[0].names if all(name in one.names for one in clouds))
    shift = np.array(clouds[0].shift)
    places = [(one.places + (np.array(one.shift) - shift)).astype(np.float32) for one in clouds]
    features = [one.features[:, [one.names.index(name) for name in names]] for one in clouds]
    total = sum(one.total for one in clouds)
    return Cloud(np.concatenate(places), np.concatenate(features), names, total, clouds[0].shift)


# --- fewer points ---


def thinned(cloud: Cloud, most: int) -> Cloud:
    """At most `most` of the points, drawn by chance that hangs on each point alone, in an order that does too.

    So a cloud gives the same points however its rows are ordered, and the first k of them are such a draw again.
    """
    luck = _luck(cloud)
    rows = np.argpartition(luck, most)[:most] if len(cloud) > most else np.arange(len(cloud))
    return cloud.keep(rows[np.argsort(luck[rows], kind="stable")])


def evened(cloud: Cloud, side: float) -> Cloud:
    """One point of each cube of `side` metres, so that what is near is not told by most of the points."""
    with np.errstate(over="ignore", invalid="ignore"):
        cube = _mixed(np.floor(cloud.places.astype(np.float64) / side).astype(np.int64).view(np.uint64))
    order = np.lexsort((_luck(cloud), cube))
    first = np.r_[True, np.diff(cube[order].view(np.int64)) != 0]
    return cloud.keep(order[first])


def _luck(cloud: Cloud) -> np.ndarray:
    """uint64 [n]: a number for each point that its values alone decide."""
    values = np.concatenate([cloud.places, np.nan_to_num(cloud.features, nan=-1e30) + np.float32(0)], 1)
    return _mixed(np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64))


def _mixed(values: np.ndarray) -> np.ndarray:
    """uint64 [n] of uint64 [n, K], by the steps of SplitMix64 (Steele, Lea & Flood 2014)."""
    made = np.full(len(values), 0x9E3779B97F4A7C15, np.uint64)
    for column in values.T:
        made = (made ^ column) + np.uint64(0x9E3779B97F4A7C15)
        made = (made ^ made >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        made = (made ^ made >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        made ^= made >> np.uint64(31)
    return made


# --- calibration ---


def projected(cloud: Cloud, projection: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points lie in a picture by its 3 x 4 `projection`: float64 [n, 2] from left and top in pixels, and their
    depths [n] in metres before the camera. The matrix takes places as the file has them."""
    places = cloud.places + np.array(cloud.shift)
    seen = places @ projection[:, :3].T + projection[:, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(seen[:, 2:] > 0, seen[:, :2] / seen[:, 2:], np.nan), seen[:, 2]


def photographed(cloud: Cloud, projection: np.ndarray, camera: Any, *, paint: bool = True) -> Cloud:
    """The cloud with its camera's picture, and where in it the points lie; `paint` gives each the colours that are
    there as features (PointPainting, Vora et al. 2020), which points outside of the picture lack. Raises `BadCell`."""
    picture = open_picture(camera).convert("RGB")
    pixels, _ = projected(cloud, projection)
    wide, high = picture.size
    with np.errstate(invalid="ignore"):
        inside = ((pixels >= 0) & (pixels < (wide, high))).all(1)
    pixels[~inside] = np.nan
    if not inside.any():
        remark("has no point that its calibration places in the picture")
    if paint:
        colours = np.full((len(cloud), 3), np.nan, np.float32)
        at = pixels[inside].astype(int)
        colours[inside] = np.asarray(picture)[at[:, 1], at[:, 0]]
        names = (*cloud.names, "camera_red", "camera_green", "camera_blue")
        cloud = replace(cloud, features=np.concatenate([cloud.features, colours], 1), names=names)
    scale = min(1.0, CARD_SIDE / max(wide, high))
    picture.thumbnail((CARD_SIDE, CARD_SIDE))
    return replace(cloud, picture=np.asarray(picture), pixels=(pixels * scale).astype(np.float32))


def in_words(cloud: Cloud) -> str:
    """How many points, how far they reach, and what is known of each."""
    extent = " × ".join(f"{one:.3g}" for one in np.ptp(cloud.places, axis=0)) if len(cloud) else "0"
    features = f"; {', '.join(cloud.names)}" if cloud.names else ""
    return f"{many(cloud.total, 'point')}, {extent} m{features}"
