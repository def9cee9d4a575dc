"""Arrow's files, and tables that another library holds in memory: one door for all."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, orc, parquet

from polymodal.core.errors import BadCell, BadData
from polymodal.data.schema import Schema
from polymodal.data.tables.source import read_table
from polymodal.data.tables.table import Lazy

TABLE = pa.table(
    {
        "n": [1, None], "word": pa.array(["x", "y"]).dictionary_encode(), "raw": pa.array([b"ab", None], pa.binary()),
        "at": pa.array([1_000, 2_000], pa.timestamp("ns")), "v": [[1.0, 2.0], None],
        "money": [decimal.Decimal("1.50"), None],
    }
)  # fmt: skip
PLAIN = {
    "n": [1, None], "word": ["x", "y"], "at": [dt.datetime(1970, 1, 1, microsecond=m) for m in (1, 2)],
    "v": [[1.0, 2.0], None], "money": [decimal.Decimal("1.50"), None],
}  # fmt: skip


def stream(path):
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=1)


def ipc(path):
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=1)


WRITERS = {
    "t.feather": lambda path: feather.write_feather(TABLE, str(path)), "t.arrow": ipc, "t.arrows": stream,
    "u.arrow": stream,
    "t.orc": lambda path: orc.write_table(TABLE.set_column(1, "word", pa.array(["x", "y"])), str(path)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_files_leave_bytes_where_they_are(name, tmp_path):
    WRITERS[name](tmp_path / name)
    table = read_table(tmp_path / name)
    assert table.columns == TABLE.column_names
    assert {column: table.column(column) for column in PLAIN} == PLAIN
    cell = table.column("raw")[0]
    assert isinstance(cell, Lazy)
    assert cell.load() == b"ab"
    assert table.column("raw")[1] is None
    assert len(read_table(tmp_path / name, limit=1)) == 1
    (tmp_path / name).write_bytes(b"words")
    with pytest.raises(BadData, match=r"cannot be read as (Arrow|ORC)"):
        read_table(tmp_path / name)


def test_a_cell_that_python_cannot_have_is_named_by_the_id_of_its_row(tmp_path):
    far = pa.array([0, 400_000_000_000], pa.timestamp("s"))
    held = pa.table({"id": ["1", "0"], "at": far})
    feather.write_feather(held, str(tmp_path / "t.feather"))
    parquet.write_table(held, tmp_path / "t.parquet")
    for source in (held, tmp_path / "t.feather", tmp_path / "t.parquet"):
        table = read_table(source)
        assert table.column("at")[1] is None
        assert [(one.row, one.column, one.emptied) for one in table.problems] == [("0", "at", True)]


@pytest.mark.parametrize("kind", [pa.string(), pa.binary()])
def test_bytes_under_a_name_that_stands_twice_are_refused(tmp_path, kind):
    held = pa.Table.from_arrays([pa.array([b"x"]), pa.array(["x"]).cast(kind)], names=["a", "a"])
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as file, pa.ipc.new_file(file, held.schema) as writer:
        writer.write_table(held)
    with pytest.raises(BadData, match="more than one column called 'a'"):
        read_table(tmp_path / "t.arrow")


def test_a_file_that_went_costs_a_cell(tmp_path):
    ipc(tmp_path / "t.arrow")
    cell = read_table(tmp_path / "t.arrow").column("raw")[0]
    (tmp_path / "t.arrow").unlink()
    with pytest.raises(BadCell, match="cannot be read from t.arrow"):
        cell.load()


class Capsule:
    """A table of a library that is not imported here."""

    def __init__(self, table: pa.Table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


class Interchange(Capsule):
    __arrow_c_stream__ = property()

    def __getattribute__(self, name):
        if name == "__arrow_c_stream__":
            raise AttributeError(name)
        return super().__getattribute__(name)

    def __dataframe__(self, **options):
        return self.table.select(["n"]).__dataframe__(**options)


def test_tables_in_memory_by_arrow_whoever_holds_them():
    for source in (TABLE, Capsule(TABLE), TABLE.to_reader(), pa.Table.from_batches(TABLE.to_batches())):
        table = read_table(source)
        assert {column: table.column(column) for column in PLAIN} == PLAIN
        assert table.column("raw") == [b"ab", None]
    assert read_table(TABLE.to_batches()[0]).column("n") == [1, None]
    assert read_table(Interchange(TABLE)).data == {"n": [1, None]}
    assert len(read_table(Capsule(TABLE), limit=1)) == 1
    with pytest.raises(BadData, match="more than one column called 'a'"):
        read_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))


def test_polars():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {"n": [1, None], "d": [dt.date(2024, 1, 1)] * 2, "w": ["x", "y"], "v": [[1.0], [2.0, 3.0]]}
    )
    expected = {"n": [1, None], "d": [dt.date(2024, 1, 1)] * 2, "w": ["x", "y"], "v": [[1.0], [2.0, 3.0]]}
    for source in (frame, frame.lazy(), frame.with_columns(w=polars.col("w").cast(polars.Categorical))):
        assert read_table(source).data == expected
    assert read_table({"a": frame["n"], "b": pa.array([1, None])}).data == {"a": [1, None], "b": [1, None]}


def test_arrays_of_records():
    records = np.rec.fromarrays([[1, 2], ["x", "y"]], names="n,w")
    assert read_table(records).data == {"n": [1, 2], "w": ["x", "y"]}
    kinds = [("w", "S5"), ("v", "f4", 3), ("at", "M8[ns]")]
    one = np.array([(b"hi", [1, 2, 3], np.datetime64("2024-01-01", "ns"))], kinds)
    table = read_table(one)
    assert table.column("w") == ["hi"]
    assert table.column("v")[0].tolist() == [1, 2, 3]
    assert table.column("at") == [dt.datetime(2024, 1, 1)]
    assert read_table(np.ma.array(records, mask=[(True, False), (False, False)])).column("n") == [None, 2]
    with pytest.raises(BadData, match="names no columns: give a dict of arrays"):
        read_table(np.zeros((3, 2)))


def test_a_dict_of_cells_is_one_row(tmp_path):
    pixels = np.zeros((2, 2, 3), np.uint8)
    table = read_table({"title": "red shoe", "price": 3, "photo": pixels, "v": [1, 2], "file": Path("a.png")})
    assert len(table) == 1
    assert table.column("title") == ["red shoe"]
    assert table.column("photo")[0].shape == (2, 2, 3)
    assert table.column("v") == [[1, 2]]
    assert read_table({"title": "ab", "word": "cd"}).data == {"title": ["ab"], "word": ["cd"]}
    assert read_table({"a": [1], "b": np.array(["x"])}).data == {"a": [1], "b": ["x"]}, "columns as before"
    assert read_table({"photo": {"bytes": b"x", "path": "a.png"}}).column("photo") == [b"x"]


def test_datasets_in_memory():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"label": datasets.ClassLabel(names=["cat", "dog"]), "n": datasets.Value("int64")})
    one = datasets.Dataset.from_dict({"label": [0, 1, 1], "n": [1, None, 3]}, features=features)
    assert read_table(one).data == {"label": ["cat", "dog", "dog"], "n": [1, None, 3]}
    assert read_table(one.select([2, 0])).data == {"label": ["dog", "cat"], "n": [3, 1]}
    assert read_table(one.with_format("numpy")).column("n") == [1, None, 3]
    assert len(read_table(one, limit=2)) == 2
    both = datasets.DatasetDict({"train": one, "test": one.select([0])})
    assert read_table(both).column("split") == ["train"] * 3 + ["test"]
    streamed = one.to_iterable_dataset()
    with pytest.raises(BadData, match="is streamed and may never end: take what is wanted"):
        read_table(streamed)
    assert read_table(streamed, limit=2).column("n") == [1, None]


def test_frames_keep_named_indexes_and_refuse_a_name_twice():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2]}, index=pandas.Index(["u", "v"], name="key"))
    assert read_table(frame).data == {"key": ["u", "v"], "a": [1, 2]}
    assert read_table(frame.reset_index(drop=True)).data == {"a": [1, 2]}
    with pytest.raises(BadData, match="more than one column called 'a'"):
        read_table(pandas.DataFrame([[1, 2]], columns=["a", "a"]))


def test_what_is_read_can_be_learnt_from():
    rows = 40
    table = pa.table({"size": [float(i % 9) for i in range(rows)], "kind": ["ab"[i % 2] for i in range(rows)]})
    for source in (table, Capsule(table), table.to_pydict()):
        schema = Schema.infer(read_table(source), "kind")
        assert list(schema.fields) == ["table"]
