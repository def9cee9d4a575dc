"""CSV and TSV, as found in the wild: byte-order marks, NULs, ragged rows, stray quotes, old encodings."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from polymodal.core.errors import BadData
from polymodal.core.limits import open_table
from polymodal.core.shown import many
from polymodal.data.tables.table import Problem, Table, check_columns

DELIMITERS = ",;\t|"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SAID = re.compile(r'"?sep=(?P<sign>[^"\r\n])"?[^\S\r\n]*\r?\n?', re.IGNORECASE)
_FIELD_LIMIT = 2**31 - 1  # a cell may hold a long list; the csv module's own limit is 131,072 characters


def read_delimited(path: Path, *, limit: int | None = None, delimiter: str | None = None) -> Table:
    """The table in a CSV or TSV file; every cell is a string or None.

    A row with the wrong number of cells, or whose quotes do not close, is set aside and named in `problems` by file and
    line; a cell with a NUL byte is emptied and named. Bytes that are not UTF-8 are read as Windows-1252, and that is
    named too. Raises `BadData` when there is no header, or a column name appears twice.
    """
    problems: list[Problem] = []
    lines = _lines(path, problems)
    said = _SAID.fullmatch(lines[0]) if lines else None
    if said:  # Excel's own line, which is no row; the count of lines stays
        lines[0], delimiter = "\n", delimiter or said["sign"]
    if delimiter is None:
        delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else _sniff(lines)
    blank: list[int] = []
    records = _records(lines, delimiter, blank)
    heads = header(next(records, (0, []))[1], str(path), f"{path.name}:1", problems)
    columns: list[list[str]] = [[] for _ in heads]
    numbers: list[int] = []
    last = 0
    faults: list[tuple[int, str, str]] = []
    for number, (line, cells) in enumerate(islice(records, limit)):
        if isinstance(cells, str) or len(cells) != len(heads):
            reason = (
                cells if isinstance(cells, str) else f"has {many(len(cells), 'cell')} where the header has {len(heads)}"
            )
            problems.append(Problem.of_record(f"{path.name}:{line}", reason, number))
            continue
        for name, column, cell in zip(heads, columns, cells):
            if "\0" in cell:
                faults.append((len(numbers), name, f"holds a NUL byte (line {line})"))
                cell = ""
            column.append(cell)
        numbers.append(number)
        last = line
    if within := [line for line in blank if bool(said) < line < last]:
        problems.append(
            Problem(path.name, "", f"{len(within):,} blank lines are no rows (the first is line {within[0]})")
        )
    data = dict(zip(heads, columns))
    return Table.build(data, base=path.parent, name=path.stem, rows=numbers, problems=problems, faults=faults)


def _lines(path: Path, problems: list[Problem]) -> list[str]:
    """The file's lines with their ends, decoded."""
    with open_table(path) as file:
        raw = file.read()
    coding = "utf-16" if raw.startswith(_UTF16) else "utf-8-sig"
    try:
        text = raw.decode(coding)
    except UnicodeDecodeError as error:
        if coding == "utf-16":
            text = raw.decode(coding, "replace")
            reason = f"is not whole UTF-16 ({error.reason} at byte {error.start}): what cannot be read stands as \ufffd"
            problems.append(Problem(path.name, "", reason))
        else:
            text = _decode_by_line(raw.removeprefix(b"\xef\xbb\xbf"), path.name, problems)
    return list(io.StringIO(text, newline=""))


def _decode_by_line(raw: bytes, name: str, problems: list[Problem]) -> str:
    """UTF-8 where a line is UTF-8, Windows-1252 where not: one foreign line does not spoil the rest."""
    decoded, foreign, proper = [], [], 0
    for number, line in enumerate(raw.split(b"\n"), start=1):
        try:
            decoded.append(line.decode("utf-8"))
            proper += not line.isascii()
        except UnicodeDecodeError:
            decoded.append("".join(_cp1252(byte) for byte in line))
            foreign.append(number)
    if proper:
        problems.extend(Problem(f"{name}:{n}", "", "is not UTF-8; this line was read as Windows-1252") for n in foreign)
    else:
        reason = f"is not UTF-8; read as Windows-1252 ({len(foreign)} lines have such letters)"
        problems.append(Problem(name, "", reason))
    return "\n".join(decoded)


def _cp1252(byte: int) -> str:
    """One byte of Windows-1252; the five bytes that it leaves undefined are taken as Latin-1 control characters."""
    return bytes([byte]).decode("cp1252" if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else "latin-1")


def _sniff(lines: list[str]) -> str:
    """The delimiter under which the first records agree best with a header of two cells or more; else the comma."""
    best, chosen = (0.0, 0), ","
    csv.field_size_limit(_FIELD_LIMIT)
    for delimiter in DELIMITERS:
        widths = [len(cells) for cells in csv.reader(lines[:60], delimiter=delimiter) if cells]
        if widths and widths[0] > 1:
            score = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
            if score > best:
                best, chosen = score, delimiter
    return chosen


def _records(lines: list[str], delimiter: str, blank: list[int]) -> Iterator[tuple[int, list[str] | str]]:
    """(line number, cells) of each record; the reason for one whose quote does not close, which costs its own line.

    Lines that hold nothing are no records; their numbers go to `blank`.
    """
    csv.field_size_limit(_FIELD_LIMIT)
    start = 0
    while start < len(lines):
        reader = csv.reader(iter(lines[start:]) if start else iter(lines), delimiter=delimiter, strict=True)
        begun = start
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield begun + 1, f"has a quote that does not close properly ({error})"
                start = begun + 1
                break
            if cells:
                yield begun + 1, cells
            else:
                blank.append(begun + 1)
            begun = start + reader.line_num


def header(cells: list[str] | str, source: str, where: str, problems: list[Problem]) -> list[str]:
    """Names of columns, each once; one without a name is called by its place, and said to be, as of the line `where`.

    Raises `BadData` where there is none, or a name twice.
    """
    if not cells or isinstance(cells, str):
        raise BadData(f"{source} holds no header row; its first line must name the columns.")
    names = [cell.strip() for cell in cells]
    for position, name in enumerate(names, start=1):
        if not name:
            names[position - 1] = f"column_{position}"
            problems.append(Problem(where, "", f"column {position} has no name; called 'column_{position}'"))
    check_columns(names, source)
    return names
