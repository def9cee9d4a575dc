"""Workbooks: sheets by name, typed cells, and errors that name the sheets or the extra."""

from __future__ import annotations

import datetime as dt
import importlib.util
import re
import zipfile

import pytest

from polymodal.core.errors import BadData, MissingExtra, UnknownName
from polymodal.data.inputs import Inputs
from polymodal.data.tables.source import read_table

openpyxl = pytest.importorskip("openpyxl")
pytest.importorskip("python_calamine")


def book(path, **sheets):
    """A workbook of sheets, lists of rows each."""
    made = openpyxl.Workbook()
    made.remove(made.active)
    for name, rows in sheets.items():
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
    made.save(path)
    return str(path)


ROWS = [
    ["id", "price", "count", "ok", "day", "seen", "note"],
    [1, 2.5, 3, True, dt.date(2024, 5, 31), dt.datetime(2024, 5, 31, 12, 30), "first"],
    [2, 3, 4, False, dt.date(2024, 6, 1), dt.datetime(2024, 6, 1), None],
    [],
    [3, None, 5, None, None, None, "NA"],
]


def test_cells_are_typed_and_rows_numbered(tmp_path):
    table = read_table(book(tmp_path / "t.xlsx", Sheet1=[[], *ROWS], Empty=[]))
    assert table.data == {
        "id": [1, 2, 3], "price": [2.5, 3.0, None], "count": [3, 4, 5], "ok": [True, False, None],
        "day": [dt.date(2024, 5, 31), dt.date(2024, 6, 1), None],
        "seen": [dt.datetime(2024, 5, 31, 12, 30), dt.datetime(2024, 6, 1), None], "note": ["first", None, None],
    }  # fmt: skip
    assert [type(n) for n in table.column("id")] == [int] * 3
    assert table.rows.tolist() == [0, 1, 2]
    assert table.base == tmp_path
    assert [str(problem) for problem in table.problems] == ["t.xlsx#Sheet1: blank rows are no rows (1 of them)"]
    assert len(read_table(str(tmp_path / "t.xlsx"), limit=1)) == 1


def test_a_sheet_by_its_name(tmp_path):
    path = book(tmp_path / "t.xlsx", Notes=[["words"], ["x"]], **{"March #2": ROWS}, Empty=[])
    assert len(read_table(f"{path}#March #2")) == 3
    largest = read_table(path)
    assert largest.columns == ROWS[0]
    assert "several sheets; 'March #2' was read, not 'Notes': name one as t.xlsx#March #2" in str(largest.problems[0])
    with pytest.raises(UnknownName, match=r"t.xlsx has no sheet 'Marhc #2'. Did you mean 'March #2'"):
        read_table(f"{path}#Marhc #2")
    with pytest.raises(UnknownName, match="Allowed: Empty, March #2, Notes"):
        read_table(f"{path}#zzz")
    with pytest.raises(BadData, match="t.xlsx#Empty is empty: its first row must name the columns"):
        read_table(f"{path}#Empty")
    inputs = Inputs.read(f"{path}#March #2", valid=f"{path}#Notes")
    assert [len(table) for table in inputs.tables.values()] == [3, 1], "two sheets are two tables"
    (tmp_path / "u.xlsx#a").mkdir()
    with pytest.raises(BadData, match="does not exist"):
        read_table(str(tmp_path / "nope.xlsx#Notes"))


def test_headers_that_lack_a_name_or_have_one_twice(tmp_path):
    table = read_table(book(tmp_path / "t.xlsx", S=[["a", None, None, "b"], [1, "x", None, 2]]))
    assert table.data == {"a": [1], "column_2": ["x"], "b": [2]}
    assert "column 2 has no name; called 'column_2'" in str(table.problems[0])
    with pytest.raises(BadData, match="more than one column called 'a'"):
        read_table(book(tmp_path / "u.xlsx", S=[["a", "a"], [1, 2]]))


def test_cells_that_hold_an_error_are_counted_by_column(tmp_path):
    made = openpyxl.Workbook()
    made.create_sheet("A & <B>").append(["a", "b", "c"])
    sheet = made["A & <B>"]
    for cells in ([1, "#REF!", "x"], [2, "#DIV/0!", "#REF?"], [3, "#REF!", "#N/A"], [4, 5, "y"]):
        sheet.append(cells)
    made.active.append(["#REF!"])
    made.save(tmp_path / "t.xlsx")
    table = read_table(f"{tmp_path}/t.xlsx#A & <B>")
    assert table.data == {"a": [1, 2, 3, 4], "b": [None, None, None, 5], "c": ["x", "#REF?", None, "y"]}
    said = "some cells hold an error and no value ({}), and are missing: mend their formulas"
    assert [(one.column, one.reason) for one in table.problems] == [
        ("b", said.format("#REF! 2, #DIV/0! 1")), ("c", said.format("#N/A 1"))
    ]  # fmt: skip


def test_libreoffice(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("odf")
    frame = pandas.DataFrame({"a": [1, 2], "d": [dt.date(2024, 1, 1), None], "b": [True, False], "x": [0.5, 1.0]})
    with pandas.ExcelWriter(tmp_path / "t.ods", engine="odf") as writer:
        frame.to_excel(writer, sheet_name="One", index=False)
        frame[:1].to_excel(writer, sheet_name="Two", index=False)
    assert read_table(tmp_path / "t.ods").data == {
        "a": [1, 2], "d": [dt.date(2024, 1, 1), None], "b": [True, False], "x": [0.5, 1.0],
    }  # fmt: skip
    assert len(read_table(str(tmp_path / "t.ods#Two"))) == 1
    with zipfile.ZipFile(tmp_path / "t.ods") as given, zipfile.ZipFile(tmp_path / "e.ods", "w") as made:
        for name in given.namelist():
            content = given.read(name)
            if name == "content.xml":
                content = re.sub(rb'office:value="0.5"', b'xmlns:x="x" x:value-type="error"', content)
                content = content.replace(b"<text:p>0.5<", b"<text:p>#DIV/0!<")
            made.writestr(name, content)
    table = read_table(f"{tmp_path}/e.ods#One")
    assert table.column("x")[0] is None
    assert "#DIV/0! 1" in table.problems[0].reason


def test_what_is_no_workbook_or_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_MAX_WORKBOOK_MB", "1_000")
    for name, content in (("a.xlsx", b"words"), ("b.ods", b"PK\x03\x04"), ("c.xls", b"\xd0\xcf\x11\xe0" + bytes(600))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadData, match=f"{name} cannot be read as a workbook"):
            read_table(tmp_path / name)
    made = openpyxl.Workbook()
    made.active.append(["a", "b"])
    made.active.cell(1_048_576, 16_384, 1)
    made.save(tmp_path / "sparse.xlsx")
    beside = "1,000 MB, which POLYMODAL_MAX_WORKBOOK_SECONDS or POLYMODAL_MAX_WORKBOOK_MB raise"
    with pytest.raises(BadData, match=f"{beside}.*a stray cell far below or beside the others"):
        read_table(tmp_path / "sparse.xlsx")


def test_without_the_reader_the_extra_is_named(tmp_path, monkeypatch):
    path = book(tmp_path / "t.xlsx", S=ROWS)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"t.xlsx is a workbook.*pip install 'polymodal\[office\]', or save"):
        read_table(path)
