"""Files that are whole or absent, and JSON that any reader can read."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polymodal.core.addresses import is_link, told_address
from polymodal.core.errors import BadData
from polymodal.core.limits import open_file, read_json_text
from polymodal.core.shown import legible

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}(\.\w+)?")
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)$")  # how libraries written in Rust report what the system refused


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success it replaces `path` at once, so a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}{path.suffix}")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        error.filename = str(path)  # the name that the user gave
        raise
    mode = temporary.stat().st_mode  # as the user's other files; some libraries put a private file in its place
    try:
        yield temporary
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except Exception as error:
        if number := _SYSTEM_ERROR.search(str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def clear_unfinished(folder: Path) -> None:
    """Remove what `writing` left in a folder when its process was killed. Nobody else may be writing there."""
    for path in folder.glob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut; Windows has no such call and needs none."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def without_password(text: str) -> str:
    """A text, as the address of a database, with three stars for each password in it."""
    text = re.sub(r"(://[^/@:\s]*:)[^\s#]+@", r"\1***@", text)
    return re.sub(r"(password=)[^&\s#]+", r"\1***", text)


def told_path(path: str | Path) -> str:
    """A path as files that are handed on tell it: an absolute one from the working folder, or else its name alone.

    So nothing in them tells of the machine and the user that they come from; of an address, not the password.
    """
    if is_link(str(path)):
        return told_address(str(path))
    if "://" in str(path):
        return without_password(str(path))
    whole = Path(path)
    if not whole.is_absolute():
        return str(path)
    return str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else whole.name


def write_json(path: Path, value: Any) -> None:
    """Write JSON at once; NaN is written as null, so that any reader can read it."""
    with writing(path) as temporary:
        temporary.write_text(json_text(value, indent=1), encoding="utf-8")


def json_text(value: Any, indent: int | None = None) -> str:
    """Plain values as JSON that UTF-8 can hold: half a surrogate pair, as a cut emoji leaves it, is escaped."""
    return legible(json.dumps(finite(value), indent=indent, ensure_ascii=False, default=str))


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote. Raises `OSError`, and `BadData` where it is no JSON."""
    try:
        with open_file(path, "table") as file:
            return read_json_text(file.read().decode("utf-8"))
    except ValueError as error:
        raise BadData(f"{path} is damaged: it holds no JSON ({error}). Copy it again, or make it again.") from error


def finite(value: Any) -> Any:
    """Plain JSON values: arrays to lists, NaN and infinities to None, keys to strings."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if hasattr(value, "tolist"):
        return finite(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
