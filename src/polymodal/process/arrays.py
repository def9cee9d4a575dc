"""Numbers that lie in a file of their own, a cell a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.core.lines import numbers_in


def read_array(path: Path, what: str) -> np.ndarray:
    """float64 array of a `.npy` file, or of lines of numbers. Raises `BadCell`, which says `what` was expected."""
    if not path.exists():
        raise BadCell(f"the file {path.name!r} does not exist")
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False).astype(np.float64)
        if path.suffix.lower() in (".csv", ".tsv", ".txt"):
            return numbers_in(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, TypeError, EOFError, MemoryError) as error:
        words = str(error).split("\n")[0][:160] or type(error).__name__
        raise BadCell(f"not a readable {what}: {words}") from error
    raise BadCell(f"a {what} is a .npy or .csv file; this ends in {path.suffix!r}")
