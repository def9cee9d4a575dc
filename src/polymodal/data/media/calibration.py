"""A cloud of points with the picture that a camera beside the sensor took, and how places fall on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.data.values import as_array

CALIBRATION = ("projection", "camera")  # of a field: the columns of the 3 x 4 matrix, and of the camera's picture


class Calibrated(NamedTuple):
    """`source` as a cell of its kind; `projection`, 12 numbers row by row, takes its places to the pixels of `camera`.

    Either is None where a row has none.
    """

    source: Path | bytes | list[Any] | np.ndarray
    projection: tuple[float, ...] | None
    camera: Path | bytes | np.ndarray | None


def projection_of(value: Any) -> tuple[float, ...] | None:
    """The 3 x 4 matrix that a cell holds, as 12 numbers or 3 lists of 4; of 3 x 3, the camera stands at the origin.

    Raises `BadCell` for anything else.
    """
    if value is None:
        return None
    array = as_array(value)
    if array is None or array.size not in (9, 12) or not np.isfinite(array).all():
        raise BadCell(f"has the projection {str(value)[:60]!r}, where a matrix of 3 x 4 numbers was expected")
    matrix = np.float64(array).reshape(3, -1)
    if matrix.shape[1] == 3:
        matrix = np.c_[matrix, np.zeros(3)]
    return tuple(matrix.ravel().tolist())
