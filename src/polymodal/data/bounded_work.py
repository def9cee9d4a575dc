"""What `bounded.py` runs in a process of its own; imports nothing of the package.

`python bounded_work.py SECONDS MEMORY WORK ARGUMENT …` calls a function of this module and writes what it gives to
standard output.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import reduce
from typing import Any
from xml.etree import ElementTree

_CELL = re.compile(rb'<(?:\w+:)?c\s([^>]*\bt="e"[^>/]*)>(.*?)</(?:\w+:)?c>', re.DOTALL)


def svg(side: str) -> bytes:
    """A PNG of the drawing on standard input. Fonts of the machine are read only where there are words."""
    import resvg_py

    content = sys.stdin.buffer.read()
    fonts = b"<text" in content or b":text" in content
    return resvg_py.svg_to_bytes(
        svg_string=content.decode("utf-8"), width=int(side), height=int(side), skip_system_fonts=not fonts
    )


def pdf(side: str) -> bytes:
    """A PPM of the first page of the document on standard input; how many there are goes to standard error."""
    import pypdfium2

    document = pypdfium2.PdfDocument(sys.stdin.buffer.read())
    if len(document) > 1:
        sys.stderr.write(f"pages {len(document)}\n")
    page = document[0]
    bitmap = page.render(scale=int(side) / max(1.0, *page.get_size()), rev_byteorder=True, prefer_bgrx=False)
    if bitmap.n_channels != 3:
        raise ValueError(f"{bitmap.n_channels} channels")
    line, held = 3 * bitmap.width, memoryview(bitmap.buffer).cast("B")
    rows = (held[row * bitmap.stride : row * bitmap.stride + line] for row in range(bitmap.height))
    return b"P6 %d %d 255\n" % (bitmap.width, bitmap.height) + b"".join(rows)


def sheet(path: str, name: str, limit: str) -> bytes:
    """JSON of one sheet of a workbook: `sheets`, the names of all that are visible and hold rows; `name`, the one read;
    `rows`, lists of cells from the first row on, those of time as {"date" | "datetime" | "time" | "seconds": …};
    `errors`, lists of a column's place, an error and how many of its cells hold it, which are empty in `rows`.

    Without a `name` the largest of `sheets` is read; `name` is null where there is no such sheet. `limit` rows at most.
    """
    import python_calamine

    with python_calamine.load_workbook(path) as book:
        names = [s.name for s in book.sheets_metadata if s.typ == python_calamine.SheetTypeEnum.WorkSheet]
        shown = {s.name for s in book.sheets_metadata if s.visible == python_calamine.SheetVisibleEnum.Visible}
        if name and name not in names:
            return json.dumps({"sheets": names, "name": None}).encode()
        held = {one: book.get_sheet_by_name(one) for one in ([name] if name else names)}
        full = [one for one in held if held[one].total_height]
        full = [one for one in full if one in shown] or full
        size = {one: held[one].total_height * held[one].total_width for one in full}
        chosen = name or (max(size, key=size.__getitem__) if size else "".join(names[:1]))
        rows = held[chosen].to_python(skip_empty_area=False, nrows=int(limit) or None) if chosen else []
    errors: Counter[tuple[int, str]] = Counter()
    with suppress(LookupError, ValueError, SyntaxError, RuntimeError, MemoryError, zipfile.BadZipFile):
        # of a file of another form, or that only the reader takes, nothing is said
        errors.update((column, error) for row, column, error in _errors(path, chosen) if row < len(rows))
    told = {"sheets": full, "name": chosen, "rows": [[_told(cell) for cell in row] for row in rows]}
    told["errors"] = [[*held, count] for held, count in errors.items()]
    return json.dumps(told, ensure_ascii=False, check_circular=False).encode("utf-8", "surrogatepass")


def _errors(path: str, sheet: str) -> Iterator[tuple[int, int, str]]:
    """Row, column (from 0) and error of each cell of a sheet that holds one; of .xls and .xlsb none is told."""
    with zipfile.ZipFile(path) as book:
        libreoffice = "content.xml" in book.namelist()
        yield from (_errors_of_libreoffice if libreoffice else _errors_of_excel)(book, sheet)


def _errors_of_excel(book: zipfile.ZipFile, sheet: str) -> Iterator[tuple[int, int, str]]:
    listed, linked = map(_attributes, map(book.read, ("xl/workbook.xml", "xl/_rels/workbook.xml.rels")))
    link = next(one["id"] for one in listed if "sheetId" in one and one["name"] == sheet)
    part = next(one["Target"] for one in linked if one.get("Id") == link)
    for about, inside in _CELL.findall(book.read(part[1:] if part.startswith("/") else f"xl/{part}")):
        at, error = re.search(rb'\br="([A-Z]+)(\d+)"', about), re.search(rb"v>([^<]*)<", inside)
        if at and error:
            column = reduce(lambda before, letter: 26 * before + letter - 64, at[1], 0)
            yield int(at[2]) - 1, column - 1, error[1].decode()


def _errors_of_libreoffice(book: zipfile.ZipFile, sheet: str) -> Iterator[tuple[int, int, str]]:
    row, here = 0, False
    for event, one in ElementTree.iterparse(book.open("content.xml"), ("start", "end")):
        tag = one.tag.rpartition("}")[2]
        if event == "start" and tag == "table":
            row, here = 0, _attribute(one, "name") == sheet
        elif event == "end" and tag == "table-row":
            column = 0
            for cell in one if here else ():
                if "error" in [v for k, v in cell.items() if k.endswith("}value-type")]:
                    yield row, column, "".join(cell.itertext())
                column += int(_attribute(cell, "number-columns-repeated", "1"))
            row += int(_attribute(one, "number-rows-repeated", "1"))
            one.clear()


def _attributes(content: bytes) -> list[dict[str, str]]:
    return [
        {key.rpartition("}")[2]: value for key, value in one.items()} for one in ElementTree.fromstring(content).iter()
    ]


def _attribute(one: ElementTree.Element, name: str, default: str = "") -> str:
    return next((value for key, value in one.items() if key.endswith(f"}}{name}")), default)


def _told(cell: Any) -> Any:
    if isinstance(cell, dt.datetime):
        return {"datetime": cell.isoformat()}
    if isinstance(cell, dt.date):
        return {"date": cell.isoformat()}
    if isinstance(cell, dt.time):
        return {"time": cell.isoformat()}
    if isinstance(cell, dt.timedelta):
        return {"seconds": cell.total_seconds()}
    return None if cell == "" else cell


def main(seconds: str, memory: str, work: str, *arguments: str) -> None:
    """Bound this process, then work."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = int(memory) if hard == resource.RLIM_INFINITY else min(int(memory), hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except ImportError:  # Windows has no such limits; the time is bounded all the same
        pass
    works: dict[str, Callable[..., bytes]] = {"svg": svg, "pdf": pdf, "sheet": sheet}
    sys.stdout.buffer.write(works[work](*arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
