"""CSV as found in the wild: nothing is padded, guessed or dropped in silence."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polymodal.core.errors import BadData
from polymodal.data.tables.delimited import read_delimited
from polymodal.data.tables.table import MISSING, Table

CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
ROWS = st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=6))


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def reasons(table: Table) -> dict[str, str]:
    return {problem.row: problem.reason for problem in table.problems}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_what_the_csv_module_writes_comes_back(tmp_path, rows):
    names = [f"c{i}" for i in range(len(rows[0]) if rows else 2)]
    text = io.StringIO()
    csv.writer(text).writerows([names, *rows])
    table = read_delimited(write(tmp_path / "t.csv", text.getvalue()))
    expected = [[None if cell.strip() in MISSING else cell for cell in row] for row in rows]
    assert [list(row) for row in zip(*table.data.values())] == expected
    assert table.problems == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_told(tmp_path, delimiter):
    first = "1" if delimiter == "," else "1,5 and 2,5"
    text = f"a{delimiter}b\n{first}{delimiter}x"
    table = read_delimited(write(tmp_path / "t.csv", text))
    assert table.columns == ["a", "b"]
    assert table.column("b") == ["x"]


def test_a_single_column_of_sentences_is_one_column(tmp_path):
    table = read_delimited(write(tmp_path / "t.csv", 'text\n"a, b; c"\nplain\n'))
    assert table.data == {"text": ["a, b; c", "plain"]}


def test_tsv_is_parted_by_tabs_whatever_else_it_holds(tmp_path):
    assert read_delimited(write(tmp_path / "t.tsv", "a,x\tb\n1,2\t3\n")).columns == ["a,x", "b"]


def test_byte_order_mark_does_not_stick_to_the_first_name(tmp_path):
    assert read_delimited(write(tmp_path / "t.csv", b"\xef\xbb\xbfname,x\nZo\xc3\xab,1\n")).data["name"] == ["Zoë"]
    utf16 = "name,x\nZoë,1\n".encode("utf-16")
    assert read_delimited(write(tmp_path / "u.csv", utf16)).data["name"] == ["Zoë"]
    for broken, name, x in ((utf16[:-1], "Zoë", "1\ufffd"), (utf16.replace(b"o\0", b"\0\xd8"), "Z\ufffdë", "1")):
        table = read_delimited(write(tmp_path / "u.csv", broken))
        assert table.data == {"name": [name], "x": [x]}
        assert "is not whole UTF-16" in table.problems[0].reason


def test_every_spelling_of_nothing_is_none(tmp_path):
    cells = ["", "NA", "NaN", "nan", "null", "None", "N/A", "  "]
    table = read_delimited(write(tmp_path / "t.csv", "a,b\n" + "\n".join(f"{cell},1" for cell in cells)))
    assert table.column("a") == [None] * len(cells)


def test_rows_of_the_wrong_width_are_set_aside_by_line(tmp_path):
    table = read_delimited(write(tmp_path / "t.csv", "a,b\n1,2\n3\n4,5,6\n7,8\n"))
    assert table.column("a") == ["1", "7"]
    assert table.rows.tolist() == [0, 3]  # records set aside still count, so that arrays beside the table stay aligned
    assert reasons(table) == {
        "t.csv:3": "has 1 cell where the header has 2; row set aside",
        "t.csv:4": "has 3 cells where the header has 2; row set aside",
    }


def test_an_open_quote_costs_its_own_line_only(tmp_path):
    table = read_delimited(write(tmp_path / "t.csv", 'a,b\n1,"open\n2,"fine, really"\n3,"two\nlines"\n4,x\n'))
    assert table.column("a") == ["2", "3", "4"]
    assert table.column("b")[1] == "two\nlines"
    assert list(reasons(table)) == ["t.csv:2"]
    assert "quote that does not close properly" in reasons(table)["t.csv:2"]


def test_lines_are_counted_through_cells_of_several_lines(tmp_path):
    table = read_delimited(write(tmp_path / "t.csv", 'a,b\n1,"two\nlines"\n\n3\n'))
    assert list(reasons(table)) == ["t.csv:5"]


def test_a_nul_byte_costs_one_cell(tmp_path):
    table = read_delimited(write(tmp_path / "t.csv", b"id,a,b\nx,1\x00,2\ny,3,4\n"))
    assert table.column("a") == [None, "3"]
    assert table.column("b") == ["2", "4"]
    assert [str(problem) for problem in table.problems] == ["x [a]: holds a NUL byte (line 2); cell set aside"]


def test_an_old_encoding_is_read_and_named(tmp_path):
    table = read_delimited(write(tmp_path / "t.csv", "a,b\ncafé,1\nnaïve,2\n".encode("cp1252")))
    assert table.column("a") == ["café", "naïve"]
    assert reasons(table) == {"t.csv": "is not UTF-8; read as Windows-1252 (2 lines have such letters)"}


def test_one_foreign_line_does_not_spoil_the_others(tmp_path):
    table = read_delimited(write(tmp_path / "t.csv", "a,b\nZoë,1\n".encode() + "café,2\n".encode("cp1252")))
    assert table.column("a") == ["Zoë", "café"]
    assert reasons(table) == {"t.csv:3": "is not UTF-8; this line was read as Windows-1252"}


def test_bytes_that_no_encoding_defines_are_borne(tmp_path):
    assert read_delimited(write(tmp_path / "t.csv", b"a,b\n\x81\xe9,1\n")).column("a") == ["\x81é"]


def test_limit_reads_so_many_records(tmp_path):
    assert len(read_delimited(write(tmp_path / "t.csv", "a,b\n1,2\n3,4\n5,6\n"), limit=2)) == 2


def test_a_column_without_a_name_gets_one(tmp_path):
    table = read_delimited(write(tmp_path / "t.csv", ",b\n1,2\n"))
    assert table.columns == ["column_1", "b"]
    assert reasons(table) == {"t.csv:1": "column 1 has no name; called 'column_1'"}


def test_a_name_given_twice_is_refused(tmp_path):
    with pytest.raises(BadData, match=r"more than one column called 'a'. Rename one of them"):
        read_delimited(write(tmp_path / "t.csv", "a,b,a\n1,2,3\n"))


@pytest.mark.parametrize("content", ["", "\n\n", '"open\n1,2\n'])
def test_a_file_without_header_is_refused(tmp_path, content):
    with pytest.raises(BadData, match=r"holds no header row; its first line must name the columns"):
        read_delimited(write(tmp_path / "t.csv", content))


def test_a_very_long_cell_is_read(tmp_path):
    table = read_delimited(write(tmp_path / "t.csv", "a,b\n" + "x" * 200_000 + ",1\n"))
    assert len(table.column("a")[0]) == 200_000


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("sign", "mark"), [(";", b""), ("|", b"\xef\xbb\xbf"), ("\t", b""), (",", b"")])
@pytest.mark.parametrize("said", ["sep={}", '"sep={}"', "SEP={} "])
def test_excels_own_line_is_obeyed_and_not_read(tmp_path, sign, mark, end, said):
    lines = [said.format(sign), f"a{sign}b", f"1,5{sign}x;y" if sign not in ",;" else f"1{sign}x", f"2{sign}z{sign}z"]
    path = tmp_path / "t.csv"
    path.write_bytes(mark + end.join(lines).encode())
    table = read_delimited(path)
    assert table.columns == ["a", "b"]
    assert table.column("b") == ["x;y" if sign not in ",;" else "x"]
    assert table.problems[0].row == "t.csv:4", "lines are counted as an editor counts them"
    assert not [problem for problem in table.problems if "blank" in problem.reason]


def test_a_header_that_only_looks_so_is_a_header(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sep=x,b\n1,2\n")
    assert read_delimited(path).columns == ["sep=x", "b"]
