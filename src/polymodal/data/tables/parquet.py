"""Parquet files: plain columns are read, columns of bytes are left in the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.core.errors import BadCell, BadData
from polymodal.core.limits import check_table_file
from polymodal.data.media.files import said
from polymodal.data.tables.table import Lazy, Table, check_columns

if TYPE_CHECKING:
    import pyarrow


def read_parquet(path: Path, *, limit: int | None = None) -> Table:
    """The table in a Parquet file.

    A column of binary values, or of {bytes, path} structures as Hugging Face writes them, becomes lazy cells that read
    one row group when asked. Raises `BadData` when the file is not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_table_file(path)
    faults: list[tuple[int, str, str]] = []
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            check_columns(schema.names, path)
            lazy = [field.name for field in schema if holds_bytes(field.type)]
            plain = [field.name for field in schema if not holds_bytes(field.type)]
            eager = file.read(columns=plain).slice(0, limit)
            data = {name: values_of(eager[name], name, faults) for name in plain}
            data |= {name: _references(file, path, name, limit) for name in lazy}
    except BadData:
        raise
    except (pa.ArrowException, OSError, ValueError, UnicodeError) as error:
        raise BadData(f"{path} cannot be read as Parquet: {error}.") from error
    columns = {name: data[name] for name in schema.names}
    return Table.build(columns, base=path.parent, name=path.stem, faults=faults)


def values_of(column: pyarrow.ChunkedArray, name: str, faults: list[tuple[int, str, str]]) -> list[Any]:
    """The cells as Python has them, times cut to microseconds; one that Python cannot have (a year beyond 9999, broken
    UTF-8) is emptied, which is one of the `faults`."""
    column = _microseconds(column)
    try:
        return column.to_pylist()
    except (ValueError, OverflowError, TypeError):
        cells = []
    for row, cell in enumerate(column):
        try:
            cells.append(cell.as_py())
        except (ValueError, OverflowError, TypeError) as error:
            faults.append((row, name, f"cannot be read ({said(error)})"))
            cells.append(None)
    return cells


def _microseconds(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Times of nanoseconds, which Python's own types cannot hold, cut to microseconds."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return column.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return column.cast(pa.duration("us"), safe=False)
    return column.cast(pa.time64("us"), safe=False) if kind == pa.time64("ns") else column


def holds_bytes(kind: pyarrow.DataType) -> bool:
    """Whether an Arrow type is binary or a structure with a binary member called `bytes`."""
    import pyarrow.types as types

    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and holds_bytes(kind.field(index).type)
    return types.is_binary(kind) or types.is_large_binary(kind)


def _references(file: Any, path: Path, column: str, limit: int | None) -> list[Any]:
    """One reference a row, None where the cell is null. One row group is in memory at a time."""
    cells: list[Any] = []
    for group in range(file.num_row_groups):
        if limit is not None and len(cells) >= limit:
            break
        values = file.read_row_group(group, columns=[column]).column(0).combine_chunks()
        cells += references(values, ParquetCell, path, column, group)
    return cells[:limit]


def references(values: Any, kind: Callable[..., Lazy], *where: Any, first: int = 0) -> list[Any]:
    """`kind(name, *where, row)` of each row of an Arrow column for which `holds_bytes`, counted from `first`; `name` is
    "" where it names no file. Of a structure without bytes its file's name, if it has one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names, content = [""] * len(values), values
    if pa.types.is_struct(values.type):
        content = pc.struct_field(values, "bytes")
        if values.type.get_field_index("path") >= 0:
            names = [name or "" for name in pc.struct_field(values, "path").to_pylist()]
    nulls = content.is_null().to_pylist()
    rows = enumerate(zip(names, nulls), start=first)
    return [(name or None) if null else kind(name, *where, row) for row, (name, null) in rows]


@lru_cache(maxsize=4)
def _row_group(path: Path, column: str, group: int) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read_row_group(group, columns=[column]).column(0)


@dataclass(frozen=True, slots=True)
class ParquetCell(Lazy):
    """Bytes in one row of one row group."""

    name: str
    path: Path
    column: str
    group: int
    row: int

    def load(self) -> bytes:
        """The cell's bytes. Raises `BadCell` when the file has changed or gone."""
        try:
            value = _row_group(self.path, self.column, self.group)[self.row].as_py()
        except (OSError, IndexError, KeyError) as error:
            raise BadCell(f"cannot be read from {self.path.name}: {error}") from error
        return value["bytes"] if isinstance(value, dict) else value
