"""Checks of options that many parts have."""

from __future__ import annotations

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_range


def check_dropout(dropout: float) -> float:
    """The share itself. Raises `BadArgument` unless it is at least 0 and below 1."""
    check_range("[0, 1)", dropout=dropout)
    return dropout


def check_count(name: str, value: int) -> int:
    """The count itself. Raises `BadArgument` unless it is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadArgument(f"{name} must be a whole number of at least 1; got {value!r}.")
    return value
