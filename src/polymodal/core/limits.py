"""How much of what somebody else wrote is read: regular files up to a size, JSON and lists that nest only so deep.

Every file of a table, a cell, a schema or a bundle is opened here or by the same rule, so that a pipe, a device or a
file of holes costs an error and neither the memory nor for ever. The limits are environment variables, in megabytes
(10^6 bytes) or seconds, so that they hold in every process of a run.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from polymodal.core.errors import BadArgument, BadData

LIMITS = {  # what is read -> the variable, its default
    "cell": ("POLYMODAL_MAX_CELL_MB", 2_000),  # a file of media or numbers
    "text": ("POLYMODAL_MAX_TEXT_MB", 50),  # a text in a file; a schema, a recipe, a configuration
    "table": ("POLYMODAL_MAX_TABLE_MB", 20_000),
    # of objects that are fetched
    "remote cache": ("POLYMODAL_REMOTE_CACHE_MB", 50_000),
    "remote wait": ("POLYMODAL_REMOTE_WAIT_SECONDS", 30),  # for an answer, and for the next bytes
    "remote age": ("POLYMODAL_REMOTE_AGE_SECONDS", 3_600),  # of a copy, before its server is asked whether it changed
    # of work in a process of its own
    "drawing memory": ("POLYMODAL_MAX_DRAWING_MB", 1_000),
    "drawing time": ("POLYMODAL_MAX_DRAWING_SECONDS", 10),
    "workbook memory": ("POLYMODAL_MAX_WORKBOOK_MB", 4_000),
    "workbook time": ("POLYMODAL_MAX_WORKBOOK_SECONDS", 300),
}
DEEPEST = 64  # lists and objects within one another
MOST_DIGITS, _BITS = 300, 996  # of a whole number; a float holds 308 digits before its point
_LONG = f"a whole number of more than {MOST_DIGITS} digits"
_CONTAINERS = (list, tuple, Mapping)


class Refused(OSError):
    """A file that is not read; `reason` says why and what to do."""

    @property
    def reason(self) -> str:
        return str(self.strerror)


def most(what: str) -> int:
    """How many bytes, or seconds, one of `LIMITS` allows. Raises `BadArgument` for a faulty variable."""
    variable, default = LIMITS[what]
    unit, scale = ("megabytes", 10**6) if variable.endswith("_MB") else ("seconds", 1)
    given = os.environ.get(variable, default)
    try:
        if float(given) > 0:
            return math.ceil(float(given) * scale)
        raise ValueError
    except (ValueError, OverflowError) as error:
        raise BadArgument(f"{variable} is a number of {unit} above 0, as {default}; got {given!r}.") from error


def check_size(size: int, what: str) -> None:
    """Raise `Refused` for more bytes than are read of a `what`."""
    if size > (allowed := most(what)):
        told = f"has {size / 1e6:,.0f} MB, above the {allowed / 1e6:,.0f} MB that are read of a {what}"
        raise Refused(errno.EFBIG, f"{told}: make it smaller, or raise {LIMITS[what][0]}")


def check_file(path: Path, what: str = "cell") -> os.stat_result:
    """The status of a regular file. Raises `OSError` for what is none, `Refused` for what is special or too large."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise Refused(errno.EINVAL, "is a pipe, socket or device, where a file was expected: correct the path")
    check_size(status.st_size, what)
    return status


def open_file(path: Path, what: str = "cell", *, buffering: int = -1) -> BinaryIO:
    """A regular file, to read bytes from. Raises as `check_file`."""
    check_file(path, what)
    return path.open("rb", buffering=buffering)  # type: ignore[return-value]


def check_table_file(path: Path) -> None:
    """Raise `BadData` for a table's file that is no regular file or too large."""
    try:
        check_file(path, "table")
    except Refused as error:
        raise BadData(f"{path} {error.reason}.") from error


def open_table(path: Path) -> BinaryIO:
    """A table's file. Raises as `check_table_file`, and for one that begins with zeros alone."""
    check_table_file(path)
    file = path.open("rb")
    head = file.read(4096)
    if head and not head.strip(b"\0"):
        file.close()
        raise BadData(f"{path} begins with zero bytes alone, as a copy that was broken off: copy it again.")
    file.seek(0)
    return file


def read_settings(path: Path) -> str:
    """The text of a schema, recipe or configuration. Raises `BadArgument` for what is no file of UTF-8 text."""
    try:
        with open_file(path, "text") as file:
            return file.read().decode("utf-8-sig")
    except Refused as error:
        raise BadArgument(f"{path} {error.reason}.") from error
    except UnicodeDecodeError as error:
        raise BadArgument(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from error


def read_json_text(text: str) -> Any:
    """The value of JSON text. Raises `ValueError`, also for what nests too deep, or holds a number that is too long
    or a key twice, of whose values the first would be lost unsaid."""
    try:
        value = _JSON.decode(text)
    except RecursionError as error:
        raise ValueError(f"nests deeper than {DEEPEST} levels") from error
    except ValueError as error:
        if "integer string conversion" in str(error):
            raise ValueError(f"holds {_LONG}") from error
        raise
    if text.count("[") + text.count("{") > DEEPEST and (fault := excess(value)):
        raise ValueError(fault)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"holds the key {twice[:80]!r} twice, so that one of its values would be lost; keep one")
    return held


_JSON = json.JSONDecoder(object_pairs_hook=_object)


def excess(value: Any) -> str:
    """What is wrong with a value that nests deeper than `DEEPEST`, holds itself or a number too long; else ''."""
    if isinstance(value, int):
        return f"is {_LONG}" if value.bit_length() > _BITS else ""
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(DEEPEST):
        inner: dict[int, Any] = {}
        for one in level:
            items = one.values() if isinstance(one, Mapping) else one
            kinds = set(map(type, items))  # a list of floats costs little
            if int in kinds and any(type(item) is int and item.bit_length() > _BITS for item in items):
                return f"holds {_LONG}"
            if any(issubclass(kind, _CONTAINERS) for kind in kinds):
                inner.update((id(item), item) for item in items if isinstance(item, _CONTAINERS))
        if not inner:
            return ""
        level = list(inner.values())  # each once, however often it is named
    return f"nests deeper than {DEEPEST} levels"
