"""Reading a file whole, and saying what a file that cannot be used seems to be."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from polymodal.core.errors import BadCell, NoCell
from polymodal.core.limits import Refused, check_file

# What decoders raise on damaged files, as thousands of files damaged at random have shown.
DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError,
    MemoryError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
AGAIN = "copy, download or export it again"
EMPTY = f"is empty (0 bytes): {AGAIN}"
OR_AGAIN = ": correct the path, or copy the file again"
UNKNOWN = 0x7FFFF000  # lengths from here on are what writers of endless WAV files put
# how a file begins -> what it is then, and what to do
_BEGINNINGS = (
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with `git lfs pull`"),
    (b"<svg", "an SVG drawing: give its column the kind image, or export it as PNG"),
    (b"<!doctype html", "a web page, as a server sends instead of a file: download it again"),
    (b"<html", "a web page, as a server sends instead of a file: download it again"),
    (b"<?xml", "an XML document: give the file that it names or describes"),
    (b"{", "JSON, as a server sends instead of a file: download it again"),
    (b"%pdf", "a PDF document: give its column the kind image, which reads its first page, or export its pages"),
    (b"%!ps", "a PostScript drawing: export it as PNG"),
    (b"pk\x03\x04", "a ZIP archive: unpack it"),
    (b"\x1f\x8b", "compressed by gzip: unpack it"),
    (b"8bps", "a Photoshop file without a merged picture: export it as PNG"),
    (b"\x89png", "a PNG picture" + OR_AGAIN),
    (b"\xff\xd8\xff", "a JPEG picture" + OR_AGAIN),
    (b"gif8", "a GIF picture" + OR_AGAIN),
    (b"\xff\x0a", "a JPEG XL picture: export it as PNG or JPEG"),
    (b"\0\0\0\x0cjxl ", "a JPEG XL picture: export it as PNG or JPEG"),
    (b"\x93numpy", "a NumPy array" + OR_AGAIN),
    (b"id3", "an MP3 sound" + OR_AGAIN),
    (b"ogg", "an Ogg file" + OR_AGAIN),
    (b"flac", "a FLAC sound" + OR_AGAIN),
)
_BRANDS = {  # of ISO media files, which begin with a length and `ftyp`
    "heic": "a HEIC picture" + OR_AGAIN,
    "heix": "a HEIC picture" + OR_AGAIN,
    "mif1": "a HEIF picture" + OR_AGAIN,
    "avif": "an AVIF picture, cut short or of a form that this Pillow cannot open (11.3 can): export it as PNG",
    "M4A ": "an M4A sound (AAC), which libsndfile cannot open: convert it to FLAC, or pip install 'polymodal[video]', "
    "whose PyAV reads it",
}
_RIFF = {b"WAVE": "a WAV sound", b"AVI ": "an AVI film", b"WEBP": "a WebP picture"}


@contextmanager
def opened(source: Path | bytes, what: str = "cell") -> Iterator[BinaryIO]:
    """A regular file, or bytes, to read from. A `BadCell` raised while it is open gets the file's name.

    Raises `BadCell` for anything else: nothing, a folder, a pipe, which would wait for ever, or more bytes than are
    read of `what` (a `cell` or a `text`; see `core.limits`).
    """
    if isinstance(source, bytes):
        if not source:
            raise BadCell(EMPTY)
        yield io.BytesIO(source)
        return
    try:
        with _regular(source, what) as stream:
            yield stream
    except NoCell:
        raise
    except BadCell as error:
        raise BadCell(f"{told(source)} {error.reason}") from error


def _regular(path: Path, what: str) -> BinaryIO:
    try:
        if check_file(path, what).st_size:
            return path.open("rb")
    except FileNotFoundError as error:
        if path.is_symlink():
            raise BadCell("is a link to a file that does not exist: put the file there, or mend the link") from error
        raise BadCell("does not exist: correct the path, or put the file there") from error
    except PermissionError as error:
        raise BadCell("may not be read (permission denied): give yourself the right to read it") from error
    except IsADirectoryError as error:
        raise BadCell("is a folder, where a file was expected: name the file in it") from error
    except Refused as error:
        raise BadCell(error.reason) from error
    except OSError as error:
        raise BadCell(
            f"cannot be read ({(error.strerror or 'error').lower()}): correct the path or the file"
        ) from error
    except ValueError as error:  # a NUL in the name
        raise BadCell("has a name that no file can have: correct the path") from error
    raise BadCell(EMPTY)


def head_of(stream: BinaryIO) -> bytes:
    """The first 4,096 bytes, which tell what a file is; reading begins anew behind them."""
    stream.seek(0)
    head = stream.read(4096)
    stream.seek(0)
    return head


def brands(head: bytes) -> set[bytes]:
    """What an ISO media file (MP4, M4A, HEIC, AVIF) calls itself at its beginning; empty for any other file."""
    if head[4:8] != b"ftyp":
        return set()
    size = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[place : place + 4] for place in range(16, size - 3, 4))}


def told(path: Path) -> str:
    """A file's name for a message: one line, and not too long."""
    name = path.name if len(path.name) <= 80 else f"{path.name[:60]}…{path.name[-16:]}"
    return f"the file {name!r}"


def said(error: BaseException) -> str:
    """What a decoder says of a damaged file, in one short line."""
    return (str(error).split("\n")[0] or type(error).__name__)[:120]


def looks_like(content: bytes) -> str:
    """What a file of an unknown form seems to be and what to do, to follow a reason; or just what to do."""
    head = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if content[4:8] == b"ftyp":
        brand = content[8:12].decode("latin-1")
        return (
            f"; it looks like {_BRANDS[brand]}"
            if brand in _BRANDS
            else f"; it looks like an MP4 or QuickTime file{OR_AGAIN}"
        )
    if content[:4] == b"RIFF":
        what = _RIFF.get(content[8:12], "a RIFF file")
        return f"; it looks like {what}{OR_AGAIN}"
    if head.startswith(b"<?xml") and b"<svg" in head:
        head = b"<svg"
    form = next((what for start, what in _BEGINNINGS if head.startswith(start)), "")
    if not form and not content.strip(b"\0"):
        form = f"nothing but zero bytes, as a copy that was broken off: {AGAIN}"
    if not form and head.decode("utf-8", "replace").isprintable() and b"\0" not in content[:512]:
        form = "plain text: check that the path names the right file"
    return f"; it looks like {form}" if form else f": {AGAIN}"


def missing_bytes(stream: BinaryIO) -> int:
    """How many bytes a WAV file lacks of the sound that its header promises; 0 where it promises none in particular,
    as one written into a pipe does."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if (head := stream.read(12))[:4] != b"RIFF" or head[8:] != b"WAVE":
        return 0
    while len(chunk := stream.read(8)) == 8:
        length = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            return 0 if length >= UNKNOWN else max(0, stream.tell() + length - size)
        stream.seek(length + length % 2, io.SEEK_CUR)
    return 0
