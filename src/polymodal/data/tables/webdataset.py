"""WebDataset shards: tar files in which the files of one sample share a key and differ in extension."""

from __future__ import annotations

import glob
import io
import itertools
import math
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadCell, BadData
from polymodal.core.limits import Refused, check_size, check_table_file, open_file, read_json_text
from polymodal.data.tables.table import Lazy, Problem, Table

MOST_SHARDS = 100_000
_BRACE = re.compile(r"\{(?:(\d{1,18})\.\.(\d{1,18})|([^{}]*,[^{}]*))\}")
_PLAIN = ("txt", "text", "cls", "cls2", "label", "id", "transcript")


def read_shards(pattern: str | Path, *, limit: int | None = None) -> Table:
    """One row a key, one column an extension; an object in `json` gives one column a member, `json.member`.

    `pattern` may hold braces (`{000..009}`, `{a,b}`) and shell wildcards. Text extensions are read; everything else
    is left in its shard and read by offset. Ids are the keys. Raises `BadData` when no shard is found or one is
    compressed.
    """
    paths = _shards(pattern)
    samples: dict[str, dict[str, Any]] = {}
    problems: list[Problem] = []
    for path in paths:
        for key, extension, value in _members(path, problems):
            sample = samples.setdefault(key, {})
            if extension in sample:
                reason = f"{path.name} holds this sample's .{extension} a second time; the first is kept"
                problems.append(Problem(key, extension, reason))
                continue
            sample[extension] = value
    kept = list(samples)[:limit]
    columns = dict.fromkeys(extension for key in kept for extension in samples[key])
    data = {column: [samples[key].get(column) for key in kept] for column in columns}
    return Table.build(data, base=paths[0].parent, name=paths[0].stem, ids=kept, problems=problems)


def expand_braces(pattern: str) -> list[str]:
    """`a-{00..02}.tar` to a-00.tar, a-01.tar, a-02.tar, and `{x,y}` to x and y; several braces multiply.

    Raises `BadData` for more names than anyone has shards.
    """
    choices: list[tuple[Sequence[Any], int]] = []  # what may stand in a place, and with how many digits at least
    end = 0
    for brace in _BRACE.finditer(pattern):
        first, last, listed = brace.groups()
        choices.append(([pattern[end : brace.start()]], 0))
        choices.append((listed.split(","), 0) if listed is not None else (range(int(first), int(last) + 1), len(first)))
        end = brace.end()
    sizes = [len(chosen) for chosen, _ in choices]
    if (count := max([math.prod(sizes), *sizes])) > MOST_SHARDS:
        name = pattern if len(pattern) <= 80 else f"{pattern[:80]}…"
        raise BadData(
            f"{name} names {count:,} shards, more than the {MOST_SHARDS:,} that are read: write fewer, or a `*`."
        )
    parts = ([str(one).zfill(digits) for one in chosen] for chosen, digits in choices)
    return ["".join(one) + pattern[end:] for one in itertools.product(*parts)]


def _shards(pattern: str | Path) -> list[Path]:
    paths: list[Path] = []
    for one in expand_braces(str(Path(pattern).expanduser())):
        matches = sorted(glob.glob(one)) if any(sign in one for sign in "*?[") and not Path(one).exists() else [one]
        absent = [match for match in matches if not Path(match).is_file()]
        if absent or not matches:
            missing = str(absent[0] if absent else one)
            if Path(missing).exists():
                raise BadData(f"{missing} is no regular file, where a shard was expected: correct the pattern.")
            raise BadData(f"No shard {missing}. A pattern looks like 'shards-{{000..009}}.tar' or 'shards-*.tar'.")
        paths.extend(Path(match).absolute() for match in matches)
    return paths


def _members(path: Path, problems: list[Problem]) -> Iterator[tuple[str, str, Any]]:
    """(key, extension, cell) of every file in a shard."""
    check_table_file(path)
    try:
        with _Bounded(path) as content, tarfile.open(fileobj=content, mode="r:") as shard:
            for member in shard:
                folder, _, file = member.name.rpartition("/")
                stem, _, extension = file.partition(".")
                if not member.isfile() or not stem or not extension:
                    continue
                key = f"{folder}/{stem}" if folder else stem
                if member.issparse():
                    reason = "is a sparse file, kept without its holes, and is not read: pack it without --sparse"
                    problems.append(Problem.of_cell(key, extension, reason))
                    continue
                cell = TarCell(file, path, member.offset_data, member.size)
                yield from ((key, *held) for held in _cells(key, extension.lower(), cell, problems))
            shard.fileobj.seek(shard.offset)
            rest = shard.fileobj.read(tarfile.BLOCKSIZE)
        if rest.strip(b"\0") or len(rest) % tarfile.BLOCKSIZE:  # tarfile takes half a header for the end
            problems.append(Problem(path.name, "", "is cut short inside a header; what came before is kept"))
    except (tarfile.TarError, ValueError, OverflowError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        with path.open("rb") as start:
            packed = start.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
        if packed:
            raise BadData(f"{path} is compressed, so its files cannot be read singly; unpack it.") from error
        problems.append(Problem(path.name, "", f"is cut short or not a tar file ({error}); what came before is kept"))


class _Bounded(io.FileIO):
    """A shard whose headers may claim what they like: what `tarfile` reads of them at once is bounded."""

    def read(self, size: int | None = -1) -> bytes:
        check_size(size or 0, "text")
        return super().read(size)


def _cells(key: str, extension: str, cell: TarCell, problems: list[Problem]) -> list[tuple[str, Any]]:
    """The columns that one file gives: itself, its text, or the members of its JSON object."""
    last = extension.rpartition(".")[2]
    if last not in (*_PLAIN, "json"):
        return [(extension, cell)]
    try:
        text = cell.load("text").decode("utf-8")
        if last != "json":
            return [(extension, text.strip() if last in ("cls", "cls2", "label", "id") else text)]
        value = read_json_text(text)
    except (BadCell, ValueError) as error:
        problems.append(Problem.of_cell(key, extension, f"cannot be read as {last}: {error}"))
        return []
    if not isinstance(value, dict):
        return [(extension, value)]
    return [(f"{extension}.{name}", item) for name, item in value.items()]


@dataclass(frozen=True, slots=True)
class TarCell(Lazy):
    """One file inside an uncompressed tar: `size` bytes from `offset`."""

    name: str
    path: Path
    offset: int
    size: int

    def load(self, what: str = "cell") -> bytes:
        """The file's bytes. Raises `BadCell` when the shard has gone or is cut short, or the file is too large."""
        try:
            check_size(self.size, what)
            with open_file(self.path, "table") as shard:
                shard.seek(self.offset)
                content = shard.read(self.size)
        except Refused as error:
            raise BadCell(error.reason) from error
        except OSError as error:
            raise BadCell(f"cannot be read from {self.path.name}: {error}") from error
        if len(content) < self.size:
            raise BadCell(f"{self.path.name} ends inside this file ({len(content)} of {self.size} bytes)")
        return content
