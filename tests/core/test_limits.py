"""What others wrote is read up to a limit: regular files of a size, JSON and lists of a depth."""

from __future__ import annotations

import json
import os
import socket

import numpy as np
import pytest

import polymodal as pm
from polymodal.core.errors import BadArgument, BadData
from polymodal.core.limits import DEEPEST, Refused, check_file, excess, most, open_file, read_json_text
from polymodal.core.values import read_yaml

DEEP = "[" * 100_000 + "]" * 100_000


def special(folder):
    """A pipe, a link to one, a socket and a device."""
    os.mkfifo(folder / "pipe")
    os.symlink(folder / "pipe", folder / "link")
    held = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(folder)  # the address of a socket may have 107 letters
    held.bind("socket")
    os.chdir(here)
    held.close()
    os.symlink("/dev/zero", folder / "device")
    return [folder / name for name in ("pipe", "link", "socket", "device")]


def test_only_regular_files_are_opened(tmp_path):
    for path in special(tmp_path):
        with pytest.raises(Refused, match="is a pipe, socket or device"):
            open_file(path)
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path)
    (tmp_path / "file").write_bytes(b"ab")
    os.symlink(tmp_path / "file", tmp_path / "fine")
    with open_file(tmp_path / "fine") as file:
        assert file.read() == b"ab"


def test_a_size_is_refused_until_it_is_raised(tmp_path, monkeypatch):
    path = tmp_path / "holes"
    with path.open("wb") as file:
        file.truncate(60_000_000)
    with pytest.raises(Refused, match="has 60 MB, above the 50 MB that are read of a text.*POLYMODAL_MAX_TEXT_MB"):
        check_file(path, "text")
    monkeypatch.setenv("POLYMODAL_MAX_TEXT_MB", "60")
    assert check_file(path, "text").st_size == 60_000_000
    monkeypatch.setenv("POLYMODAL_MAX_TEXT_MB", "much")
    monkeypatch.setenv("POLYMODAL_MAX_DRAWING_SECONDS", "-1")
    for what, said in (("text", "TEXT_MB is .* megabytes above 0, as 50; got 'much'"), ("drawing time", "got '-1'")):
        with pytest.raises(BadArgument, match=said):
            most(what)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DEEP, "nests deeper than 64 levels"),
        ('{"a":' * 70 + "1" + "}" * 70, "nests deeper than 64 levels"),
        ("[1, " * 900 + "2" + "]" * 900, "nests deeper than 64 levels"),
        ("[" + "9" * 5000 + "]", "a whole number of more than 300 digits"),
        ('{"a"', "Expecting"),
        ('{"a": [{"b": 1, "b": 1}]}', "the key 'b' twice"),
        ("{" + "".join(f'"{i}": 0, ' for i in range(200_000)) + '"7": 1}', "the key '7' twice"),
    ],
    ids=range(7),
)
def test_json_is_bounded(text, said):
    with pytest.raises(ValueError, match=said):
        read_json_text(text)


def test_json_that_is_wide_or_full_of_brackets_in_words_is_read():
    wide = [[[i]] for i in range(1000)]
    assert read_json_text(json.dumps(wide)) == wide
    assert read_json_text(json.dumps("[" * 200)) == "[" * 200
    level = "[" * DEEPEST + "]" * DEEPEST
    assert read_json_text(level)


def test_what_holds_itself_is_deep_and_what_is_shared_is_not():
    own: list[object] = []
    own.append(own)
    assert excess(own)
    shared: object = [1]
    for _ in range(50):  # 2**50 places, 50 lists
        shared = [shared, shared]
    assert not excess(shared)
    assert not excess([{"a": [1, 2]}, (3, [4])])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: 'a' is given twice, first in line 1; keep one"),
        ("x: {k: 1, 'k': 2}", "'k' is given twice"),
        (
            "a: &x [1]\n"
            + "".join(f"a{i}: &x{i} [{', '.join([f'*x{i - 1}' if i else '*x'] * 9)}]\n" for i in range(9)),
            "aliases make more",
        ),
        ("a: &x {<<: *x}", "a value holds itself"),
        ("a: &x [*x]", "a value holds itself"),
        ("a: " + DEEP[:300] + DEEP[-300:], "nests deeper than 64 levels"),
        ("a: " + DEEP, "nests deeper than 64 levels"),
        ("a:\n  b: 2024-13-45", "line 2, column 6: '2024-13-45' is no timestamp"),
        ("a: " + "9" * 5000, "is no int"),
        ("a: !!int ''", "is no int"),
        ("a: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
    ],
    ids=range(11),
)
def test_yaml_is_bounded_and_says_where(text, said):
    with pytest.raises(BadArgument, match="it is not valid YAML") as refused:
        read_yaml(text, "it")
    assert said in str(refused.value)


def test_yaml_may_name_a_value_again():
    assert read_yaml("a: &x {k: 1}\nb: {<<: *x, k: 2}\nc: *x", "it") == {"a": {"k": 1}, "b": {"k": 2}, "c": {"k": 1}}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet", "tar", "tsv"])
def test_no_table_is_read_from_a_pipe_or_from_zeros(tmp_path, suffix, monkeypatch):
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    with pytest.raises(BadData, match="pipe, socket or device|no regular file"):
        pm.read_table(tmp_path / f"pipe.{suffix}")
    path = tmp_path / f"holes.{suffix}"
    with path.open("wb") as file:
        file.truncate(3_000_000)
    if suffix != "tar":
        with pytest.raises(BadData, match="begins with zero bytes alone|cannot be read as Parquet"):
            pm.read_table(path)
    monkeypatch.setenv("POLYMODAL_MAX_TABLE_MB", "1")
    with pytest.raises(BadData, match=r"has 3 MB, above the 1 MB .*POLYMODAL_MAX_TABLE_MB"):
        pm.read_table(path)


def rows(form, tmp_path, cell):
    """Three rows, the second with that cell."""
    records = [{"v": [1, 2], "w": "a"}, {"v": cell, "w": "b"}, {"v": [3, 4], "w": "a"}]
    path = tmp_path / f"rows.{form}"
    texts = [json.dumps(r) if r["v"] is not cell else '{"v": ' + cell + ', "w": "b"}' for r in records]
    if form == "jsonl":
        path.write_text("\n".join(texts))
    elif form == "json":
        path.write_text("[" + ",\n".join(texts) + "]")
    else:
        path.write_text("v;w\n" + "\n".join(f"{r['v']};{r['w']}" for r in records))
    return pm.read_table(path)


@pytest.mark.parametrize(
    "cell", [DEEP, '{"a":' * 2000 + "1" + "}" * 2000, "9" * 5000, "[" * 200 + "1" + "]" * 200], ids=range(4)
)
@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_a_cell_that_nests_costs_its_row_and_is_named(tmp_path, form, cell):
    table = rows(form, tmp_path, cell)
    assert table.column("w") == ["a", "a"]
    assert table.rows.tolist() == [0, 2]
    assert [str(p).partition(" [")[0] for p in table.problems] == [str(table.problems[0])]
    assert str(table.problems[0]).startswith(f"rows.{form}:2: ")
    assert "row set aside" in table.problems[0].reason


def test_a_cell_of_brackets_in_csv_is_a_broken_cell(tmp_path):
    (tmp_path / "rows.csv").write_text(
        "v,label\n" + "".join(f'"[{i}, 2, 3]",{"ab"[i % 2]}\n' for i in range(40)) + f'"{DEEP}",a\n'
    )
    found = pm.inspect(tmp_path / "rows.csv", "label").text()
    assert "v: 1\n" in found
    assert "where a list of numbers was expected" in found


@pytest.mark.parametrize("cell", [10**5000, -(10**400), [10**400], {"a": 10**400}], ids=range(4))
def test_numbers_that_no_float_holds_cost_their_cell(cell):
    values = [1, 2, cell, 4] if isinstance(cell, int) else [[1.0], [2.0], cell, [4.0]]
    table = pm.read_table({"v": values, "label": ["a", "b", "a", "b"]})
    assert table.column("v")[2] is None
    assert [(p.row, p.reason.endswith("more than 300 digits; cell set aside")) for p in table.problems] == [("2", True)]
    assert pm.inspect(table, "label").text()


def test_nested_cells_of_every_kind_of_table_in_memory():
    own: list[object] = []
    own.append(own)
    nest: object = 1
    for _ in range(3000):
        nest = [nest]
    table = pm.read_table({"v": [[1.0, 2.0], own, nest, np.ones(2)], "label": ["a", "b", "a", "b"]})
    assert [cell is None for cell in table.column("v")] == [False, True, True, False]
    assert [p.reason for p in table.problems] == ["nests deeper than 64 levels; cell set aside"] * 2


def test_a_setting_that_is_no_text_is_said(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_bytes("target: é".encode("latin-1"))
    with pytest.raises(BadData, match=r"s\.yaml is not UTF-8 .*save it as UTF-8"):
        pm.Schema.infer(pm.read_table({"a": [1]}), None, path)
    with pytest.raises(BadArgument, match=r"s\.yaml is not UTF-8"):
        pm.Config.read(path)
