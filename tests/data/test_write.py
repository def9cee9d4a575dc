"""Columns to files: any cell that a table can hold is written, and read back as what it says."""

from __future__ import annotations

import datetime
import json
import os
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from polymodal.core.errors import BadArgument
from polymodal.data.tables.source import read_table
from polymodal.data.tables.write import write_columns

MIXED = {
    "labels": [0, 1, "0", "1", None],
    "numbers": [1, 2.5, 3, None, 4],
    "values": [Decimal("1.50"), "x", True, datetime.date(2024, 1, 2), Path("a/b.png")],
    "large": [2**70, -1, None, 0, 5],
    "lists": [["a", "b"], "a|b", None, {"x": 1}, [1, "2"]],
    "words": ["caf\u00e9", "half \ud83d a pair", "", None, "\udcff.png"],
}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_columns_of_several_types_are_written(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_columns(MIXED, path)
    found = read_table(path).data
    assert [None if v is None else str(v) for v in found["labels"]] == ["0", "1", "0", "1", None]
    assert len(found["words"]) == 5
    assert found["words"][0] == "caf\u00e9"
    assert "half" in found["words"][1]


def test_a_parquet_column_keeps_its_type_where_it_has_one(tmp_path):
    write_columns(MIXED | {"dates": [datetime.date(2024, 1, 2)] * 5}, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert found["numbers"] == [1.0, 2.5, 3.0, None, 4.0]
    assert found["dates"] == [datetime.date(2024, 1, 2)] * 5
    assert found["large"][0] == str(2**70)
    assert found["values"][:2] == ["1.50", "x"]
    assert json.loads(found["lists"][0]) == ["a", "b"]
    assert found["words"][1] == "half \\ud83d a pair"


def test_dates_and_decimals_are_text_in_json(tmp_path):
    write_columns({"when": [datetime.datetime(2024, 1, 2, 3, 4)], "cost": [Decimal("1.5")]}, tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {"when": "2024-01-02 03:04:00", "cost": "1.5"}


def test_only_a_file_is_replaced(tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with pytest.raises(BadArgument, match=r"pipe\.csv: it is no regular file"):
        write_columns({"a": [1]}, pipe)
    assert pipe.is_fifo()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(BadArgument, match=r"folder\.csv: it is a folder"):
        write_columns({"a": [1]}, tmp_path / "folder.csv")


def test_bytes_become_files_that_replace_no_others(tmp_path):
    (tmp_path / "out_photo").mkdir()
    (tmp_path / "out_photo" / "0.png").write_bytes(b"mine")
    write_columns({"photo": [b"\x89PNG\r\n\x1a\n1", None]}, tmp_path / "out.csv", files=True)
    assert (tmp_path / "out_photo" / "0.png").read_bytes() == b"mine"
    assert (tmp_path / "out_photo_2" / "0.png").read_bytes().endswith(b"1")
    assert "out_photo_2/0.png" in (tmp_path / "out.csv").read_text(encoding="utf-8")
