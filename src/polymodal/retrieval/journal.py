"""A journal: one file of records, each checked by a digest, that only grows.

A record is on the disk before `append` returns. A process that is killed in the middle of writing leaves a file whose
last record is short; readers stop before it and the next writer cuts it off. Nothing that `append` returned from is
ever cut off: a record of full length whose digest is wrong, or one with whole records behind it, is damage to what was
acknowledged, and is refused rather than passed over.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import xxhash

from polymodal.core.errors import FULL, BadData, PolymodalError
from polymodal.core.files import sync_folder

_HEADER = struct.Struct("<4sIQ16s")  # mark, check of the rest of the header, length and digest of what follows
_MARK = b"pmJ1"


class Replaced(Exception):
    """The journal was written anew since it was read."""


class Journal:
    """The records of the file at `path`. `end` is where the last whole record read so far ends."""

    def __init__(self, path: Path):
        self.path = path
        self.end = 0
        self.torn = 0  # bytes of an unfinished record behind `end`
        self._first = b""  # the header of the first record, by which a file that took this one's place is told

    @staticmethod
    def create(path: Path, payloads: Iterator[bytes] | list[bytes]) -> None:
        """Write a journal that holds `payloads`, on the disk and under its name at once or not at all."""
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            with refusing(path), temporary.open("xb") as file:
                for payload in payloads:
                    file.write(_header(payload))
                    file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, *, salvage: bool = False) -> Iterator[bytes]:
        """The records after `end`, which moves on with each.

        Raises `BadData` at damage (with `salvage`, skips it), and `Replaced` when another file has taken the place of
        the one read so far. Its number in the file system would not tell: systems give numbers again.
        """
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            first = file.read(_HEADER.size)
            if self.end and first != self._first:
                raise Replaced
            self._first = first
            while self.end < size:
                payload = _record(file, self.end)
                if payload is None:
                    following = _resume(file, self.end, size)
                    if following is None:
                        break
                    payload = _record(file, self.end)  # once more: a writer may have finished it in between
                    if payload is None:
                        if not salvage:
                            raise self._damaged(following - self.end)
                        self.end = following
                        continue
                self.end += _HEADER.size + len(payload)
                yield payload
            self.torn = max(0, os.fstat(file.fileno()).st_size - self.end)

    def append(self, payload: bytes) -> None:
        """Add a record; it is on the disk on return. Cuts off what an interrupted writer left. The lock must be held.

        Raises `PolymodalError` when the disk is full, and leaves the journal as it was.
        """
        with refusing(self.path), self.path.open("r+b", buffering=0) as file:
            if os.fstat(file.fileno()).st_size != self.end:
                file.truncate(self.end)
            file.seek(self.end)
            try:
                _write(file, _header(payload) + payload if len(payload) < 1 << 20 else _header(payload))
                if len(payload) >= 1 << 20:
                    _write(file, payload)
                os.fsync(file.fileno())
            except BaseException:
                with contextlib.suppress(OSError):  # else the next writer will cut it off
                    file.truncate(self.end)
                raise
        self.end += _HEADER.size + len(payload)
        self.torn = 0

    def _damaged(self, size: int) -> BadData:
        return BadData(
            f"{self.path} is damaged: {size:,} bytes from byte {self.end:,} on are not what was written. Restore the "
            "file from a copy, index the data again, or open it with salvage=True (`--salvage`), which drops them."
        )


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Say what to do when the system refuses to write."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise PolymodalError(
                f"The disk is full: {path} could not be written to; it holds what it held before. Free some space and "
                "give the same command again."
            ) from error
        raise PolymodalError(f"{path} cannot be written: {error.strerror or error}.") from error


def _header(payload: bytes) -> bytes:
    digest = xxhash.xxh3_128_digest(payload)
    return _HEADER.pack(_MARK, _check(len(payload), digest), len(payload), digest)


def _check(length: int, digest: bytes) -> int:
    return xxhash.xxh32_intdigest(length.to_bytes(8, "little") + digest)


def _read_header(content: bytes) -> tuple[int, bytes] | None:
    """Length and digest of the record that begins here; None where none does."""
    if len(content) < _HEADER.size:
        return None
    mark, check, length, digest = _HEADER.unpack(content[: _HEADER.size])
    return (length, digest) if mark == _MARK and check == _check(length, digest) else None


def _record(file: BinaryIO, place: int) -> bytes | None:
    """The record at `place`; None where it is not whole."""
    file.seek(place)
    header = _read_header(file.read(_HEADER.size))
    if header is None:
        return None
    length, digest = header
    payload = file.read(length) if place + _HEADER.size + length <= os.fstat(file.fileno()).st_size else b""
    return payload if len(payload) == length and xxhash.xxh3_128_digest(payload) == digest else None


def _resume(file: BinaryIO, place: int, size: int) -> int | None:
    """Where to go on behind a record that is not whole: None if it is the unfinished last one."""
    file.seek(place)
    header = _read_header(file.read(_HEADER.size))
    if header is not None and place + _HEADER.size + header[0] <= size:
        return place + _HEADER.size + header[0]  # all of it was written, and then it changed
    file.seek(place + 1)
    rest = file.read()
    offset = rest.find(_MARK)
    while offset >= 0:
        if _record(file, place + 1 + offset) is not None:
            return place + 1 + offset
        offset = rest.find(_MARK, offset + 1)
    return None


def _write(file: BinaryIO, content: bytes) -> None:
    """All of it: an unbuffered file may take less at a time."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
