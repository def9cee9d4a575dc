"""Bundles: folders of a finished model or space, opened with one clear message where they cannot be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from safetensors import SafetensorError

from polymodal.core.errors import BadData, PolymodalError
from polymodal.core.limits import check_file
from polymodal.core.trust import reading

T = TypeVar("T")
FILES = ("config.yaml", "schema.json", "weights.safetensors")
FAULTS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
    ValueError, SafetensorError, yaml.YAMLError,
)  # fmt: skip


def opened(
    folder: Path, read: Callable[[Path], T], *, what: str, command: str, mend: str, trust: str | Sequence[str] = ()
) -> T:
    """What `read` makes of a bundle of `what`, which `polymodal {command}` writes; `mend` says what may be wrong.

    Its parts come from the catalogues or from the modules that `trust` names. Raises `BadData` when the folder holds no
    finished bundle, one that this code cannot read, or one that names other parts.
    """
    if not (folder / "weights.safetensors").exists():
        raise BadData(
            f"{folder} holds no finished {what} (no weights.safetensors). Make one with `polymodal {command} … --out "
            f"{folder}`, or finish an interrupted one with --resume."
        )
    try:
        for name in FILES:
            check_file(folder / name, "table")
        with reading(folder, trust):
            return read(folder)
    except PolymodalError:
        raise
    except FAULTS as error:
        reason = str(error).strip().split("\n")[0]
        raise BadData(
            f"The {what} in {folder} cannot be read: a file is damaged, {mend} ({type(error).__name__}: {reason})"
        ) from error
