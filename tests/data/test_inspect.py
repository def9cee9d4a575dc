"""inspect_table: each planted fault is named, and a clean table is called clean."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from planted_faults import messy
from scipy.fft import dctn

from polymodal.core.errors import BadArgument, BadCell, UnknownName
from polymodal.data.cells import cells
from polymodal.data.inspection.inspect import Doubled, Leak, inspect_table
from polymodal.data.media import clusters, hamming, minhash
from polymodal.data.media.prints import (
    comparable,
    perceptual_hash,
    same,
    sets,
    small_grey,
)
from polymodal.data.schema import Field, Schema
from polymodal.data.tables.source import read_table
from polymodal.data.tables.table import Table
from polymodal.preparation.run import prepare
from polymodal.preparation.suggest import suggest
from polymodal.process import PROCESSORS

ROWS = 12


def picture(seed: int, side: int = 40) -> Image.Image:
    """Coarse patches with finer ones on them, as photographs have more of the coarse."""
    generator = np.random.default_rng(seed)
    layers = [generator.uniform(0, 200 / cells, (cells, cells, 3)) for cells in (2, 3, 5, 8)]
    pixels = sum(
        np.asarray(Image.fromarray(layer.astype(np.uint8)).resize((side, side), 3)).astype(int) for layer in layers
    )
    return Image.fromarray((pixels * 255 // pixels.max()).astype(np.uint8))


def sentence(seed: int, words: int = 12) -> str:
    source = random.Random(seed)
    return " ".join("".join(source.choices(string.ascii_lowercase, k=5)) for _ in range(words))


@pytest.fixture
def table(tmp_path) -> Table:
    for row in range(ROWS):
        picture(row).save(tmp_path / f"{row}.png")
    return Table.build(
        {
            "id": [f"r{row}" for row in range(ROWS)],
            "photo": [f"{row}.png" for row in range(ROWS)],
            "note": [sentence(row) for row in range(ROWS)],
            "price": [str(row + 0.5) for row in range(ROWS)],
            "label": ["yes", "no"] * (ROWS // 2),
        },
        base=tmp_path,
    )


def look(table: Table, **options):
    return inspect_table(table, Schema.infer(table, "label", options.pop("schema", None)), **options)


def test_a_clean_table_is_called_clean(table):
    found = look(table)
    assert "Nothing missing, broken, doubled or leaking was found." in found.text()
    assert (found.missing, found.broken, found.misfits, found.duplicates, found.leaks) == ({}, [], [], [], [])
    assert found.balance["label"] == {"kind": "classes", "missing": 0, "classes": {"yes": 6, "no": 6}}
    assert found.fields[0] == {
        "name": "photo", "kind": "image", "why": "cells are paths that end in .png", "missing": 0, "bad": 0,
    }  # fmt: skip


def test_rows_are_named_by_the_column_that_the_schema_names(table):
    table.data["code"] = [f"c{row}" for row in range(ROWS)]
    table.data["price"][1] = None
    assert look(table, schema={"id": "code"}).missing == {"price": ["c1"]}


def test_missing_and_unfitting_cells_are_named(table):
    table.data["price"][1:4] = [None, "twelve", None]
    table.data["label"][5] = None
    found = look(table)
    assert found.missing == {"price": ["r1", "r3"], "label": ["r5"]}
    assert [str(problem) for problem in found.misfits] == ["r2 [price]: is 'twelve' in a column of numbers"]
    assert found.fields[2]["bad"] == 1
    assert "price: 2 (r1, r3)" in found.text()


def test_every_way_a_file_can_be_broken_is_named(table, tmp_path):
    (tmp_path / "0.png").unlink()
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "2.png").write_text("not a picture at all")
    content = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "4.png").write_bytes(b"OggS" + bytes(200))
    (tmp_path / "5.png").unlink()
    (tmp_path / "5.png").mkdir()
    (tmp_path / "6.png").write_bytes(bytes(200))
    found = look(table)
    assert {problem.row: problem.reason.split(":")[0].split(" (")[0] for problem in found.broken} == {
        "r0": "the file '0.png' does not exist",
        "r1": "the file '1.png' is empty",
        "r2": "the file '2.png' is plain text, not image",
        "r3": "the file '3.png' is a picture that is cut short or damaged",
        "r4": "the file '4.png' is audio, not image",
        "r5": "the file '5.png' is a folder, where a file was expected",
        "r6": "the file '6.png' is no picture of a known form; it looks like nothing but zero bytes, as a copy that "
        "was broken off",
    }
    assert "photo: 7" in found.text(most=2)
    assert "and 5 more" in found.text(most=2)


def test_a_folder_of_frames_is_a_film_and_no_sound(tmp_path):
    (tmp_path / "frames").mkdir()
    for number in range(3):
        picture(number).save(tmp_path / "frames" / f"{number}.png")
    listed = '["frames/0.png", "frames/1.png"]'
    given = Table.build({"clip": ["frames", listed], "y": ["a", "b"]}, base=tmp_path)
    fields = {"seen": {"kind": "video", "columns": "clip"}, "heard": {"kind": "audio", "columns": "clip"}}
    found = inspect_table(given, Schema.infer(given, "y", {"fields": fields}))
    assert [(one.row, one.column) for one in found.broken] == [("0", "heard"), ("1", "heard")]
    assert "is a folder, where a file was expected" in found.broken[0].reason
    assert "is a list ([" in found.broken[1].reason


def test_a_file_that_may_not_be_opened_is_named(table, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    broken = look(table).broken
    assert len(broken) == ROWS
    assert all("may not be read (permission denied): give yourself the right" in one.reason for one in broken)


def test_readers_decide_when_given(table):
    def reader(cell: Path) -> np.ndarray:
        if cell.name == "3.png":
            raise BadCell("is too odd")
        return np.asarray(Image.open(cell))

    found = look(table, readers={"photo": reader})
    assert [str(problem) for problem in found.broken] == ["r3 [photo]: is too odd"]
    with pytest.raises(UnknownName, match=r"There is a reader for 'phto', which is no field\. Did you mean 'photo'\?"):
        look(table, readers={"phto": reader})


def test_a_file_that_rows_share_is_read_once_and_reported_for_each(table):
    table.data["photo"][3] = "4.png"
    read = []
    look(table, readers={"photo": lambda cell: read.append(cell.name)})
    assert sorted(read) == sorted({*table.column("photo")})
    table.data["photo"][3] = table.data["photo"][4] = "gone.png"
    assert [problem.row for problem in look(table).broken] == ["r3", "r4"]


def test_copies_are_found_by_content_and_by_looks(table, tmp_path):
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes())
    picture(2, side=44).save(tmp_path / "3.png")
    table.data["note"][5] = table.data["note"][4].upper() + "!"
    table.data["note"][7] = table.data["note"][6] + " more"
    found = look(table)
    assert found.duplicates == [
        Doubled("photo", "same", ["r0", "r1"]),
        Doubled("photo", "near", ["r2", "r3"]),
        Doubled("note", "same", ["r4", "r5"]),
        Doubled("note", "near", ["r6", "r7"]),
    ]
    assert "photo: 2 rows hold nearly the same in 1 set" in found.text()
    assert [one.likeness for one in look(table, near=False).duplicates] == ["same", "same"]


def test_equal_rows_and_their_contradictions(table):
    for column in ("photo", "note", "price"):
        table.data[column][1] = table.data[column][0]
        table.data[column][4] = table.data[column][2]
    found = look(table)
    assert Doubled("", "same", ["r0", "r1"]) in found.duplicates
    assert Doubled("", "same", ["r2", "r4"]) in found.duplicates
    assert found.contradictions == [Doubled("label", "same", ["r0", "r1"])]
    assert "Equal rows with different answers\n  label: r0, r1" in found.text()


def test_leaks_between_splits(table, tmp_path):
    table.data["patient"] = ["a", "a", "b", "b"] + [f"p{row}" for row in range(8)]
    (tmp_path / "9.png").write_bytes((tmp_path / "0.png").read_bytes())
    split = ["train"] * 3 + ["test"] * 9
    found = look(table, split=split, schema={"group": "patient"})
    assert found.leaks == [
        Leak("photo", "same", {"train": ["r0"], "test": ["r9"]}),
        Leak("patient", "group", {"train": ["r2"], "test": ["r3"]}),
    ]
    assert "patient: 1 set is split apart\n    train: r2; test: r3" in found.text()
    table.data["split"] = split
    assert look(table, schema={"group": "patient"}).leaks == found.leaks
    with pytest.raises(BadArgument, match=r"12 are needed, 2 were given"):
        look(table, split=["train", "test"])


def test_rare_classes_constants_and_numbers(table):
    table.data["unit"] = ["kg"] * ROWS
    table.data["label"][0] = "once"
    found = look(table)
    assert found.constant == ["unit"]
    assert "label: 1 of 3 classes have fewer than 5 rows: once." in found.warnings
    table.data["label"][:] = [*range(100, 100 + ROWS - 1), "many"]
    number = inspect_table(table, Schema.infer(table, {"label": "number"}))
    assert number.balance["label"] == {"kind": "number", "missing": 0, "least": 100, "median": 105, "most": 110}
    assert [str(problem) for problem in number.misfits] == ["r11 [label]: is 'many', but the target is a number"]
    assert "number from 100 over 105 (median) to 110" in number.text()


def test_a_uniform_collection_is_not_called_copied(tmp_path):
    base = np.asarray(picture(0).convert("L")).astype(int)
    noise = np.random.default_rng(0)
    for row in range(30):
        pixels = (base + noise.integers(-2, 3, base.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{row}.png")
    table = Table.build({"photo": [f"{row}.png" for row in range(30)]}, base=tmp_path)
    found = inspect_table(table, Schema.infer(table))
    assert found.duplicates == []
    assert "photo: each picture looks like 2" in found.warnings[0]


def test_filled_in_forms_are_not_called_copied():
    text = [f"The customer in room {row} asked for the window to be mended and paid." for row in range(100, 140)]
    table = Table.build({"text": text})
    found = inspect_table(table, Schema.infer(table))
    assert found.duplicates == []
    assert "nearly equal another, as filled-in forms do" in found.warnings[0]


def test_texts_alike_by_form_are_not_compared_all_with_all(monkeypatch):
    compared = []
    enough = minhash._enough

    def counting(minima, a, b, least):
        compared.append(len(a))
        return enough(minima, a, b, least)

    monkeypatch.setattr(minhash, "_enough", counting)
    for rows in (500, 2000):
        source = random.Random(0)
        mail = [
            f"Dear customer your order number {source.randrange(10**9)} has been received by our warehouse and is sent"
            for _ in range(rows)
        ]
        table = Table.build({"mail": mail})
        compared.clear()
        found = inspect_table(table, Schema.infer(table, None, {"kinds": {"mail": "text"}}))
        assert "they are not compared further" in found.warnings[-1]
        assert sum(compared) <= 64 * rows  # at most two others a text in each of 32 bands


def test_long_texts_are_compared_by_their_beginnings(monkeypatch):
    monkeypatch.setattr("polymodal.data.media.prints.LONGEST", 60)
    monkeypatch.setattr("polymodal.data.inspection.inspect.LONGEST", 60)
    start = "The same first sixty letters of a book, which its copies share, "
    table = Table.build(
        {"text": [start + "and then this", start + "and then that", start + "and then this", *map(sentence, range(20))]}
    )
    found = look_at(table)
    assert Doubled("text", "same", ["0", "2"]) in found.duplicates
    assert Doubled("text", "same", ["0", "1"]) not in found.duplicates
    assert "texts have more than 60 letters" in found.warnings[0]


def look_at(table: Table):
    return inspect_table(table, Schema.infer(table))


def test_thousands_of_pictures_that_look_alike_are_one_crowd(monkeypatch):
    source = np.random.default_rng(0)
    codes = np.full(3000, 0x5A5A_1234_0F0F_7777, np.uint64)
    for _ in range(4):
        codes ^= np.uint64(1) << source.integers(0, 64, len(codes), dtype=np.uint64)
    exact = hamming.within(codes, 5)
    monkeypatch.setattr(hamming, "CROWD", 100)
    pairs = []
    distance = hamming.distance
    monkeypatch.setattr(hamming, "distance", lambda a, b: pairs.append(np.broadcast(a, b).size) or distance(a, b))
    crowd = hamming.within(codes, 5)
    assert (crowd == exact).mean() > 0.99
    assert sum(pairs) <= 6 * 2 * 10 * len(codes), "each with a few others, not with all"


def test_the_first_of_a_cluster_is_kept_whatever_the_order():
    def near(kept: np.ndarray, rest: np.ndarray) -> np.ndarray:
        return np.abs(values[kept] - values[rest]) <= 1

    values = np.array([5, 1, 5, 2, 3, 1, 9])
    assert clusters.keepers(np.array([0, 1, 0, 1, 1, 1, 6]), near).tolist() == [0, 1, 0, 1, 4, 1, 6]
    assert clusters.crowded(np.array([0, 1, 0, 1, 4])) == 4
    assert clusters.crowded(np.zeros(0, np.int64)) == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 300 + ".png", "is longer than a file name may be"),
        ("é" * 200 + ".png", "is longer than a file name may be"),
        ("d/" * 3000 + "a.png", "is longer than a file name may be"),
        ("folder/" + "y" * 256 + "/b.png", "is longer than a file name may be"),
        ("a\0b.png", "has a NUL character in its file name"),
        ("half\ud800.png", "has half a character"),
        ("latin\udce9.png", "does not exist"),
        ("0.png/inside.png", ""),
    ],
)
def test_a_path_that_no_file_can_have_is_one_more_broken_cell(table, tmp_path, name, reason):
    table.data["photo"][3] = name
    (broken,) = look(table).broken
    assert broken.row == "r3"
    assert reason in broken.reason
    suggestion = suggest(table, target="label")
    assert any(step.name == "readable" and step.seen for step in suggestion.steps)
    field = Schema.infer(table, "label").fields["photo"]
    with pytest.raises(BadCell):
        PROCESSORS.build("image").read(cells(table, field)[3])


def test_problems_of_reading_are_carried_over(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\na b c d,x\nonly one\ne f g h,y\n")
    table = read_table(tmp_path / "t.csv")
    found = look(table)
    assert "t.csv:3: has 1 cell where the header has 2" in found.text()
    assert json.loads(json.dumps(found.to_json()))["problems"][0]["row"] == "t.csv:3"


def test_arrays_beside_the_table_are_examined(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(3, 2))
    table = Table.build({"row": [0, 1, 9, None], "label": ["a", "b", "a", "b"]}, base=tmp_path)
    field = Field("v", "vector", ("row",), {"array": "a.npy", "row": "row"})
    found = inspect_table(table, Schema({"v": field}, {"label": "classes"}))
    assert [str(problem) for problem in found.broken] == ["2 [v]: is row 9, but the array has 3 rows"]
    assert found.missing == {"row": ["3"]}


@pytest.mark.parametrize("rows", [200])
def test_planted_dirt_is_named_to_the_last_cell(tmp_path, rows, monkeypatch):
    monkeypatch.setattr("planted_faults.HUGE", 1001)
    monkeypatch.setattr("polymodal.data.media.picture.MOST_PIXELS", 1_000_000)
    faults = messy(tmp_path, rows)
    table = read_table(tmp_path / "messy.csv")
    schema = Schema.infer(table, "label")
    assert {one.name: one.kind for one in schema.fields.values()} == {
        "photo": "image", "sound": "audio", "note": "text", "table": "table",
    }  # fmt: skip
    found = inspect_table(table, schema)

    def planted(what: str) -> set[tuple[str, str]]:
        return {(fault.row, fault.column) for fault in faults if fault.what == what}

    def named(problems) -> set[tuple[str, str]]:
        return {(problem.row, problem.column) for problem in problems}

    assert named(found.broken) == planted("broken")
    assert named(found.misfits) == planted("misfit")
    assert named(found.problems) == planted("noted") | planted("set aside")
    assert {(row, column) for column, rows in found.missing.items() for row in rows} >= planted("missing")
    assert {row for one in found.duplicates for row in one.ids} >= {row for row, _ in planted("copy")}


def test_too_few_rows_for_every_fault_are_refused(tmp_path):
    with pytest.raises(BadArgument, match=r"rows=10 are too few for every kind of fault; give 200 or more"):
        messy(tmp_path, 10)


def test_same_and_sets():
    assert same(["a", None, "a", None, "b"]) == [[0, 2]]
    assert sets(np.array([0, 1, 0, 1, 4])) == [[0, 2], [1, 3]]


def test_the_hash_is_that_of_scipy_s_transform():
    small = np.stack([small_grey(picture(seed)) for seed in range(20)])
    low = dctn(small.astype(float), axes=(1, 2))[:, :8, :8].reshape(20, 64)
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
    assert perceptual_hash(small).tolist() == [int("".join("01"[int(b)] for b in row), 2) for row in bits]
    assert not comparable(np.zeros((1, 32, 32), np.uint8))[0]


def test_near_pictures_are_those_within_the_radius():
    small = np.stack([small_grey(picture(seed % 40, side=40 + 4 * (seed // 40))) for seed in range(120)])
    codes = perceptual_hash(small)
    kept = hamming.keepers(codes, 5)
    assert np.array_equal(kept[:40], np.arange(40))
    assert (kept[40:] == np.tile(np.arange(40), 2)).mean() > 0.9
    assert (hamming.distance(codes, codes[kept]) <= 5).all()


def prepared(table: Table, steps: list, folder: Path) -> set[str]:
    """Rows that `prepare` sets aside."""
    prepare(table, steps, out=folder, workers=0, quiet=True)
    return {row["id"] for row in pq.read_table(folder / "set_aside.parquet").to_pylist()}


def test_inspect_and_prepare_agree_on_what_is_nearly_the_same(table, tmp_path):
    picture(2, side=44).save(tmp_path / "3.png")
    picture(4, side=60).save(tmp_path / "5.png")
    picture(6, side=200).convert("L").save(tmp_path / "7.png")
    buffer = picture(8, side=300)
    buffer.save(tmp_path / "9.png", "JPEG", quality=50)
    Image.new("RGB", (40, 40), "white").save(tmp_path / "10.png")
    Image.new("RGB", (40, 40), "ivory").save(tmp_path / "11.png")
    table.data["note"][7] = table.data["note"][6] + " more"
    table.data["note"][1] = "Ｆｕｌｌ width, " + table.data["note"][0]
    table.data["note"][0] = "full width " + table.data["note"][0]
    found = look(table).duplicates
    for stream, step in (("photo", "near_pictures"), ("note", "near_duplicates")):
        copies = {row for one in found if one.stream == stream for row in one.ids[1:]}
        assert copies == prepared(table, [{step: {"columns": stream}}], tmp_path / step)
        assert len(copies) >= 2


def test_near_texts_are_those_that_share_most_of_their_pieces():
    def pieces(text: str) -> set[str]:
        return {text[i : i + 5] for i in range(len(text) - 4)}

    texts = [sentence(seed) for seed in range(60)]
    texts += [text[:-1] + "x" for text in texts[:20]] + [
        text[: len(text) // 2] + sentence(99, 6) for text in texts[20:40]
    ]
    kept = minhash.keepers(minhash.signatures(texts), 0.8).tolist()
    assert kept == [*range(60), *range(20), *range(80, 100)]
    for text, of in zip(map(pieces, texts), (pieces(texts[place]) for place in kept)):
        assert len(text & of) > 0.8 * len(text | of)
    assert len(minhash.keepers(minhash.signatures([]), 0.8)) == 0


def test_flickr_has_its_known_twin(real_data):
    table = read_table(real_data("flickr") / "train.csv")
    table = table.select([i for i, image in enumerate(table.ids) if image < "31"])
    found = inspect_table(table, Schema.infer(table))
    assert Doubled("image", "same", ["2851198725_37b6027625", "3050606344_af711c726c"]) in found.duplicates
    assert found.broken == []
