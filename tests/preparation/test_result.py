"""What prepare leaves behind can be gone on with: every cell is there, every path leads somewhere, faults are said."""

from __future__ import annotations

import datetime
import decimal
import errno
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from polymodal.core.errors import BadArgument, PolymodalError, UnknownName
from polymodal.data.media.film import read_film
from polymodal.data.tables.source import read_table
from polymodal.data.tables.table import Problem
from polymodal.preparation import work
from polymodal.preparation.run import prepare


def table(folder: Path, text: str, name: str = "shop.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def photo(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8)).save(path)


def done(data, steps, folder, **options):
    return prepare(data, steps, out=folder / "out", workers=0, quiet=True, **options)


def test_arrays_of_a_vector_column_come_along(tmp_path):
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.arange(5.0) + i)
    data = table(tmp_path, "id,face,words\na,0.npy,one  two\nb,1.npy,three\nc,2.npy,four\n")
    result = done(data, ["spaces"], tmp_path)
    for i, cell in enumerate(read_table(result.table).column("face")):
        assert cell.startswith("media/face/")
        assert np.load(result.folder / cell)[0] == i
    again = prepare(result.table, ["spaces"], out=tmp_path / "again", workers=0, quiet=True)
    assert (again.folder / read_table(again.table).column("face")[2]).exists()


def test_ids_that_are_names_of_files_stay_and_still_name_them(tmp_path):
    for i, name in enumerate(("a.png", "sub/b.png", "c.png")):
        photo(tmp_path / name, i)
    data = table(tmp_path, "id,words\na.png,one  two\nsub/b.png,three\nc.png,four\nabsent.png,five\n")
    result = done(data, ["spaces", {"flip": {"columns": "id"}}], tmp_path)
    found = read_table(result.table)
    assert found.ids[::2] == found.column("id")[::2] == ["a.png", "sub/b.png", "c.png"]
    assert len(set(found.ids)) == 6
    assert all((result.folder / cell).is_file() for cell in found.column("id"))
    plain = prepare(data, ["spaces"], out=tmp_path / "plain", workers=0, quiet=True)
    assert read_table(plain.table).ids == ["a.png", "sub/b.png", "c.png", "absent.png"]


def test_names_of_files_in_a_column_of_categories_stay(tmp_path):
    photo(tmp_path / "a.png")
    data = table(tmp_path, "id,kind,words\n" + "".join(f"{i},a.png,one  {i}\n" for i in range(9)))
    result = done(data, ["spaces"], tmp_path, schema={"kinds": {"kind": "category"}})
    assert set(read_table(result.table).column("kind")) == {"a.png"}


def test_rows_that_share_a_file_share_it_again_and_names_in_two_folders_do_not_meet(tmp_path):
    photo(tmp_path / "x" / "1.png", 1)
    photo(tmp_path / "y" / "1.png", 2)
    photo(tmp_path / "ünï" / "日本 語.PNG", 3)
    rows = ["x/1.png", "y/1.png", "x\\1.png", "./y/../x/1.png", str(tmp_path / "y" / "1.png"), "ünï/日本 語.PNG"]
    data = table(tmp_path, "id,photo,words\n" + "".join(f"{i},{row},a  b\n" for i, row in enumerate(rows)))
    result = done(data, ["spaces"], tmp_path)
    cells = read_table(result.table).column("photo")
    assert cells[0] == cells[2] == cells[3] != cells[1] == cells[4]
    assert len(list((result.folder / "media").rglob("*.png"))) == 3
    assert (result.folder / cells[0]).read_bytes() == (tmp_path / "x" / "1.png").read_bytes()
    assert (result.folder / cells[5]).read_bytes() == (tmp_path / "ünï" / "日本 語.PNG").read_bytes()


def test_cells_that_cannot_be_opened_here_are_kept_as_they_were(tmp_path):
    photo(tmp_path / "1.png")
    rows = ["1.png", "https://example.org/a.png", "C:\\pictures\\a.png"]
    data = table(tmp_path, "id,photo,words\n" + "".join(f"{i},{row},a  b\n" for i, row in enumerate(rows)))
    assert read_table(done(data, ["spaces"], tmp_path).table).column("photo")[1:] == rows[1:]


def test_an_empty_member_of_a_shard_is_set_aside_or_stays_as_it_was(tmp_path):
    photo(tmp_path / "a.png")
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for name, content in (("a", (tmp_path / "a.png").read_bytes()), ("b", b"")):
            for suffix, data in (("png", content), ("txt", b"some  words")):
                member = tarfile.TarInfo(f"{name}.{suffix}")
                member.size = len(data)
                shard.addfile(member, io.BytesIO(data))
    first = done(tmp_path / "shard.tar", ["readable", "spaces"], tmp_path)
    assert (first.kept, first.set_aside) == (1, 1)
    assert "is empty (0 bytes)" in pq.read_table(first.folder / "set_aside.parquet")["reason"].to_pylist()[0]
    second = prepare(
        tmp_path / "shard.tar",
        ["spaces"],
        out=tmp_path / "second",
        schema={"kinds": {"txt": "text"}},
        workers=0,
        quiet=True,
    )
    found = read_table(second.table)
    assert (second.folder / found.column("png")[1]).read_bytes() == b""
    assert found.column("txt") == ["some words"] * 2


KINDS = {
    "day": [datetime.date(2020, 1, 1), None, datetime.date(2021, 1, 1)],
    "moment": [datetime.datetime(2020, 1, 1, 2, 3, 4, 567), None, datetime.datetime(2021, 1, 1)],
    "clock": [datetime.time(1, 2), None, datetime.time(3)],
    "span": [datetime.timedelta(1, 2, 3), None, datetime.timedelta(-2)],
    "sum": [decimal.Decimal("1.10"), None, decimal.Decimal("2.20")],
    "flag": [True, None, False],
    "whole": [2**60, None, 3],
    "series": [[0.1, 0.2], None, [3.0, 4.0]],
    "pair": [{"a": 1}, None, {"a": 2}],
    "bytes": [b"\x00\x01", None, b"zz"],
    "endless": [float("inf"), None, float("-inf")],
    "endless series": [[0.1, float("inf")], None, [float("-inf"), 4.0]],
}


@pytest.mark.parametrize("name", KINDS)
def test_every_type_of_parquet_comes_back_as_it_was(name, tmp_path):
    given = pa.table({"words": ["a  b", "c", "d"], name: KINDS[name]})
    pq.write_table(given, tmp_path / "t.parquet")
    result = done(tmp_path / "t.parquet", ["unicode", "spaces", "personal", "exact_duplicates"], tmp_path)
    found = pq.read_table(result.table)
    assert found[name].to_pylist() == KINDS[name]
    assert found.schema.field(name).type == given.schema.field(name).type
    assert found["words"].to_pylist() == ["a b", "c", "d"]


def test_words_are_mended_in_columns_that_hold_other_things_too(tmp_path):
    lines = [{"id": 1, "kind": True}, {"id": 2, "kind": "a  b"}, {"id": 3, "kind": 4}, {"id": 4, "kind": "a  b"}]
    data = table(tmp_path, "\n".join(json.dumps(line) for line in lines * 5), "t.jsonl")
    result = done(data, [{"spaces": {"columns": "kind"}}], tmp_path, schema={"kinds": {"kind": "category"}})
    assert read_table(result.table).column("kind")[:4] == [True, "a b", 4, "a b"]


@pytest.mark.parametrize(
    ("recipe", "error", "message"),
    [
        (["spaces", "spces"], UnknownName, "^Step 2, spces: No op is called 'spces'. Did you mean 'spaces'?"),
        (["spaces", {"spaces": {"columns": "word"}}], BadArgument, "^Step 2, spaces: There is no column 'word'"),
        ([{"name": {}}], BadArgument, "^Step 1, dict: "),
        ([{"name": "drop_words", "copies": 63}] * 3, BadArgument, "^Step 3, drop_words: each row would become 262,144"),
        ([{"near_duplicates": {"threshold": "high"}}], BadArgument, "threshold of .* takes a number; got 'high'"),
        ([{"near_duplicates": {"hashes": True}}], BadArgument, "hashes of .* takes a whole number; got True"),
        (
            [{"spaces": {"columns": 3}}],
            BadArgument,
            "columns of spaces takes a list of texts or text or nothing",
        ),
        ([{"spaces": {"keep_row": "yes"}}], BadArgument, "keep_row takes true or false; got 'yes'"),
        ([{"exact_duplicates": {"keep_row": True}}], BadArgument, "keep_row belongs to steps that look at one cell"),
        ({"steps": "spaces"}, BadArgument, "steps of the recipe must be a list"),
    ],
)
def test_a_fault_of_a_recipe_says_its_step(recipe, error, message, tmp_path):
    data = table(tmp_path, "id,words\n1,a  b\n")
    with pytest.raises(error, match=message):
        done(data, recipe, tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_step_with_nothing_to_do_says_so(tmp_path, capsys):
    data = table(tmp_path, "id,words\n1,a  b\n2,b\n")
    result = prepare(data, ["spaces", "blurred"], out=tmp_path / "out", workers=0)
    assert "Step 2, blurred, has nothing to do: no column is of kind image." in capsys.readouterr().err
    assert "Step 2, blurred, had nothing to do: no column is of kind image." in result.report["notes"]


def test_what_reading_left_out_is_told_by_what_it_is_and_not_by_its_words(tmp_path):
    lines = ['{"id": 1, "words": "a  b"}', '{"id": 2, "id": 3}', f'{{"id": 4, "words": {10**400}}}']
    read = read_table(table(tmp_path, "\n".join(lines), "t.jsonl"))
    read.problems.append(Problem("t", "words", "holds what 'was set aside'"))
    result = done(read, ["spaces"], tmp_path)
    rows = {"input": 3, "kept": 2, "set_aside": 1, "added": 0, "cells_set_aside": 1}
    assert result.report["rows"] == rows
    assert result.report["notes"][0] == "t [words]: holds what 'was set aside'"


def test_out_never_lies_in_a_folder_of_data_nor_is_a_file(tmp_path):
    for name in ("cat", "dog"):
        photo(tmp_path / "data" / name / "1.png")
    for out in (tmp_path / "data" / "out", tmp_path / "data" / "cat" / "out", tmp_path / "data"):
        with pytest.raises(BadArgument, match="lies inside the data"):
            prepare(tmp_path / "data", ["upright"], out=out, workers=0, quiet=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadArgument, match="is a file. --out names a new folder"):
        prepare(tmp_path / "data", ["upright"], out=tmp_path / "file", workers=0, quiet=True)


def stopped(monkeypatch, data, steps, folder) -> None:
    """A preparation that ends by Ctrl-C when all rows are done and nothing is put together."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("polymodal.preparation.run.finalize", stop)
        with pytest.raises(PolymodalError, match="The same command with --resume"):
            done(data, steps, folder)


def test_other_cells_under_the_same_ids_are_other_data(tmp_path, monkeypatch):
    data = table(tmp_path, "id,words\n1,a  b\n2,b\n")
    stopped(monkeypatch, data, ["spaces"], tmp_path)
    table(tmp_path, "id,words\n1,a  c\n2,b\n")
    with pytest.raises(BadArgument, match=r"Data have changed since .*out was begun: 1 cell of id, words \(row '1'\)"):
        done(data, ["spaces"], tmp_path, resume=True)
    table(tmp_path, "id,words\n1,a  b\n2,b\n3,c\n")
    with pytest.raises(BadArgument, match="other data"):
        done(data, ["spaces"], tmp_path, resume=True)
    with pytest.raises(BadArgument, match="another recipe"):
        done(data, ["unicode"], tmp_path, resume=True)
    table(tmp_path, "id,words\n1,a  b\n2,b\n")
    assert read_table(done(data, ["spaces"], tmp_path, resume=True).table).column("words") == ["a b", "b"]


def test_files_that_were_changed_since_are_other_data(tmp_path, monkeypatch):
    for number in (1, 2):
        photo(tmp_path / f"{number}.png")
    data = table(tmp_path, "id,photo,words\n1,1.png,a\n2,2.png,b\n")
    before = (tmp_path / "2.png").read_bytes()
    stopped(monkeypatch, data, ["upright"], tmp_path)
    photo(tmp_path / "2.png", seed=1)
    with pytest.raises(BadArgument, match=r"1 cell of photo \(row '2'\)"):
        done(data, ["upright"], tmp_path, resume=True)
    (tmp_path / "2.png").unlink()
    with pytest.raises(BadArgument, match=r"1 cell of photo \(row '2'\)"):
        done(data, ["upright"], tmp_path, resume=True)
    (tmp_path / "2.png").write_bytes(before)  # later than it was, but the same
    assert done(data, ["upright"], tmp_path, resume=True).kept == 2


def test_a_run_that_was_stopped_while_clearing_away_is_finished(tmp_path, monkeypatch):
    data = table(tmp_path, "id,words\n1,a  b\n2,b\n")
    clear = shutil.rmtree

    def half(folder, **_):
        clear(Path(folder) / "stage--1")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("polymodal.preparation.result.shutil.rmtree", half)
        with pytest.raises(PolymodalError, match="Stopped"):
            done(data, ["spaces"], tmp_path)
    assert (tmp_path / "out" / ".work").exists()
    with pytest.raises(BadArgument, match="is finished already"):
        done(data, ["spaces"], tmp_path, resume=True)
    assert not (tmp_path / "out" / ".work").exists()
    assert read_table(tmp_path / "out" / "data.csv").column("words") == ["a b", "b"]


@pytest.mark.parametrize(
    "where", ["polymodal.preparation.work.write_rows", "polymodal.preparation.result.write_columns"]
)
def test_a_full_disk_is_told_without_a_trace_and_can_be_resumed(where, tmp_path, monkeypatch):
    data = table(tmp_path, "id,words\n1,a  b\n2,b\n")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(PolymodalError, match="the disk is full") as caught:
            done(data, ["spaces"], tmp_path)
    assert "Traceback" not in str(caught.value)
    assert "--resume" in str(caught.value)
    assert done(data, ["spaces"], tmp_path, resume=True).kept == 2


def test_another_fault_of_the_system_keeps_its_trace(monkeypatch):
    def broken(_):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(work, "_apply", broken)
    job = work.PartJob(task="apply", places=(0,), number=0, part="", out="", work="", media="")
    (event,) = work.run_part(job.to_json())
    assert event.trace.startswith("Traceback")


def test_films_of_every_form_are_opened_as_a_fit_opens_them(tmp_path):
    frames = [Image.new("L", (32, 24), 60 * i) for i in range(4)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    for i, frame in enumerate(frames):
        (tmp_path / "folder").mkdir(exist_ok=True)
        frame.save(tmp_path / "folder" / f"{i}.png")
    array = np.stack([np.asarray(frame) for frame in frames])
    listed = [str(tmp_path / "folder" / f"{i}.png") for i in range(4)]
    (tmp_path / "empty").mkdir()
    gif, folder, empty = (str(tmp_path / name) for name in ("a.gif", "folder", "empty"))
    cells = [gif, folder, listed, array, [*listed, "absent.png"], [], empty]
    data = {"film": cells, "words": list("abcdefg")}
    schema = {"kinds": {"film": "video"}}
    result = done(data, ["readable", {"frames": {"count": 4}}], tmp_path, schema=schema)
    aside = {int(row["id"]): row["reason"] for row in pq.read_table(result.folder / "set_aside.parquet").to_pylist()}
    assert set(aside) == {4, 5, 6}
    assert "'absent.png' does not exist" in aside[4]
    assert "is an empty list" in aside[5]
    assert "holds no picture" in aside[6]
    kept = read_table(result.table)
    assert [Path(cell).suffix for cell in kept.column("film")] == [".gif", "", "", ""]
    for row in range(4):
        film = read_film(result.folder / kept.column("film")[row], 4, 24)
        assert film.frames[:, 0, 0, 0].tolist() == [0, 60, 120, 180]
        shown = [Image.open(result.folder / kept.column(f"film_frame{i + 1}")[row]) for i in range(4)]
        assert [np.asarray(picture)[0, 0] for picture in shown] == [0, 60, 120, 180]
    assert kept.column("film_sound") == [None] * 4


def test_pictures_given_as_arrays_become_files_and_sound_as_numbers_is_refused(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    schema = {"kinds": {"voice": "audio"}}
    result = done(
        {"photo": [pixels, pixels], "voice": [np.zeros(9), np.zeros(9)]}, ["upright"], tmp_path, schema=schema
    )
    photos = read_table(result.table).column("photo")
    assert (np.asarray(Image.open(result.folder / photos[0])) == pixels).all()
    refused = prepare(
        {"voice": [np.zeros(9)] * 2}, ["readable"], out=tmp_path / "b", schema=schema, workers=0, quiet=True
    )
    assert "is numbers, where a file was expected" in refused.report["reasons"][0]["reason"]
