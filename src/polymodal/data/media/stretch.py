"""A stretch of a recording: the row's own window into a file that may be longer, or that rows share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.core.numbers import as_number

OPTIONS = ("from", "to")  # of a field: the columns that say where a row's stretch begins and ends, in seconds


class Stretch(NamedTuple):
    """`source` as a cell of its kind, from `start` to `end` seconds; None: to its end."""

    source: Path | bytes | list[Any] | np.ndarray
    start: float
    end: float | None

    @property
    def seconds(self) -> float | None:
        """How long it is; None: nobody knows before it is read."""
        return None if self.end is None else self.end - self.start


def edges(start: Any, end: Any) -> tuple[float, float | None]:
    """Where a stretch begins and ends, as two cells say it; without an end it is the file's own.

    Raises `BadCell` for ends that are no seconds, or none after the beginning.
    """
    numbers = [None if edge is None else as_number(edge) for edge in (start, end)]
    for edge, number in zip((start, end), numbers):
        if edge is not None and (number is None or not 0 <= number < np.inf):
            raise BadCell(f"has a stretch that begins or ends at {str(edge)[:40]!r}, where seconds were expected")
    first, last = numbers[0] or 0.0, numbers[1]
    if last is not None and last <= first:
        raise BadCell(f"has a stretch that ends at {last:g} seconds, not after it begins at {first:g}")
    return first, last


def shorter(seconds: float | None, other: float | None) -> float | None:
    """The shorter of two lengths, where None has no end."""
    return min((length for length in (seconds, other) if length is not None), default=None)
