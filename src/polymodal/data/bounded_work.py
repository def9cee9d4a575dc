"""What `bounded.py` runs in a process of its own; imports nothing of the package.

`python bounded_work.py SECONDS MEMORY WORK ARGUMENT …` calls a function of this module and writes what it gives to
standard output.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable
from typing import Any


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
    `rows`, lists of cells from the first row on, those of time as {"date" | "datetime" | "time" | "seconds": …}.

    Without a `name` the largest of `sheets` is read; `name` is null where there is no such sheet. `limit` rows at most.
    """
    import python_calamine

    with python_calamine.load_workbook(path) as book:
        names = [s.name for s in book.sheets_metadata if s.typ == python_calamine.SheetTypeEnum.WorkSheet]
        shown = {s.name for s in book.sheets_metadata if s.visible == python_calamine.SheetVisibleEnum.Visible}
        if name and name not in names:
            return json.dumps({"sheets": names, "name": None, "rows": []}).encode()
        held = {one: book.get_sheet_by_name(one) for one in ([name] if name else names)}
        full = [one for one in held if held[one].total_height]
        full = [one for one in full if one in shown] or full
        size = {one: held[one].total_height * held[one].total_width for one in full}
        chosen = name or (max(size, key=size.__getitem__) if size else "".join(names[:1]))
        rows = held[chosen].to_python(skip_empty_area=False, nrows=int(limit) or None) if chosen else []
    told = {"sheets": full, "name": chosen, "rows": [[_told(cell) for cell in row] for row in rows]}
    return json.dumps(told, ensure_ascii=False, check_circular=False).encode("utf-8", "surrogatepass")


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
