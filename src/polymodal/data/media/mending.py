"""Pictures that a browser shows though they are not as they should be: cut short, or with broken metadata."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from polymodal.data.media.files import DAMAGE

LEAST = 0.5  # share of the lines that must be there
LARGEST = 50_000_000  # pixels of a PNG whose missing lines are filled in, or of a JPEG that is compared whole
_END = b"\xff\xd9"
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG, by its type of colour
_PNG = b"\x89PNG\r\n\x1a\n"
_REST = f"{LEAST:.0%} of its lines or more are there and are used; the rest is left plain, as browsers do"
NO_END = "it lacks its end marker, but every line of it is there"
CUT = f"it is cut short: {_REST}"
COARSE = "it is cut short: every line of it is there, some details are not"


def mended(content: bytes) -> tuple[bytes, str] | None:
    """A JPEG or PNG that its decoder refused, as one that it takes; and what is to be said of it, if anything is.

    None where there is nothing to mend, or where less than `LEAST` of the lines is there.
    """
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content)
    return _png(content) if content.startswith(_PNG) else None


def _jpeg(content: bytes) -> tuple[bytes, str] | None:
    """With an end marker, at which libjpeg fills up what is missing.

    How many lines are there is told by decoding twice, with different bits where the file stops: the lines that then
    differ are those that it lacks.
    """
    ended = content + _END
    scans, progressive = _scans(content)
    if not scans:
        return None
    noise = np.random.default_rng(0).integers(0, 255, 4096, np.uint8).tobytes()  # no 0xFF: no marker
    try:
        one, other = _lines(ended), _lines(content + noise + _END)
    except DAMAGE:
        return None
    differ = np.flatnonzero((one != other).any(1))
    if not len(differ):
        return ended, NO_END
    if progressive and scans > 1:  # the whole was there once, in less detail
        return ended, COARSE
    return (ended, CUT) if differ[0] >= LEAST * len(one) else None


def _lines(content: bytes) -> np.ndarray:
    """uint8 [H, W · C]; of a very large picture at an eighth of its size and grey."""
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        if image.width * image.height > LARGEST:
            image.draft("L", (image.width // 8, image.height // 8))
        return np.asarray(image).reshape(image.height, -1)


def _scans(content: bytes) -> tuple[int, bool]:
    """How many scans begin in a JPEG, and whether they refine one another."""
    place, progressive = 2, False
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if marker == 0xDA:
            return content.count(b"\xff\xda", place), progressive  # in a scan no 0xFF stands but before 0 or a marker
        progressive |= marker in _PROGRESSIVE
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return 0, progressive


def _png(content: bytes) -> tuple[bytes, str] | None:
    """Less all that is no pixel, colour or turn, and with what is missing at the end left plain."""
    chunks: dict[bytes, bytes] = {}
    data = bytearray()
    place, ended = len(_PNG), False
    while place + 8 <= len(content) and not ended:
        size, name = struct.unpack(">I4s", content[place : place + 8])
        body = content[place + 8 : place + 8 + size]
        sum_ = content[place + 8 + size : place + 12 + size]
        place += 12 + size
        if name[:1].isupper() and len(sum_) == 4 and sum_ != zlib.crc32(name + body).to_bytes(4, "big"):
            return None
        if name == b"IDAT":
            data += body
        elif name in (b"IHDR", b"PLTE", b"tRNS", b"eXIf") and len(sum_) == 4:
            chunks.setdefault(name, body)
        ended = name == b"IEND"
    if len(chunks.get(b"IHDR", b"")) != 13:
        return None
    return _filled(chunks, bytes(data), ended)


def _filled(chunks: dict[bytes, bytes], data: bytes, ended: bool) -> tuple[bytes, str] | None:
    width, height, depth, colour, *_, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    line = 1 + (width * depth * _CHANNELS.get(colour, 0) + 7) // 8
    said = ""
    if not ended:
        if width * height > LARGEST or line == 1:
            return None
        inflating = zlib.decompressobj()
        try:
            lines = inflating.decompress(data, line * height + 1)
        except zlib.error:
            return None
        there = len(lines) // line
        if there < height and (interlaced or there < LEAST * height):
            return None
        said = NO_END if there >= height else CUT
        data = zlib.compress(lines[: there * line].ljust(line * height, b"\0"), 1) if there < height else data
    told = {name: chunks[name] for name in (b"IHDR", b"PLTE", b"tRNS", b"eXIf") if name in chunks}
    return _PNG + b"".join(_chunk(n, b) for n, b in (*told.items(), (b"IDAT", data), (b"IEND", b""))), said


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + zlib.crc32(name + body).to_bytes(4, "big")
