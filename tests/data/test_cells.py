"""cells: what processors read, found one by one."""

from __future__ import annotations

import unicodedata
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from polymodal.core.errors import BadCell, BadData, UnknownName
from polymodal.data.cells import cells
from polymodal.data.schema import Field
from polymodal.data.tables.table import Lazy, Table


class Stored(Lazy):
    def __init__(self, name: str, content: bytes):
        self.name = name
        self.content = content

    def load(self) -> bytes:
        return self.content


def npy(array) -> bytes:
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def of(kind: str, values, base: Path, **options):
    return cells(Table.build({"x": values}, base=base), Field("x", kind, ("x",), options))


def test_paths_are_absolute_and_may_be_windows_like(tmp_path):
    got = of("image", ["a/b.png", r"a\b.png", r".\a\..\b.png", str(tmp_path / "c.png"), None], tmp_path)
    b = tmp_path / "a" / "b.png"
    assert list(got) == [b, b, tmp_path / "b.png", tmp_path / "c.png", None]
    assert got[1:3] == [b, tmp_path / "b.png"]
    assert got[-1] is None
    with pytest.raises(IndexError):
        got[5]


def test_no_file_is_looked_at_before_it_must(tmp_path, monkeypatch):
    got = of("image", ["a.png", "b.png"], tmp_path)
    monkeypatch.setattr(Path, "exists", lambda self: pytest.fail("looked at the disk for a plain name"))
    assert got[0] == tmp_path / "a.png"


@pytest.mark.parametrize(("stored", "written"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_beyond_ascii_are_found_in_either_form(tmp_path, stored, written):
    name = unicodedata.normalize(stored, "Zoë.png")
    (tmp_path / name).write_bytes(b"x")
    assert of("image", [unicodedata.normalize(written, "Zoë.png")], tmp_path)[0].read_bytes() == b"x"
    assert of("image", ["Zoé.png"], tmp_path)[0] == tmp_path / "Zoé.png"


def test_bytes_archives_and_structures_are_handed_over(tmp_path):
    values = [b"raw", Stored("a.png", b"kept"), {"bytes": b"inner", "path": None}, {"bytes": None, "path": "p.png"}]
    assert list(of("image", values, tmp_path)) == [b"raw", b"kept", b"inner", tmp_path / "p.png"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (7, "is 7, where a file name was expected"),
        ("https://x.org/a.png", "is a web address; download the file and give its path"),
        (r"C:\photos\a.png", r"names a Windows drive \(C:\), which this machine does not have; make the path relative"),
    ],
)
def test_cells_that_name_no_file_are_bad(tmp_path, value, reason):
    with pytest.raises(BadCell, match=reason):
        of("image", [value], tmp_path)[0]


def test_text(tmp_path):
    assert list(of("text", ["words", 3, None, b"raw", Stored("a.txt", b"kept")], tmp_path)) == [
        "words",
        "3",
        None,
        "raw",
        "kept",
    ]
    (tmp_path / "a.txt").write_text("\ufeffin a file", encoding="utf-8")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xff")
    got = of("text", ["a.txt", "plain words", "gone.txt", "b.txt"], tmp_path, files=True)
    assert got[:2] == ["in a file", "plain words"]
    with pytest.raises(BadCell, match=r"the file 'gone\.txt' does not exist"):
        got[2]
    with pytest.raises(BadCell, match=r"cannot be read as text"):
        got[3]


def test_table_cells_are_dicts_and_none_when_all_is_missing(tmp_path):
    table = Table.build({"a": ["1", None], "b": [None, ""]})
    assert list(cells(table, Field("table", "table", ("a", "b")))) == [{"a": "1", "b": None}, None]


def test_vectors_from_lists_strings_archives_and_files(tmp_path):
    values = [
        [1, 2],
        "[1, 2]",
        "1 2",
        "1;2",
        Stored("a.npy", npy(np.array([1.0, 2.0]))),
        npy(np.array([1, 2])),
        np.array([1, 2]),
    ]
    for cell in of("vector", values, tmp_path):
        assert cell.tolist() == [1, 2]
    assert of("vector", ["v/a.npy"], tmp_path)[0] == tmp_path / "v" / "a.npy"
    assert of("vector", ["3.5"], tmp_path)[0].tolist() == [3.5]
    with pytest.raises(BadCell, match=r"is 'three', where a list of numbers was expected"):
        of("vector", ["three"], tmp_path)[0]
    with pytest.raises(BadCell, match=r"is neither an array in \.npy form nor lines"):
        of("vector", [b"what"], tmp_path)[0]


def test_several_columns_make_one_vector():
    table = Table.build({"d1": [1, None, None, "x"], "d2": ["2", 3, None, 1]})
    got = cells(table, Field("v", "vector", ("d1", "d2")))
    assert got[0].tolist() == [1, 2]
    np.testing.assert_array_equal(got[1], np.array([np.nan, 3], np.float32))
    assert got[2] is None
    with pytest.raises(BadCell, match=r"holds 'x', where a number was expected"):
        got[3]


def test_arrays_beside_the_table_are_found_by_row(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(12).reshape(4, 3))
    table = Table.build({"row": ["3", None, "0.0", "4", "x"]}, base=tmp_path)
    got = cells(table, Field("v", "vector", ("row",), {"array": "a.npy", "row": "row"}))
    assert got[0].tolist() == [9, 10, 11]
    assert got[0].dtype == np.float32
    assert got[1] is None
    assert got[2].tolist() == [0, 1, 2]
    with pytest.raises(BadCell, match=r"is row 4, but the array has 4 rows"):
        got[3]
    with pytest.raises(BadCell, match=r"is 'x', where the number of a row was expected"):
        got[4]


def test_without_a_row_column_the_record_number_counts(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(4))
    table = Table.build({"x": ["a", "b", "c"]}, base=tmp_path, rows=[0, 2, 3])
    field = Field("v", "vector", (), {"array": "a.npy"})
    assert [cell.tolist() for cell in cells(table.select([2, 1]), field)] == [[3], [2]]
    with pytest.raises(BadData, match=r"several tables are joined.*`row: COLUMN`"):
        cells(Table.concat([table, table]), field)


def test_npz_needs_its_key_when_there_are_several(tmp_path):
    np.savez(tmp_path / "two.npz", text=np.zeros((2, 3)), audio=np.ones((2, 3)))
    np.savez(tmp_path / "one.npz", only=np.ones((2, 1)))
    table = Table.build({"x": [1, 2]}, base=tmp_path)

    def field(**options):
        return Field("v", "vector", (), options)

    assert cells(table, field(array="two.npz", key="audio"))[0].tolist() == [1, 1, 1]
    assert cells(table, field(array="one.npz"))[1].tolist() == [1]
    with pytest.raises(BadData, match=r"'two\.npz' holds several arrays \(text, audio\): say which with `key`"):
        cells(table, field(array="two.npz"))
    with pytest.raises(UnknownName, match=r"holds no array 'texts'\. Did you mean 'text'\?"):
        cells(table, field(array="two.npz", key="texts"))
    with pytest.raises(BadData, match=r"the array .*gone\.npy does not exist; it is sought from the table's folder"):
        cells(table, field(array="gone.npy"))
    (tmp_path / "bad.npy").write_bytes(b"what")
    with pytest.raises(BadData, match=r"'bad\.npy' is no array in \.npy or \.npz form; it looks like plain text"):
        cells(table, field(array="bad.npy"))


def test_an_unknown_column_is_refused():
    with pytest.raises(UnknownName, match=r"Did you mean 'photo'\?"):
        cells(Table.build({"photo": ["a.png"]}), Field("phto", "image", ("phto",)))


def test_mosi_arrays(real_data):
    from polymodal.data.tables.source import read_table

    table = read_table(real_data("mosi") / "test.csv")
    got = cells(table, Field("audio", "vector", ("row",), {"array": "arrays/audio.npy", "row": "row"}))
    whole = np.load(real_data("mosi") / "arrays" / "audio.npy")
    np.testing.assert_array_equal(got[5], whole[int(table.column("row")[5])])
