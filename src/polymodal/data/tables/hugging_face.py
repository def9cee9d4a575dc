"""Hugging Face datasets, saved in a folder or named on the hub. Needs the extra `hf`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymodal.core.errors import BadCell, BadData, require
from polymodal.data.tables.parquet import holds_bytes, references
from polymodal.data.tables.table import Lazy, Table


def read_saved(folder: Path, *, limit: int | None = None) -> Table:
    """The table in a folder written by `save_to_disk`; the splits of a DatasetDict become the column `split`."""
    datasets = require("datasets", "hf")
    return _table(datasets.load_from_disk(str(folder)), folder.name, folder, limit)


def read_hub(name: str, *, limit: int | None = None) -> Table:
    """The table of a hub dataset `name` or `name:configuration`. Raises `BadData` when the hub does not give it."""
    datasets = require("datasets", "hf")
    repository, _, configuration = name.partition(":")
    try:
        loaded = datasets.load_dataset(repository, configuration or None)
    except (OSError, ValueError) as error:  # the library's own errors subclass these
        raise BadData(
            f"The hub dataset {name!r} cannot be loaded: {error}. "
            "Write 'hf:owner/name' or 'hf:owner/name:configuration'."
        ) from error
    return _table(loaded, repository.rpartition("/")[2], Path.cwd(), limit)


def from_dataset(loaded: Any, *, limit: int | None = None) -> Table:
    """The table of a dataset in memory. Raises `BadData` for one that is streamed, unless `limit` ends it."""
    name = str(getattr(loaded, "builder_name", None) or "dataset")
    if type(loaded).__name__.startswith("Iterable"):
        if limit is None or isinstance(loaded, Mapping):
            raise BadData(
                f"A {type(loaded).__name__} is streamed and may never end: take what is wanted, as "
                "datasets.Dataset.from_list(list(stream.take(10_000))), or load it without streaming=True."
            )
        datasets = require("datasets", "hf")
        loaded = datasets.Dataset.from_list(list(loaded.take(limit)), features=loaded.features)
    return _table(loaded, name, Path.cwd(), limit)


def _table(loaded: Any, name: str, base: Path, limit: int | None) -> Table:
    if not isinstance(loaded, Mapping):
        return Table.build(_columns(loaded, limit), base=base, name=name)
    tables = []
    for split, dataset in loaded.items():
        data = _columns(dataset, limit)
        rows = len(next(iter(data.values()), []))
        data.setdefault("split", [str(split)] * rows)
        tables.append(Table.build(data, base=base, name=str(split)))
    joined = Table.concat(tables)
    return joined if limit is None else joined.select(range(min(limit, len(joined))))


def _columns(dataset: Any, limit: int | None) -> dict[str, list[Any]]:
    """Columns of a Dataset: class numbers become names, media stay in the memory-mapped Arrow file."""
    dataset = dataset.with_format(None)
    if limit is not None:
        dataset = dataset.select(range(min(limit, len(dataset))))
    columns: dict[str, list[Any]] = {}
    for name, feature in dataset.features.items():
        if hasattr(feature, "decode"):
            dataset = dataset.cast_column(name, type(feature)(decode=False))
    plain = dataset.with_format("arrow")
    for name, feature in dataset.features.items():
        if holds_bytes(dataset.data.schema.field(name).type):
            columns[name] = _references(plain, name)
        elif hasattr(feature, "int2str"):
            columns[name] = [None if v is None or v < 0 else feature.int2str(v) for v in dataset[name]]
        else:
            columns[name] = list(dataset[name])
    return columns


def _references(plain: Any, column: str) -> list[Any]:
    cells: list[Any] = []
    for start in range(0, len(plain), 256):
        values = plain[start : start + 256].column(column).combine_chunks()
        cells += references(values, ArrowCell, plain, column, first=start)
    return cells


@dataclass(frozen=True, slots=True, eq=False)
class ArrowCell(Lazy):
    """Bytes in one row of a memory-mapped dataset."""

    name: str
    dataset: Any
    column: str
    row: int

    def load(self) -> bytes:
        """The cell's bytes. Raises `BadCell` when the dataset's files have gone."""
        try:
            value = self.dataset[self.row].column(self.column)[0].as_py()
        except OSError as error:
            raise BadCell(f"cannot be read from the dataset: {error}") from error
        return value["bytes"] if isinstance(value, dict) else value
