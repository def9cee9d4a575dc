"""A stretch of a recording: the row's own window into a file that may be longer, or that rows share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

OPTIONS = ("from", "to")  # of a field: the columns that say where a row's stretch begins and ends, in seconds


class Stretch(NamedTuple):
    """`source` as a cell of its kind, from `start` to `end` seconds; None: to its end."""

    source: Path | bytes | list[Any]
    start: float
    end: float | None

    @property
    def seconds(self) -> float | None:
        """How long it is; None: nobody knows before it is read."""
        return None if self.end is None else self.end - self.start


def shorter(seconds: float | None, other: float | None) -> float | None:
    """The shorter of two lengths, where None has no end."""
    return min((length for length in (seconds, other) if length is not None), default=None)
