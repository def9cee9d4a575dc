"""From what a cell says to the file that is meant."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def resolve(base: Path, text: str) -> Path:
    """The absolute path that a cell's text names, relative to `base`; the file need not exist.

    Backslashes are separators, as Windows writes them. A name beyond ASCII is tried as it stands, composed (NFC) and
    decomposed (NFD), since file systems and spreadsheets differ, and in the bytes of Windows-1252, which old archives
    leave on a disk; only such names cost a look at it.
    """
    text = text.strip()
    if "\\" in text and os.sep == "/":
        text = text.replace("\\", "/")
    path = Path(os.path.normpath(base / text))
    if text.isascii() or path.exists():
        return path
    for form in ("NFC", "NFD"):
        other = Path(unicodedata.normalize(form, str(path)))  # type: ignore[arg-type]
        if other.exists():
            return other
        other = base / unicodedata.normalize(form, text)  # type: ignore[arg-type]
        if other.exists():
            return other
    try:
        other = base / os.fsdecode(text.encode("cp1252"))
    except UnicodeEncodeError:
        return path
    return other if os.path.exists(other) else path


def is_link(text: str) -> bool:
    """Whether a cell is a web address rather than a path."""
    return text.strip().lower().startswith(("http://", "https://", "s3://", "gs://"))


def is_foreign(text: str) -> bool:
    """Whether a cell names a drive (`C:\\...`) that this system does not have."""
    return os.sep == "/" and bool(_DRIVE.match(text.strip()))
