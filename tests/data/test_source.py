"""read_table: every kind of source, and what is said when there is none."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from polymodal.core.errors import BadCell, BadData, MissingExtra
from polymodal.data.tables.source import read_table
from polymodal.data.tables.table import Lazy
from polymodal.data.tables.webdataset import expand_braces


def png(value: int = 0) -> bytes:
    stream = BytesIO()
    Image.new("L", (4, 4), value).save(stream, "PNG")
    return stream.getvalue()


def shard(path, files: dict[str, bytes], mode: str = "w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    return path


def test_dict_of_lists_list_of_dicts_and_table():
    table = read_table({"a": [1, 2], "b": ["x", ""]})
    assert table.data == {"a": [1, 2], "b": ["x", None]}
    assert read_table([{"a": 1}, {"b": 2}]).data == {"a": [1, None], "b": [None, 2]}
    assert read_table(table) is table
    for source in (table, {"a": [1, 2]}, [{"a": 1}, {"a": 2}]):
        assert read_table(source, limit=1).column("a") == [1]


def test_data_frames_lose_their_marks_of_absence():
    pandas = pytest.importorskip("pandas")
    dates = pandas.to_datetime(["2024-01-01", None])
    frame = pandas.DataFrame({"a": [1.5, float("nan")], "b": ["x", None], "c": dates})
    table = read_table(frame)
    assert table.column("a") == [1.5, None]
    assert table.column("b") == ["x", None]
    assert table.column("c")[1] is None


def test_jsonl_sets_bad_lines_aside(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1, "tags": ["x"]}\n\n{"a": \n[1]\n{"a": null, "b": true}\n')
    table = read_table(path)
    assert table.data == {"a": [1, None], "tags": [["x"], None], "b": [None, True]}
    assert table.rows.tolist() == [0, 3]
    assert [problem.row for problem in table.problems] == ["t.jsonl:3", "t.jsonl:4"]
    assert "is not JSON" in table.problems[0].reason
    assert table.problems[1].reason == "is a JSON list, not an object; row set aside"
    assert len(read_table(path, limit=1)) == 1


TWICE = ['{"a": 1, "b": 2}', '{"a": 3, "b": 4, "a": 5}', '{"a": 6, "b": {"c": 1, "c": 2}}', '{"a": 8, "b": 9}']


@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_a_key_that_stands_twice_in_a_row_sets_it_aside(tmp_path, form):
    path = tmp_path / f"t.{form}"
    path.write_text("\n".join(TWICE) if form == "jsonl" else "[" + ",\n".join(TWICE) + "]")
    table = read_table(path)
    assert table.data == {"a": [1, 8], "b": [2, 9]}
    assert [(one.row, one.record) for one in table.left_out] == [(f"t.{form}:2", 1), (f"t.{form}:3", 2)]
    assert "holds the key 'a' twice" in table.left_out[0].reason
    assert "holds the key 'c' twice" in table.left_out[1].reason
    assert read_table(path, limit=2).column("a") == [1]


def test_a_column_that_stands_twice_in_a_table_is_refused(tmp_path):
    (tmp_path / "t.json").write_text('{"a": [1, 2], "a": [3, 4]}')
    with pytest.raises(BadData, match="holds the key 'a' twice"):
        read_table(tmp_path / "t.json")
    with pytest.raises(BadData, match="more than one column called '1'"):
        read_table({1: [1], "1": [2]})


def test_json_of_either_shape(tmp_path):
    path = tmp_path / "t.json"
    for content in ([{"a": 1}, {"a": 2}], {"a": [1, 2]}):
        path.write_text(json.dumps(content))
        assert read_table(path).column("a") == [1, 2]
    path.write_text('"words"')
    with pytest.raises(BadData, match=r"neither a list of objects nor an object of lists"):
        read_table(path)
    path.write_text("{")
    with pytest.raises(BadData, match=r"is not valid JSON"):
        read_table(path)


def test_parquet_leaves_bytes_in_the_file(tmp_path):
    pictures = [{"bytes": png(i), "path": f"{i}.png"} for i in range(5)] + [{"bytes": None, "path": "else.png"}, None]
    columns = {"n": [1, 2, 3, 4, 5, 6, None], "photo": pictures, "raw": [b"a", None, b"c", b"d", b"e", b"f", b"g"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=2)
    table = read_table(tmp_path / "t.parquet")
    assert table.column("n") == [1, 2, 3, 4, 5, 6, None]
    cells = table.column("photo")
    assert all(isinstance(cell, Lazy) for cell in cells[:5])
    assert cells[3].name == "3.png"
    assert cells[3].load() == png(3)
    assert cells[5:] == ["else.png", None]
    assert table.column("raw")[1] is None
    assert table.column("raw")[4].load() == b"e"
    assert len(read_table(tmp_path / "t.parquet", limit=3)) == 3
    (tmp_path / "t.parquet").unlink()
    with pytest.raises(BadCell, match=r"cannot be read from t\.parquet"):
        cells[0].load()


def test_what_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "t.parquet").write_text("words")
    with pytest.raises(BadData, match=r"cannot be read as Parquet"):
        read_table(tmp_path / "t.parquet")


def test_folder_per_class(tmp_path):
    for name in ("cat/1.png", "cat/deep/2.PNG", "dog/1.png", "dog/notes.doc", "dog/.hidden.png", ".git/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png())
    table = read_table(tmp_path)
    assert table.data == {"file": ["cat/1.png", "cat/deep/2.PNG", "dog/1.png"], "label": ["cat", "cat", "dog"]}
    assert table.ids == table.column("file")
    assert str(table.problems[0]) == "dog/notes.doc: is no known kind of media (.doc); row set aside"
    assert (table.rows.tolist(), [one.record for one in table.left_out]) == ([0, 1, 2], [3])
    assert read_table(tmp_path, limit=2).ids == ["cat/1.png", "cat/deep/2.PNG"]


def test_folder_per_class_under_splits(tmp_path):
    for name in ("train/cat/1.png", "val/cat/2.png", "Test/dog/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png())
    table = read_table(tmp_path)
    assert dict(zip(table.column("file"), table.column("split"))) == {
        "train/cat/1.png": "train", "val/cat/2.png": "valid", "Test/dog/3.png": "test",
    }  # fmt: skip
    assert set(table.column("label")) == {"cat", "dog"}


def test_folders_that_are_no_table_say_so(tmp_path):
    with pytest.raises(BadData, match=r"holds no folders. Expected one folder per class"):
        read_table(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(BadData, match=r"has folders but no media files"):
        read_table(tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n")
    with pytest.raises(BadData, match=r"holds t\.csv: name the file to read"):
        read_table(tmp_path)


def test_webdataset_shards_are_read_by_offset(tmp_path):
    shard(tmp_path / "s-000.tar", {
        "a/1.png": png(1), "a/1.cls": b"3\n", "a/1.json": b'{"age": 5, "tags": ["x"]}', "a/1.txt": b" hello ",
        "a/2.png": png(2), "README": b"no extension",
    })  # fmt: skip
    shard(tmp_path / "s-001.tar", {"b.seg.png": png(3), "b.cls": b"4", "a/1.png": png(9), "b.json": b"{"})
    table = read_table(str(tmp_path / "s-{000..001}.tar"))
    assert table.ids == ["a/1", "a/2", "b"]
    assert table.column("cls") == ["3", None, "4"]
    assert table.column("txt") == [" hello ", None, None]
    assert table.column("json.age") == [5, None, None]
    assert table.column("png")[1].load() == png(2)
    assert table.column("seg.png")[2].load() == png(3)
    problems = [str(problem) for problem in table.problems]
    assert problems[0] == "a/1 [png]: s-001.tar holds this sample's .png a second time; the first is kept"
    assert problems[1].startswith("b [json]: cannot be read as json")
    assert read_table(tmp_path).ids == table.ids
    assert read_table(tmp_path / "s-000.tar").ids == ["a/1", "a/2"]
    assert read_table(str(tmp_path / "s-*.tar"), limit=1).ids == ["a/1"]


def test_a_shard_that_shrank_or_went_costs_a_cell(tmp_path):
    path = shard(tmp_path / "s.tar", {"a.png": png()})
    cell = read_table(path).column("png")[0]
    path.write_bytes(path.read_bytes()[:520])
    with pytest.raises(BadCell, match=r"s\.tar ends inside this file \(8 of \d+ bytes\)"):
        cell.load()
    path.unlink()
    with pytest.raises(BadCell, match=r"cannot be read from s\.tar"):
        cell.load()


def test_shards_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(BadData, match=r"No shard .*gone-001\.tar. A pattern looks like 'shards-\{000\.\.009\}\.tar'"):
        read_table(str(tmp_path / "gone-{001..002}.tar"))
    with pytest.raises(BadData, match=r"No shard"):
        read_table(str(tmp_path / "gone-*.tar"))
    packed = shard(tmp_path / "packed.tar", {"a.png": png()}, "w:gz")
    with pytest.raises(BadData, match=r"is compressed, so its files cannot be read singly; unpack it"):
        read_table(packed)
    cut = shard(tmp_path / "cut.tar", {f"{i}.cls": b"1" for i in range(4)})
    cut.write_bytes(cut.read_bytes()[:2200])
    table = read_table(cut)
    assert table.ids == ["0", "1"]
    assert table.problems[0].reason == "is cut short inside a header; what came before is kept"
    cut.write_bytes(cut.read_bytes()[:1600])
    assert "is cut short or not a tar file" in read_table(cut).problems[0].reason


def test_braces():
    assert expand_braces("s-{08..10}-{a,b}.tar") == [
        "s-08-a.tar", "s-08-b.tar", "s-09-a.tar", "s-09-b.tar", "s-10-a.tar", "s-10-b.tar",
    ]  # fmt: skip
    assert expand_braces("plain.tar") == ["plain.tar"]


def test_unknown_sources_are_refused_with_what_is_allowed(tmp_path):
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadData, match=r"trian\.csv does not exist. Did you mean 'train\.csv'?"):
        read_table(tmp_path / "trian.csv")
    (tmp_path / "t.docx").write_text("x")
    with pytest.raises(BadData, match=r"t\.docx is of no kind that is read here. Allowed: \.csv"):
        read_table(tmp_path / "t.docx")
    with pytest.raises(BadData, match=r"Cannot read a table from int. Give a file"):
        read_table(3)
    with pytest.raises(BadData, match=r"Row 1 of table is int; every row must be a dict"):
        read_table([{}, 3])


def test_hugging_face_folders(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"]), "n": datasets.Value("int64")}
    )
    rows = {"img": [{"bytes": png(i), "path": f"{i}.png"} for i in range(3)], "label": [0, 1, 1], "n": [1, None, 3]}
    one = datasets.Dataset.from_dict(rows, features=features)
    one.save_to_disk(tmp_path / "one")
    table = read_table(tmp_path / "one")
    assert table.column("label") == ["cat", "dog", "dog"]
    assert table.column("n") == [1, None, 3]
    assert table.column("img")[2].name == "2.png"
    assert table.column("img")[2].load() == png(2)
    datasets.DatasetDict({"train": one, "test": one.select([0])}).save_to_disk(tmp_path / "both")
    both = read_table(tmp_path / "both")
    assert both.column("split") == ["train"] * 3 + ["test"]
    assert len(read_table(tmp_path / "both", limit=2)) == 2


def test_hub_names_need_the_extra(monkeypatch):
    def absent(name: str):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(MissingExtra, match=r"pip install 'polymodal\[hf\]'"):
        read_table("hf:owner/name")


def test_arrays_in_memory_stay_arrays():
    assert isinstance(read_table({"v": [np.zeros(3), np.ones(3)]}).column("v")[0], np.ndarray)
