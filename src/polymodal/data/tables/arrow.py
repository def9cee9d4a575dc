"""Tables in Arrow's memory layout: files of it (Feather, IPC) and of ORC, and whatever hands one over in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.core.errors import BadCell, BadData
from polymodal.core.limits import check_table_file
from polymodal.data.tables.parquet import holds_bytes, references, values_of
from polymodal.data.tables.table import Lazy, Table, check_columns

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".arrow", ".arrows", ".feather", ".ipc", ".orc")


def read_arrow(path: Path, *, limit: int | None = None) -> Table:
    """The table in a Feather, Arrow IPC (file or stream) or ORC file; columns of bytes are left in the file.

    Raises `BadData` when it is none.
    """
    import pyarrow as pa

    check_table_file(path)
    try:
        held = _opened(path, _mark(path)).slice(0, limit)
    except (pa.ArrowException, OSError, ImportError) as error:
        form = "ORC" if path.suffix.lower() == ".orc" else "Arrow"
        raise BadData(f"{path} cannot be read as {form}: {str(error)[:200]}.") from error
    check_columns(held.column_names, path)
    faults: list[tuple[int, str, str]] = []
    data: dict[str, list[Any]] = {}
    for place, (one, column) in enumerate(zip(held.schema, held.columns)):
        lazy = holds_bytes(one.type)
        data[one.name] = _references(path, column, place) if lazy else values_of(column, one.name, faults)
    return Table.build(data, base=path.parent, name=path.stem, faults=faults)


def from_arrow(source: Any, *, limit: int | None = None) -> Table:
    """The table that an object hands over by Arrow's stream (`__arrow_c_stream__`: PyArrow, Polars, DuckDB …) or by the
    dataframe interchange protocol (`__dataframe__`). Raises `BadData` where it cannot."""
    import pyarrow as pa

    try:
        if hasattr(source, "__arrow_c_stream__"):
            held = pa.table(source)
        else:
            from pyarrow.interchange import from_dataframe

            held = from_dataframe(source)
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
        raise BadData(
            f"{type(source).__name__} gives no Arrow table: {str(error)[:200]}. Give a dict of lists."
        ) from error
    check_columns(held.column_names, "The table")
    faults: list[tuple[int, str, str]] = []
    held = held.slice(0, limit)
    data = {name: values_of(column, name, faults) for name, column in zip(held.column_names, held.columns)}
    return Table.build(data, faults=faults)


@lru_cache(maxsize=2)
def _opened(path: Path, mark: tuple[int, int]) -> pyarrow.Table:
    """The whole file, in memory: pages of a file that somebody else cuts meanwhile would end the process."""
    import pyarrow as pa

    if path.suffix.lower() == ".orc":
        from pyarrow import orc

        return orc.read_table(path)
    with pa.OSFile(str(path)) as source:
        if source.read(6) == b"ARROW1":
            return pa.ipc.open_file(source).read_all()
        source.seek(0)
        return pa.ipc.open_stream(source).read_all()


def _mark(path: Path) -> tuple[int, int]:
    """What tells that a file is another one now."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _references(path: Path, column: pyarrow.ChunkedArray, place: int) -> list[Any]:
    cells: list[Any] = []
    for chunk in column.chunks:
        cells += references(chunk, FileCell, path, place, first=len(cells))
    return cells


@dataclass(frozen=True, slots=True)
class FileCell(Lazy):
    """Bytes in one row of an Arrow or ORC file."""

    name: str
    path: Path
    place: int
    row: int

    def load(self) -> bytes:
        """The cell's bytes. Raises `BadCell` when the file has changed or gone."""
        import pyarrow as pa

        try:
            value = _opened(self.path, _mark(self.path)).column(self.place)[self.row].as_py()
        except (pa.ArrowException, OSError, IndexError, KeyError) as error:
            raise BadCell(f"cannot be read from {self.path.name}: {error}") from error
        return value["bytes"] if isinstance(value, dict) else value
