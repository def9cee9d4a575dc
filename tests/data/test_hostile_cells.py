"""Cells of every kind that would hang, fill the memory or end a command cost themselves, with a reason."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
import time
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

import polymodal as pm
from polymodal.core.digest import digest_cells
from polymodal.core.errors import BadCell, BadData
from polymodal.data.cells import cells
from polymodal.data.media.array import read_array
from polymodal.data.media.cell import Media
from polymodal.data.tables.webdataset import MOST_SHARDS, expand_braces

SUFFIXES = {"image": "png", "audio": "wav", "series": "npy", "text": "txt"}
ODD = ("pipe", "link", "device", "folder", "huge")


@pytest.fixture
def table(tmp_path):
    """Ten whole rows of four kinds of files, then one row for each way in which a file is no file."""
    rng = np.random.default_rng(0)
    for i in range(10):
        Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        soundfile.write(tmp_path / f"{i}.wav", rng.normal(0, 0.1, 400), 8000)
        np.save(tmp_path / f"{i}.npy", rng.normal(size=(16, 2)))
        (tmp_path / f"{i}.txt").write_text(f"these are the words of number {i}, and {rng.integers(9)} more")
    for suffix in SUFFIXES.values():
        os.mkfifo(tmp_path / f"pipe.{suffix}")
        os.symlink(tmp_path / f"pipe.{suffix}", tmp_path / f"link.{suffix}")
        os.symlink("/dev/zero", tmp_path / f"device.{suffix}")
        (tmp_path / f"folder.{suffix}").mkdir()
        with (tmp_path / f"huge.{suffix}").open("wb") as file:
            file.truncate(3_000_000_000)
    names = [*map(str, range(10)), *ODD]
    path = tmp_path / "rows.csv"
    lines = [",".join([*(f"{name}.{s}" for s in SUFFIXES.values()), "ab"[i % 2]]) for i, name in enumerate(names)]
    path.write_text("\n".join([",".join([*SUFFIXES, "label"]), *lines]))
    return path


SCHEMA = {
    "fields": {k: k if k != "text" else {"kind": "text", "files": True} for k in SUFFIXES}, "target": "label",
}  # fmt: skip


def test_inspect_names_each(table):
    started = time.monotonic()
    found = json.dumps(pm.inspect(table, schema=SCHEMA).to_json())
    assert time.monotonic() - started < 30
    for suffix in SUFFIXES.values():
        for name in ("pipe", "link", "device"):
            assert f"the file '{name}.{suffix}' is a pipe, socket or device" in found
        assert f"the file 'folder.{suffix}' is a folder" in found
        assert f"the file 'huge.{suffix}' has 3,000 MB, above the" in found


def test_prepare_and_digests_go_by_them(table, tmp_path):
    done = pm.prepare(
        table, [{"spaces": {"columns": ["text"]}}], out=tmp_path / "out", workers=0, quiet=True,
        schema={"kinds": {"text": "text"}},
    )  # fmt: skip
    assert len(pm.read_table(done.folder / "data.csv")) == 15
    read = pm.read_table(table)
    schema = pm.Schema.infer(read, None, SCHEMA)
    for field in schema.fields.values():
        digests = digest_cells(media_of(cells(read, field)))
        assert len(digests) == 15


def media_of(found):
    """Cells that are files; the text of a file is read by the cell itself, which says so."""
    given = []
    for i in range(len(found)):
        with contextlib.suppress(BadCell):
            given.append(found[i])
    return [*given, *[None] * (len(found) - len(given))]


@pytest.mark.parametrize("kind", ["image", "audio", "video", "series", "volume"])
def test_media_under_work_are_files(tmp_path, kind):
    os.mkfifo(tmp_path / "pipe")
    for open_ in (Media(kind, tmp_path / "pipe").value, Media(kind, tmp_path / "pipe").content):
        with pytest.raises(BadCell, match="pipe, socket or device"):
            open_()


def packed(**members) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return held.getvalue()


def as_npy(array) -> bytes:
    held = io.BytesIO()
    np.save(held, array, allow_pickle=True)
    return held.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (packed(a=as_npy(np.array([{}, 1], object))), "holds Python objects"),
        (packed(a=as_npy(np.array([None, [1]], object)), b=as_npy(np.ones(3))), "holds several arrays"),
        (as_npy(np.array([{}, 1], object)), "holds Python objects"),
        (packed(), "neither an array"),
        (packed(a=b"no array"), "holds something that is no array under 'a'"),
        (packed(a=as_npy(np.zeros(3_000_000, np.int8))), "has 3 MB, above the 1 MB that are read of a cell"),
    ],
    ids=range(6),
)
def test_npz_of_objects_bombs_and_nothing(content, said, monkeypatch):
    monkeypatch.setenv("POLYMODAL_MAX_CELL_MB", "1")
    with pytest.raises(BadCell, match=said):
        read_array(content)


@pytest.mark.parametrize(
    "pattern",
    [
        "x-{0..99999999}.tar",
        "x-{0..999}{0..999}.tar",
        "x-{2..1}{0..99999999}.tar",
        "{a,b}" * 30 + ".tar",
        f"x-{{0..{'9' * 18}}}.tar",
    ],
)
def test_braces_are_bounded(pattern):
    with pytest.raises(BadData, match="shards, more than the 100,000 that are read"):
        expand_braces(pattern)
    with pytest.raises(BadData, match="shards"):
        pm.read_table(pattern)


def test_braces_within_bounds_multiply():
    assert expand_braces("a-{08..10}{x,y}.tar") == [f"a-{n}{c}.tar" for n in ("08", "09", "10") for c in "xy"]
    assert expand_braces("a-{3..1}.tar") == []
    assert len(expand_braces(f"{{1..{MOST_SHARDS}}}")) == MOST_SHARDS


def test_a_shard_of_holes_nests_and_lies(tmp_path):
    """A text of 3 GB of zeros, JSON that nests, a member kept without its holes, a header that promises 8 GB."""
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as shard:
        for name, content in {"a.txt": b"words", "a.cls": b"1", "b.json": b"[" * 5000, "b.cls": b"0"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
        sparse = tarfile.TarInfo("c.txt")
        sparse.type = tarfile.GNUTYPE_SPARSE
        shard.addfile(sparse)
        huge = tarfile.TarInfo("d.txt")
        huge.size = 3_000_000_000
        shard.fileobj.write(huge.tobuf(tarfile.GNU_FORMAT))
        shard.offset += 512
        start = shard.fileobj.tell()
    with path.open("r+b") as file:
        file.truncate(start + 3_000_000_000 + 1024)
    table = pm.read_table(path)
    reasons = {f"{p.row}.{p.column}": p.reason for p in table.problems}
    assert "nests deeper than 64 levels" in reasons["b.json"]
    assert "sparse" in reasons["c.txt"]
    assert "has 3,000 MB, above the 50 MB that are read of a text" in reasons["d.txt"]
    assert table.column("txt")[0] == "words"

    with tarfile.open(tmp_path / "pax.tar", "w", format=tarfile.PAX_FORMAT) as shard:
        liar = tarfile.TarInfo("x")
        liar.type, liar.size = tarfile.XHDTYPE, 8_000_000_000
        shard.fileobj.write(liar.tobuf(tarfile.GNU_FORMAT))
    with (tmp_path / "pax.tar").open("r+b") as file:
        file.truncate(9_000_000_000)
    table = pm.read_table(tmp_path / "pax.tar")
    assert len(table) == 0
    assert "what came before is kept" in str(table.problems[0])


def test_what_is_no_file_in_a_folder_of_classes_is_named(tmp_path):
    for i in range(4):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), (i, 0, 0)).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    os.symlink("/dev/zero", tmp_path / "b" / "zero.png")
    os.symlink("nowhere", tmp_path / "b" / "lost.png")
    table = pm.read_table(tmp_path)
    assert len(table) == 4
    assert sorted(p.row for p in table.problems) == ["a/pipe.png", "b/lost.png", "b/zero.png"]


def test_arrow_cells_that_python_cannot_have_cost_themselves(tmp_path):
    far = pa.array([0, 2**60, 1, 2], pa.int64()).cast(pa.timestamp("ms"))
    words = pa.array([b"a", b"\xb1\xff", b"c", b"d"]).view(pa.binary())
    words = pa.Array.from_buffers(pa.string(), 4, words.buffers())
    pq.write_table(pa.table({"when": far, "word": words, "n": [1, 2, 3, 4]}), tmp_path / "t.parquet")
    table = pm.read_table(tmp_path / "t.parquet")
    assert [cell is None for cell in table.column("when")] == [False, True, False, False]
    assert table.column("word") == ["a", None, "c", "d"]
    assert {(p.row, p.column) for p in table.problems} == {("1", "when"), ("1", "word")}
