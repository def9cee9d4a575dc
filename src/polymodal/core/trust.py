"""Whose code a file may name: parts of the catalogues, and what the caller allows by the name of its module.

A bundle is data. While one is opened, a dotted path in it is code that someone else asks to run, so nothing of it is
imported, not even its module, unless the caller said `trust=["my_parts"]`. What a user names himself (in Python, on the
command line, in a recipe or a configuration of his own) needs no leave.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadArgument, BadData

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")


@dataclass(frozen=True)
class Reading:
    """The bundle that is being opened, and the modules or dotted paths that it may name."""

    folder: Path
    trust: tuple[str, ...]

    def check(self, path: str) -> None:
        """Raise `BadData` for a dotted path that is not trusted."""
        module = path.partition(":")[0]
        if any(path == name or module == name or module.startswith(f"{name}.") for name in self.trust):
            return
        where = next(
            (file for file in _settings(self.folder) if path in file.read_text("utf-8", "replace")), self.folder
        )
        said = f"{where} names the part {path!r}, which no catalogue has"
        if module.split(".")[0] == "polymodal":
            raise BadData(f"{said}: another version of polymodal made it, or someone changed it. Make it again.")
        raise BadData(
            f"{said}. Opening it would run code of the module {module!r}, so nothing was opened. If you know that code "
            f"and trust it, allow it by name: trust=[{module!r}] in Python, --trust {module} on the command line."
        )


_reading: ContextVar[Reading | None] = ContextVar("reading", default=None)


@contextmanager
def reading(folder: Path, trust: str | Sequence[str] = ()) -> Iterator[None]:
    """While a bundle is opened: the parts that it names come from the catalogues, or from what `trust` names."""
    token = _reading.set(Reading(folder, modules(trust)))
    try:
        yield
    finally:
        _reading.reset(token)


def check_path(path: str) -> None:
    """Raise `BadData` where a bundle is being opened that may not name this dotted path."""
    now = _reading.get()
    if now is not None:
        now.check(path)


def modules(trust: str | Sequence[str]) -> tuple[str, ...]:
    """The names that a caller trusts, one or several. Raises `BadArgument` for what is no name of a module or part."""
    names = tuple(trust) if isinstance(trust, Iterable) and not isinstance(trust, str) else (trust,)
    for name in names:
        if not isinstance(name, str) or not _PATH.fullmatch(name):
            raise BadArgument(f"trust names modules, as in trust=['my_parts'] or --trust my_parts; got {name!r}.")
    return names


def is_path(text: str) -> bool:
    """Whether a text is written as a dotted path is."""
    return bool(_PATH.fullmatch(text))


def dotted_paths(spec: Any) -> set[str]:
    """The dotted paths anywhere in plain values."""
    if isinstance(spec, str):
        return {spec} if ":" in spec and _PATH.fullmatch(spec) else set()
    inner = spec.values() if isinstance(spec, Mapping) else spec if isinstance(spec, list | tuple) else ()
    return {path for one in inner for path in dotted_paths(one)}


def _settings(folder: Path) -> list[Path]:
    """The files of a bundle that name parts."""
    return [file for file in (folder / "schema.json", folder / "config.yaml") if file.is_file()]
