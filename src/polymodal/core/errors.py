"""Errors that say what was given, what is allowed, the nearest match and what to do."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


class PolymodalError(Exception):
    """Base of every error that the user can mend. The command line prints its message without a traceback."""

    exit_code = 2  # of the command line


class UnknownName(PolymodalError, LookupError):
    """A name that no catalogue, schema or model knows."""


class BadArgument(PolymodalError, ValueError):
    """An argument that is unknown or whose value is not allowed."""


class BadData(PolymodalError, ValueError):
    """A table or schema that cannot be used as given."""


class BadCell(PolymodalError, ValueError):
    """One cell that cannot be used. Raised by `Processor.read`; the row's stream is set aside, the run goes on.

    `reason` is one plain sentence without row or column: the caller knows those and adds them.
    """

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class DiskFull(PolymodalError):
    """Nothing more can be written, so that nothing can go on."""


def refused(error: OSError) -> PolymodalError:
    """What the system refused, and what to do, as an error of ours: `DiskFull` where the disk is full or read-only."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in FULL:
        return DiskFull(
            f"{where}the disk is full. Free some space (`polymodal store --clear all` empties the store), then give "
            "the same command again: with --resume, those that have it go on where they stopped; others begin anew."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        kind = DiskFull if error.errno == errno.EROFS else PolymodalError
        place = "Choose a place that you may write to (--out; POLYMODAL_STORE for the store)."
        return kind(f"{where}{error.strerror}. {place}")
    if error.errno == errno.EFBIG:
        return DiskFull(f"{where}{error.strerror}. Raise the limit of a file's size (`ulimit -f`).")
    return PolymodalError(f"{where}{error.strerror or error}.")


class MissingExtra(PolymodalError, ImportError):
    """An optional dependency that is not installed; the message names the extra to install."""


def suggest(given: str, allowed: Iterable[str], *, most: int = 40) -> str:
    """`" Did you mean 'x'?"` for the nearest allowed name, be it the only one that was begun, or the list, up to
    `most` names, when none is near."""
    allowed = sorted(set(map(str, allowed)))
    begun = [name for name in allowed if len(str(given)) > 2 and name.startswith(str(given))]
    near = begun[0] if len(begun) == 1 else nearest(str(given), allowed)
    if near is not None:
        return f" Did you mean {near!r}?"
    more = f" and {len(allowed) - most} more" if len(allowed) > most else ""
    return f" Allowed: {', '.join(allowed[:most])}{more}." if allowed else " None is allowed here."


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """The allowed name most like the one given, whatever the case of letters; None where none is near."""
    folded = {name.casefold().strip(): name for name in sorted(allowed, reverse=True)}
    near = difflib.get_close_matches(given.casefold().strip(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def require(module: str, extra: str):
    """Import an optional module, or raise `MissingExtra` naming the extra that brings it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"This needs {module.split('.')[0]!r}, which is not installed (or fails to load: {error}). "
            f"Install it with: pip install 'polymodal[{extra}]'"
        ) from error
