"""Where things are in a picture that was moved: boxes and areas that annotations keep beside it follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from polymodal.core.errors import BadCell
from polymodal.ops.rows import Row

LEAST = 0.25  # of a box must be left in the picture for it to be kept


def areas_of(kinds: Mapping[str, str]) -> set[str]:
    """Columns that are no photos but the areas of one, as `segments` writes them: `photo_segments` beside `photo`."""
    return {f"{column}_segments" for column, kind in kinds.items() if kind == "image"} & set(kinds)


def follow(row: Row, column: str, matrix: np.ndarray, size: tuple[int, int]) -> None:
    """Move what `objects` and `segments` said of the picture in `column`. `matrix` [3, 3] sends places of the new
    picture to those of the old. Raises `BadCell` for boxes of another form than theirs."""
    if row.cells.get(f"{column}_boxes") is not None:
        _follow_boxes(row, column, matrix, size)
    if row.cells.get(f"{column}_segments") is not None:
        _follow_areas(row, column, matrix)


def moved(box: list[float], matrix: np.ndarray, size: tuple[int, int]) -> list[int] | None:
    """Left, top, right, bottom of the box in the new picture; None where less than a quarter of it is left."""
    left, top, right, bottom = box
    corners = np.array([[left, right, right, left], [top, top, bottom, bottom], [1, 1, 1, 1]], float)
    there = np.linalg.inv(matrix) @ corners
    x, y = there[:2] / there[2]
    whole = (x.max() - x.min()) * (y.max() - y.min())
    sides = np.clip([x.min(), y.min(), x.max(), y.max()], 0, [*size, *size])
    seen = (sides[2] - sides[0]) * (sides[3] - sides[1])
    return None if whole <= 0 or seen < LEAST * whole else [int(side) for side in sides.round()]


def _follow_boxes(row: Row, column: str, matrix: np.ndarray, size: tuple[int, int]) -> None:
    try:
        boxes = [(label, sure, [*map(float, box)]) for label, sure, box in json.loads(row.cells[f"{column}_boxes"])]
        places = [moved(box, matrix, size) for _, _, box in boxes]
    except (TypeError, ValueError) as error:
        raise BadCell(
            f"the column {column}_boxes does not hold boxes as `objects` writes them ([[label, confidence, [left, top, "
            "right, bottom]], …] in pixels), so that they cannot move with the picture: rename the column"
        ) from error
    kept = [[label, sure, place] for (label, sure, _), place in zip(boxes, places) if place is not None]
    told: dict[str, Any] = {
        "boxes": json.dumps(kept, ensure_ascii=False),
        "objects": ", ".join(str(label) for label, _, _ in kept),
        "objects_count": len(kept),
        "objects_confidence": kept[0][1] if kept else None,
    }
    for suffix, value in told.items():
        if f"{column}_{suffix}" in row.cells:
            row.put(f"{column}_{suffix}", value)


def _follow_areas(row: Row, column: str, matrix: np.ndarray) -> None:
    areas = row.get(f"{column}_segments")
    if not isinstance(areas, Image.Image):
        return
    new = warp(areas, matrix, Image.Resampling.NEAREST)
    row.put(f"{column}_segments", new)
    if row.cells.get(f"{column}_parts") is None:
        return
    numbers, counts = np.unique(np.asarray(new), return_counts=True)
    shares = dict(zip(numbers.tolist(), (counts / counts.sum()).tolist()))
    parts = [[k, *told, round(shares[k], 4)] for k, *told, _ in json.loads(row.cells[f"{column}_parts"]) if k in shares]
    row.put(f"{column}_parts", json.dumps(sorted(parts, key=lambda part: -part[-1])))
    if f"{column}_segments_count" in row.cells:
        row.put(f"{column}_segments_count", len(parts))


def warp(
    picture: Image.Image, matrix: np.ndarray, resample: Image.Resampling = Image.Resampling.BILINEAR
) -> Image.Image:
    """The picture at the places where `matrix` [3, 3] sends each pixel; beyond its edge the nearest pixel."""
    wide, high = picture.size
    margin = _beyond(matrix, wide, high)
    edges = ((margin, margin), (margin, margin), (0, 0))[: np.asarray(picture).ndim]
    padded = Image.fromarray(np.pad(np.asarray(picture), edges, "edge")) if margin else picture
    inside = np.array([[1, 0, margin], [0, 1, margin], [0, 0, 1]]) @ matrix
    inside = inside / inside[2, 2]
    places = inside.ravel()[:8].tolist()
    if not any(places[6:]):  # the same, and faster
        return padded.transform(picture.size, Image.Transform.AFFINE, places[:6], resample)
    return padded.transform(picture.size, Image.Transform.PERSPECTIVE, places, resample)


def _beyond(matrix: np.ndarray, wide: int, high: int) -> int:
    """How many pixels beyond the picture the places go; no more than its longer side, which is black beyond."""
    corners = matrix @ np.array([[0, wide, wide, 0], [0, 0, high, high], [1, 1, 1, 1]], float)
    x, y = corners[:2] / corners[2]
    most = max(-x.min(), x.max() - wide, -y.min(), y.max() - high, 0)
    return min(int(np.ceil(most)) + 1, max(wide, high)) if most > 0 else 0
