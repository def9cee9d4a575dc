"""Every column is listed with its use and why; what the cells speak for is proposed, with a line that works."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from polymodal.core.errors import BadData
from polymodal.data.inspection.columns import columns_of
from polymodal.data.inspection.inspect import inspect_table
from polymodal.data.inspection.proposals import Proposal, proposals
from polymodal.data.schema import Schema
from polymodal.data.tables.source import read_table
from polymodal.data.tables.table import Table
from polymodal.experiment.inspection import inspect

ROWS = 80
RNG = np.random.default_rng(0)
LABELS = ["cat", "dog"] * (ROWS // 2)
PARTS = ["train"] * 50 + ["valid"] * 10 + ["test"] * 20


def table(base: Path | None = None, **columns) -> Table:
    return Table.build({"price": [f"{n:.2f}" for n in RNG.normal(20, 5, ROWS)], **columns, "label": LABELS}, base=base)


def proposed(given: Table, part_of=None, **schema) -> dict[str, str]:
    """The lines of schema by column. Each must be one line, and a schema that this table takes."""
    found = proposals(given, Schema.infer(given, schema.pop("target", "label"), schema), part_of)
    for one in found:
        assert "\n" not in one.schema
        said = yaml.safe_load(one.schema)
        Schema.infer(given, None if "target" in said else "label", said)
    return {one.column: one.schema for one in found}


# --- every column -----------------------------------------------------------------------------------------------------


def used() -> Table:
    return table(
        photo=[f"p/{i}.jpg" for i in range(ROWS)],
        code=[f"a{i:04}x" for i in range(ROWS)],
        blank=[None] * ROWS,
        unit=["kg"] * ROWS,
        scan=[f"scan{i}.wibble" for i in range(ROWS)],
        link=[f"https://example.org/{i}" for i in range(ROWS)],
        shop=["north", "south"] * (ROWS // 2),
        left=["unwanted"] * 40 + ["columns"] * 40,
        tags=[["a", "b"], ["c"]] * (ROWS // 2),
    )


def test_every_column_is_listed_with_kind_use_and_reason():
    given = used()
    schema = Schema.infer(given, "label", {"group": "shop", "ignore": "left"})
    told = {one.name: one for one in columns_of(given, schema)}
    assert list(told) == given.columns
    assert {name: (one.use, one.kind) for name, one in told.items()} == {
        "price": ("stream", "number"), "photo": ("stream", "image"), "code": ("not used", "id"),
        "blank": ("not used", "empty"), "unit": ("not used", "constant"), "scan": ("not used", "id"),
        "link": ("not used", "id"), "shop": ("group", "category"), "left": ("not used", "category"),
        "tags": ("not used", "other"), "label": ("target", "classes"),
    }  # fmt: skip
    assert all(one.why for one in told.values())
    assert told["left"].why == "the schema says ignore"
    assert told["blank"].missing == ROWS
    found = inspect_table(given, schema)
    text = found.text()
    assert all(f"  {name}: " in text for name in given.columns)
    assert "Empty columns\n  blank" in text
    assert [one["name"] for one in json.loads(json.dumps(found.to_json()))["columns"]] == given.columns
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


def test_columns_beside_listed_fields_are_listed_too():
    given = table(note=[f"some words of row {i} here" for i in range(ROWS)], shop=["n", "s"] * 40)
    schema = Schema.infer(given, "label", {"fields": {"price": {"kind": "vector"}}})
    told = {one.name: (one.kind, one.why) for one in columns_of(given, schema)}
    assert told["note"] == ("text", "not among the fields of the schema")
    assert told["price"] == ("vector", "as the schema says")
    assert any("leave out note (text)" in warning for warning in schema.warnings)
    assert not Schema.infer(given, "label", {"fields": {"price": "vector"}, "ignore": ["note", "shop"]}).warnings


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ([f"https://example.org/pictures/{i}.jpg" for i in range(ROWS)], "web addresses"),
        ([f"https://example.org/{i}7" for i in range(ROWS)], "web addresses"),
        ([f"scan_{i}.wibble" for i in range(ROWS)], "names of files (.wibble)"),
        ([rf"C:\scans\{i}.e57" for i in range(ROWS)], "names of files (.e57)"),
        ([b"what is this"] * 40 + [b"and that"] * 40, "files in the table"),
        ([{"a": 1}, {"b": 2}] * 40, "data (cells of type dict)"),
    ],
)
def test_a_column_that_is_left_out_although_it_holds_data_is_warned_of(cells, what):
    given = table(mystery=cells)
    warnings = Schema.infer(given, "label").warnings
    assert any(line.startswith("mystery ") and f"look like {what}" in line for line in warnings), warnings
    assert not Schema.infer(given, "label", {"ignore": "mystery"}).warnings


def test_files_are_told_by_being_there(tmp_path):
    for i in range(ROWS):
        (tmp_path / f"rec{i:03}").write_bytes(b"?")
    warnings = Schema.infer(table(tmp_path, track=[f"rec{i:03}" for i in range(ROWS)]), "label").warnings
    assert any("look like names of files" in line for line in warnings)


def test_keys_constants_and_empty_columns_are_no_data():
    given = table(code=[f"a{i:04}x" for i in range(ROWS)], blank=[None] * ROWS, unit=["kg"] * ROWS)
    assert Schema.infer(given, "label").warnings == ()


# --- the answer in words ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    ["animals_{}-{}", "photos/{}/{}.scan", "{}{}.final", "this is a {} number {} of many", "IMG {} ({})"],
)
def test_words_that_name_the_class_are_a_leak(cell):
    given = table(file=[cell.format(label, i) for i, label in enumerate(LABELS)])
    warnings = Schema.infer(given, "label", {"kinds": {"file": "text"}}).warnings
    assert any(line.startswith("file names the answer: in 100% of the rows") for line in warnings), warnings


@pytest.mark.parametrize(("cell", "proposed"), [("animals_{}-{}", False), ("animals_{1:05}x", True)])
def test_a_key_that_names_the_class_is_not_proposed(cell, proposed):
    given = table(file=[cell.format(label, i) for i, label in enumerate(LABELS)])
    found = proposals(given, Schema.infer(given, "label"))
    assert any(one.column == "file" for one in found) is proposed, found


def test_words_that_all_rows_share_and_few_mentions_are_no_leak():
    both = table(file=[f"cat_or_dog_{i}" for i in range(ROWS)])
    few = table(file=[f"{label if i % 2 else 'pet'} {i}" for i, label in enumerate(LABELS)])
    for given in (both, few):
        assert not [w for w in Schema.infer(given, "label", {"kinds": {"file": "text"}}).warnings if "names the" in w]


# --- proposals --------------------------------------------------------------------------------------------------------


def test_a_group_that_test_rows_do_not_share_with_training_is_proposed():
    speakers = [f"s{i // 5}" for i in range(ROWS)]  # of five rows each, in order: no part shares one with another
    numbers = [i // 5 for i in range(ROWS)]
    colours = ["red", "green", "blue", "grey"] * 20
    assert proposed(table(voice=speakers), PARTS) == {"voice": "group: voice"}
    assert proposed(table(actor=numbers), PARTS)["actor"] == "group: actor"
    assert proposed(table(author_id=speakers), PARTS)["author_id"] == "group: author_id"
    assert proposed(table(colour=colours), PARTS) == {}
    assert proposed(table(voice=speakers), PARTS, group="voice") == {}
    assert proposed(table(**{"the: voice": speakers}), PARTS) == {"the: voice": "group: 'the: voice'"}
    split = table(voice=speakers, split=PARTS)
    found = inspect_table(split, Schema.infer(split, "label"))
    assert found.proposals[0].schema == "group: voice"
    assert "none of the 4 values of the test rows occurs in training" in found.text()


def test_without_a_split_the_name_alone_proposes_a_group():
    people = [f"p{i % 9}" for i in range(ROWS)]
    assert proposed(table(patient=people)) == {"patient": "group: patient"}
    assert proposed(table(brand=people)) == {}
    assert proposed(table(tweets_of_author=[i % 9 for i in range(ROWS)])) == {}
    writers = [f"w{i if i % 3 else i // 12}" for i in range(ROWS)]  # most have one row, and a third shares theirs
    assert proposed(table(author=writers)) == {}
    found = proposals(given := table(author=[f"w{i // 2}" for i in range(ROWS)]), Schema.infer(given, "label"))
    assert "100% of the rows share theirs with others, so that a random split puts the same author" in found[0].why


def test_a_time_is_proposed_where_rows_came_in_order_or_neighbours_agree():
    days = [f"2021-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(ROWS)]
    mixed = [days[i] for i in np.random.default_rng(0).permutation(ROWS)]
    halves = ["cat" if day < days[ROWS // 2] else "dog" for day in mixed]
    assert proposed(table(sold=days)) == {"sold": "time: sold"}
    assert proposed(table(sold=mixed)) == {}  # a date of birth is no order in which rows came
    assert proposed(Table.build({**table(sold=mixed).data, "label": halves})) == {"sold": "time: sold"}
    assert proposed(table(sold=days), PARTS) == {}
    assert proposed(table(sold=days, shop=["n", "s"] * (ROWS // 2)), group="shop") == {}
    assert proposed(table(sold=days), time="sold") == {}
    assert proposed(table(sold=["2021-01-01", "2021-01-02"] * (ROWS // 2))) == {}
    assert proposed(table(clock=[f"{i // 60 + 8:02}:{i % 60:02}" for i in range(ROWS)])) == {}


@pytest.mark.parametrize("name", ["saps_1", "risk_score", "pred_dog", "modelProb", "prob", "SOFA 24h"])
def test_scores_of_another_model_are_pointed_at(name):
    score = [f"{0.6 * (label == 'dog') + 0.3 * noise:.3f}" for label, noise in zip(LABELS, RNG.random(ROWS))]
    assert proposed(table(**{name: score})) == {name: f"ignore: [{name}]"}


def test_a_share_that_ranks_the_target_is_pointed_at_and_one_that_does_not_is_not():
    ranks = [f"{0.5 * (label == 'dog') + 0.5 * noise:.3f}" for label, noise in zip(LABELS, RNG.random(ROWS))]
    assert proposed(table(share=ranks)) == {"share": "ignore: [share]"}
    assert proposed(table(share=[f"{noise:.3f}" for noise in RNG.random(ROWS)])) == {}
    numbers = Table.build({"p": [f"{i / 100:.2f}" for i in range(ROWS)], "y": [i * i for i in range(ROWS)]})
    assert proposals(numbers, Schema.infer(numbers, {"y": "number"}))[0].schema == "ignore: [p]"


def test_the_work_of_telling_an_inspection_grows_as_its_streams_do():
    def calls(count: int) -> int:
        notes = {f"n{i}": [f"some words of row {row} in note {i}" for row in range(20)] for i in range(count)}
        given, made = Table.build({**notes, "label": ["a", "b"] * 10}), [0]
        found = inspect_table(given, Schema.infer(given, "label"), near=False)

        def count_call(frame, event, argument):
            made[0] += event.endswith("call")

        sys.setprofile(count_call)
        try:
            found.text()
        finally:
            sys.setprofile(None)
        return made[0]

    assert calls(80) < 4.1 * calls(20)


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        (["red, small", "red", "small, blue", "blue"], "target: {tags: multilabel}"),
        (["red;small", "red", "small;blue", "blue;red"], "target: {tags: multilabel}"),
        (['["red", "small"]', '["red"]', '["small", "blue"]', '["blue"]'], "target: {tags: multilabel}"),
        (['["red"]', '["small"]', '["blue"]', '["red"]'], "target: {tags: multilabel}"),
        (["['red', 'small']", "['red']", "['small', 'blue']", "[]"], "target: {tags: multilabel}"),
    ],
)
def test_lists_of_labels_are_offered_as_multilabel(cells, line):
    given = Table.build({"price": RNG.normal(0, 1, ROWS), "tags": cells * (ROWS // 4)})
    (found,) = proposals(given, Schema.infer(given, {"tags": "classes"}))
    assert found.schema == line
    schema = Schema.infer(given, None, yaml.safe_load(line))
    assert set(inspect_table(given, schema).balance["tags"]["classes"]) == {"red", "small", "blue"}


def test_class_names_with_commas_are_no_lists():
    given = Table.build({"price": RNG.normal(0, 1, ROWS), "city": ["Paris, Texas", "Rome, Georgia"] * (ROWS // 2)})
    assert proposals(given, Schema.infer(given, "city")) == []


def test_scales_years_and_keys_come_with_the_line_that_changes_them():
    given = table(
        nps=[i % 11 for i in range(ROWS)],
        year=[1990 + (7 * i) % 30 for i in range(ROWS)],
        sku=[f"a{i:04}x" for i in range(ROWS)],
        amount=[i % 40 for i in range(ROWS)],
    )
    assert proposed(given) == {
        "nps": "kinds: {nps: category}", "year": "kinds: {year: category}", "sku": "kinds: {sku: category}",
    }  # fmt: skip
    stars = Table.build({"price": RNG.normal(0, 1, ROWS), "stars": [1 + i % 5 for i in range(ROWS)]})
    assert proposed(stars, target="stars") == {"stars": "target: {stars: ordinal}"}
    few = Table.build({"price": RNG.normal(0, 1, ROWS), "stars": [0, 1, 2, 4] * (ROWS // 4)})
    assert "are taken for 4 classes" in proposals(few, Schema.infer(few, "stars"))[0].why


def test_a_number_that_rises_by_one_a_row_may_be_its_name():
    given = table(bon=list(range(5000, 5000 + ROWS)), amount=[i % 40 for i in range(ROWS)])
    assert proposed(given) == {"bon": "id: bon"}
    assert proposed(table(bon=[5000 + 2 * i for i in range(ROWS)])) == {}


def test_arrays_and_an_edge_list_beside_the_table_are_offered(tmp_path):
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "ecg.npy", np.zeros((ROWS + 5, 7, 2), np.float32))
    np.savez(tmp_path / "arrays" / "emb.npz", x=np.zeros((ROWS, 4)))
    np.save(tmp_path / "arrays" / "short.npy", np.zeros((9, 4)))
    (tmp_path / "arrays" / "broken.npy").write_bytes(b"\x93NUMPY no")
    with (tmp_path / "claims.npy").open("wb") as file:  # terabytes by its own account
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
    np.save(tmp_path / "objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    os.mkfifo(tmp_path / "pipe.npy")
    with (tmp_path / "edges.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["from", "to", "weight"], *([f"n{i}", f"n{i + 1}", 0.5] for i in range(ROWS - 1))])
    (tmp_path / "graph.csv").write_text("nothing,that\njoins,rows\n")
    given = table(tmp_path, node=[f"n{i}" for i in range(ROWS)], row=list(range(ROWS)))
    lines = proposed(given)
    said = yaml.safe_load(lines["ecg, emb, links"])
    assert said["id"] == "node"
    assert said["fields"] == {
        "table": {"kind": "table", "columns": ["price"]},
        "ecg": {"kind": "series", "array": "arrays/ecg.npy", "row": "row"},
        "emb": {"kind": "vector", "array": "arrays/emb.npz", "row": "row"},
        "links": {"kind": "links", "path": "edges.csv", "source": "from", "target": "to", "weight": "weight"},
    }
    schema = Schema.infer(given, "label", said)
    assert inspect_table(given, schema).broken == []
    assert "ecg, emb, links" not in proposed(given, **said)


def test_a_second_picture_that_is_a_mask_is_pointed_at(tmp_path):
    for i in range(ROWS):
        pixels = RNG.integers(0, 255, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC).save(tmp_path / f"{i}.jpg", quality=90)
        outline = np.zeros((48, 64), np.uint8)
        outline[8 : 20 + i % 20, 10:40] = 255
        Image.fromarray(outline).save(tmp_path / f"{i}_mask.{'jpg' if i % 2 else 'png'}")
        Image.fromarray(pixels[::-1]).resize((64, 48), Image.Resampling.BICUBIC).save(tmp_path / f"{i}_b.jpg")
    (tmp_path / "3_mask.jpg").unlink()
    shown = [f"{i}.jpg" for i in range(ROWS)]
    drawn = [None if i < 30 else f"{i}_mask.{'jpg' if i % 2 else 'png'}" for i in range(ROWS)]
    assert proposed(table(tmp_path, photo=shown, area=drawn)) == {"area": "ignore: [area]"}
    assert proposed(table(tmp_path, photo=shown, back=[f"{i}_b.jpg" for i in range(ROWS)])) == {}
    assert proposed(table(tmp_path, area=drawn)) == {}


def test_a_proposal_reads_as_a_sentence_with_its_line():
    assert str(Proposal("a", "a: why.", "group: a")) == "a: why. In a schema: `group: a`."


@pytest.mark.parametrize(
    ("name", "target", "lines"),
    [
        ("icu", "label", {"labs, vitals", "saps_1"}),
        ("pages", "label", {"links"}),
        ("voice_emotion", "label", {"actor"}),
        ("mosi", "label", {"video_id", "audio, text, video"}),
    ],
)
def test_real_tables_get_the_proposals_that_they_need(real_data, name, target, lines):
    folder = real_data(name)
    parts = {part: read_table(folder / f"{part}.csv") for part in ("train", "test")}
    both = Table.concat(list(parts.values()))
    part_of = [part for part, one in parts.items() for _ in range(len(one))]
    found = {one.column for one in proposals(both, Schema.infer(parts["train"], target), part_of)}
    assert lines <= found


def test_of_many_columns_that_give_no_stream_the_first_are_named():
    given = Table.build({f"x{i}": ["kg"] * ROWS for i in range(2000)} | {"label": LABELS})
    with pytest.raises(BadData, match="x19: every cell is 'kg', and 1,980 more$"):
        Schema.infer(given, "label")


def test_a_table_without_any_stream_is_still_listed():
    given = Table.build(
        {"clip": [f"https://example.org/{i}.jpg" for i in range(ROWS)], "unit": ["kg"] * ROWS, "label": LABELS}
    )
    found = inspect({name: given.column(name) for name in given.columns}, "label")
    assert [(one.name, one.use) for one in found.columns] == [
        ("clip", "not used"), ("unit", "not used"), ("label", "target"),
    ]  # fmt: skip
    assert "clip is not used although its cells look like web addresses" in found.text()
    with pytest.raises(BadData, match="No column of table can be used as a stream"):
        Schema.infer(given, "label")
