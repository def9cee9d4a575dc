"""From what a cell says to the file that is meant."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from polymodal.core.addresses import Address, is_link
from polymodal.core.errors import BadCell
from polymodal.data.remote.remote import ALLOW, Remote

Base = Path | Address  # of a table: the folder to which its cells are relative
LOCAL = "file://"

LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes of a file name and of a whole path: the limits of most file systems
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def placed(base: Base, text: str, remote: Remote | None) -> Path:
    """The file that a cell's text names, relative to `base`: the copy of an object where it is an address, which
    `remote` may fetch. Raises `BadCell` where nothing may be fetched, or it cannot be."""
    if isinstance(base, Path) and not is_link(text):
        return resolve(base, text)
    if remote is None:
        raise BadCell(f"is a web address; download the file and give its path, or let it be fetched: {ALLOW}")
    return remote.local(base.joined(text) if isinstance(base, Address) else text)


def resolve(base: Path, text: str) -> Path:
    """The absolute path that a cell's text names, relative to `base`; the file need not exist.

    Backslashes are separators, as Windows writes them. A name beyond ASCII is tried as it stands, composed (NFC) and
    decomposed (NFD), since file systems and spreadsheets differ, and in the bytes of Windows-1252, which old archives
    leave on a disk; only such names cost a look at it.
    """
    text = text.strip()
    if text.startswith(LOCAL):
        text = unquote(urlsplit(text).path)
    if "\\" in text and os.sep == "/":
        text = text.replace("\\", "/")
    path = Path(os.path.normpath(base / text))
    if text.isascii() or os.path.exists(path):  # False, too, where the system refuses the name
        return path
    for form in ("NFC", "NFD"):
        other = Path(unicodedata.normalize(form, str(path)))  # type: ignore[arg-type]
        if os.path.exists(other):
            return other
        other = base / unicodedata.normalize(form, text)  # type: ignore[arg-type]
        if os.path.exists(other):
            return other
    try:
        other = base / os.fsdecode(text.encode("cp1252"))
    except UnicodeEncodeError:
        return path
    return other if os.path.exists(other) else path


def fault_of(path: Path) -> str:
    """Why no file can have this path, in words; nothing for a path that one may have."""
    text = str(path)
    if "\0" in text:
        return "has a NUL character in its file name: correct the path"
    try:
        raw = os.fsencode(text)
    except UnicodeEncodeError:
        return "has half a character (a lone surrogate) in its file name: correct the path, or write it as UTF-8"
    longest = max(map(len, raw.split(os.fsencode(os.sep))))
    if longest > LONGEST_NAME or len(raw) > LONGEST_PATH:
        told = f"{longest:,} bytes" if longest > LONGEST_NAME else f"a path of {len(raw):,} bytes"
        return f"is longer than a file name may be ({told}): is it another column's cell? Correct the path"
    return ""


def is_foreign(text: str) -> bool:
    """Whether a cell names a drive (`C:\\...`) that this system does not have."""
    return os.sep == "/" and bool(_DRIVE.match(text.strip()))
