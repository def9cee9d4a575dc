"""Schema.infer: what each column is, why, and what a user may say instead."""

from __future__ import annotations

import json
import random
import string
from decimal import Decimal
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import polymodal as pm
from polymodal.core.errors import BadArgument, BadData, UnknownName
from polymodal.data.cells import cells
from polymodal.data.infer import tell, tell_target
from polymodal.data.overrides import read_overrides
from polymodal.data.schema import Schema
from polymodal.data.tables.source import read_table
from polymodal.data.tables.table import Table
from polymodal.targets.base import Target, asked

ROWS = 60


def kind(values, name="x", **more) -> str:
    return tell(Table.build({name: values, **more}), name).kind


def words(count: int, seed: int = 0) -> list[str]:
    source = random.Random(seed)
    return ["".join(source.choices(string.ascii_lowercase, k=6)) for _ in range(count)]


def table(**columns) -> Table:
    given = {
        "id": [f"r{i}" for i in range(ROWS)],
        "photo": [f"p\\{i}.jpg" for i in range(ROWS)],
        "review": [" ".join(words(6, i)) for i in range(ROWS)],
        "price": [f"{i * 1.5}" for i in range(ROWS)],
        "brand": ["a", "b", "c"] * (ROWS // 3),
        "label": ["yes", "no"] * (ROWS // 2),
    }
    return Table.build(given | columns)


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [("png", "image"), ("wav", "audio"), ("mp4", "video"), ("nii.gz", "volume"), ("ply", "points")],
)
def test_media_are_told_by_their_suffix_though_some_cells_are_wrong(suffix, expected):
    values = [f"a/{i}.{suffix}" for i in range(20)] + ["oops", None, "see note"]
    assert kind(values) == expected


PATHS = ((".png", "image"), (".wav", "audio"), (".mp4", "video"), (".txt", "text"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3.5] * 20, "number"),
        (["1", "2.5", "n.a.", "7", "9"] * 20, "number"),
        (["$1,200", "$900", "$5"] * 20, "number"),
        (["3 kg", "4 kg", "12 kg"] * 20, "number"),
        (["01234", "04321", "99999"] * 20, "category"),
        ([True, False] * 20, "category"),
        (["red", "green"] * 20, "category"),
        (["2024-05-31", "2024-06-01"] * 20, "date"),
        (["31.5.2024", "1.6.2024"] * 20, "date"),
        ([f"{word} {word} a b" for word in words(40)], "text"),
        (["New York", "Berlin", "Paris", *words(30)] * 4, "category"),
        ([f"{word}{i}" for i, word in enumerate(words(40))], "id"),
        (["x"] * 20, "constant"),
        ([None, ""] * 20, "empty"),
        ([[0.5, 1.5], [1, 2]] * 20, "vector"),
        (["[0.5, 1.5]", "[1, 2]"] * 20, "vector"),
        (["0.5 1.5 2", "1 2 3"] * 20, "vector"),
        ([[1, 2], [1, 2, 3]] * 20, "series"),
        ([[[1, 2], [3, 4]], [[5, 6]]] * 20, "series"),
        ([np.zeros(3)] * 20, "vector"),
        ([np.zeros((5, 2))] * 20, "series"),
        ([np.zeros((8, 8, 3), np.uint8)] * 20, "image"),
        ([np.zeros((2, 2, 2, 2))] * 20, "other"),
        ([b"\x89PNG...", b"\xff\xd8\xff.."] * 20, "image"),
        ([np.zeros((4, 8, 8, 3), np.uint8)] * 20, "video"),
        ([{"bytes": b"OggS...", "path": None}] * 20, "audio"),
        *([([{"bytes": None, "path": f"a{end}"}] * 20, kind) for end, kind in PATHS]),
        ([b"what"] * 20, "other"),
        ([["a", "b"], ["c"]] * 20, "other"),
        (["https://x.org/a.png"] * 20, "other"),
        ([f"notes/{i}.txt" for i in range(20)], "text"),
    ],
)
def test_kinds_of_columns(values, expected):
    assert kind(values) == expected


def test_names_help_where_cells_do_not_tell():
    numbers = [str(i * 7 % 61) for i in range(ROWS)]
    assert kind(numbers, "user_id") == "id"
    assert kind(numbers, "age") == "number"
    assert kind([str(i) for i in range(60)], "line") == kind([str(i) for i in range(1, 61)], "line") == "id"
    for name, start in (("pressure", 100), ("year", 1960), ("week", 1), ("heat_index", 60), ("Day of study", 0)):
        assert kind([str(i) for i in range(start, start + 60)], name) == "number", "what merely rises is no row number"
    for name in ("heat_index", "uv_index", "body_mass_index"):
        assert kind(numbers, name) == "number"
    assert (
        kind([f"{c}色{s}号{w}{i}" for i, (c, s, w) in enumerate(product("红蓝黑白", "大小中", ("手机", "裙子", "鞋")))])
        == "text"
    )
    assert kind([f"编号{i:04d}" for i in range(40)]) == kind([f"京A{i * 37 + 10000}" for i in range(40)]) == "id"
    assert kind([f"{40 + i / 7:.3f},{9 + i / 11:.3f}" for i in range(40)]) == "vector"
    for name in ("index", "row_index", "idx"):
        assert kind(numbers, name) == "id"
    assert kind([str(i * i) for i in range(60)], "area") == "number"  # sorted, but no count of rows
    shared = [f"v{i // 2}" for i in range(ROWS)]
    guess = tell(Table.build({"video_id": shared}), "video_id")
    assert guess.kind == "id"
    assert "say `group: video_id`" in guess.warning
    assert kind(["a", "b", "c"] * 20, "brand_id") == "category"
    zipcode = tell(Table.build({"zipcode": [92276, 93510, 94501] * 20}), "zipcode")
    assert zipcode.kind == "number"
    assert "under the name of a code" in zipcode.why


def test_npy_files_are_told_apart_by_their_shape(tmp_path):
    for i in range(3):
        np.savez(tmp_path / f"v{i}.npz", a=np.zeros(4))
        np.savez_compressed(tmp_path / f"s{i}.npz", a=np.zeros((4 + i, 2)))
        np.savez(tmp_path / f"two{i}.npz", a=np.zeros(4), b=np.zeros(4))
        np.save(tmp_path / f"v{i}.npy", np.zeros(4))
        np.save(tmp_path / f"s{i}.npy", np.zeros((4 + i, 2)))
    (tmp_path / "v0.npy").write_bytes(b"broken")
    data = {name: [f"{name}{i}.npy" for i in range(3)] for name in ("v", "s", "gone")}
    data |= {f"{name}_z": [f"{name}{i}.npz" for i in range(3)] for name in ("v", "s", "two")}
    both = Table.build(data, base=tmp_path)
    assert tell(both, "v").kind == "vector"
    assert tell(both, "s").kind == "series"
    assert (tell(both, "v_z").kind, tell(both, "s_z").kind) == ("vector", "series")
    assert "paths that end in .npz" in tell(both, "two_z").why
    found = pm.inspect(both).text()
    assert (
        "holds several arrays (a, b): say which with `key` if the file is one for all rows, else save the one" in found
    )
    assert "none of the first" in tell(both, "gone").why


def test_a_whole_table():
    schema = Schema.infer(table(), "label")
    assert {name: one.kind for name, one in schema.fields.items()} == {
        "photo": "image",
        "review": "text",
        "table": "table",
    }
    assert schema.fields["table"].columns == ("price", "brand")
    assert schema.targets == {"label": "classes"}
    assert schema.id == "id"
    assert "price (number: 60 different numbers)" in schema.fields["table"].why
    assert "photo: image, cells are paths that end in .jpg" in schema.explain()
    assert "label: target (classes), 2 different values" in schema.explain()


def test_json_round_trip():
    schema = Schema.infer(table(empty=[None] * ROWS), "label", {"group": "brand", "kinds": {"price": "category"}})
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


def test_a_media_column_may_be_called_table():
    schema = Schema.infer(table(table=[f"{i}.png" for i in range(ROWS)]), "label")
    assert schema.fields["table"].kind == "image"
    assert schema.fields["table_columns"].columns == ("price", "brand")


def test_text_in_files_is_read_from_the_files():
    schema = Schema.infer(table(story=[f"{i}.txt" for i in range(ROWS)]), "label")
    assert schema.fields["story"].options == {"files": True}
    assert schema.fields["story"].processor_options == {}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["cat", "dog"] * 30, "classes"),
        ([0, 1, 2] * 20, "classes"),
        ([float(i) for i in range(60)], "number"),
        ([0.5, 1.5] * 30, "number"),
        (["a|b", "a", "b|c"] * 20, "multilabel"),
        ([["a"], ["a", "b"]] * 30, "multilabel"),
    ],
)
def test_kinds_of_targets(values, expected):
    assert Schema.infer(table(label=values), "label").targets == {"label": expected}


def test_the_split_column_is_found_by_its_words():
    assert Schema.infer(table(split=["train", "val", "TEST"] * 20), "label").split == "split"
    other = Schema.infer(table(split=["left", "right", "middle"] * 20), "label")
    assert other.split is None
    assert "split" in other.fields["table"].columns


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (["yes", "no"] * 30, "the cells are equal"),
        (["1", "0"] * 30, "its values are one-to-one with the classes"),
        (["a", "b", "c", "b"] * 15, "every one of its values goes with a single class"),
    ],
)
def test_leaks_of_a_class_are_pointed_out(column, said):
    warnings = Schema.infer(table(hint=column), "label").warnings
    assert len(warnings) == 1
    assert warnings[0].startswith(f"hint looks like the target label: {said}.")
    assert "ignore: [hint]" in warnings[0]


def test_leaks_of_a_number_are_pointed_out():
    price = [float(i**2) for i in range(ROWS)]
    schema = Schema.infer(table(price=price, cents=[p * 100 + 3 for p in price]), "price")
    assert [w.split(".")[0] for w in schema.warnings] == [
        "cents looks like the target price: one is the other in different units"
    ]


def test_honest_columns_are_no_leaks():
    assert Schema.infer(table(), "label").warnings == ()
    many = [f"m{i // 4}" for i in range(ROWS)]  # few rows a value: decided by accident
    assert Schema.infer(table(maker=many, label=["yes"] * 30 + ["no"] * 30), "label").warnings == ()


def test_fields_in_the_schema_are_all_there_are():
    said = {
        "fields": {
            "words": {"kind": "text", "columns": "review"},
            "facts": {"kind": "table", "columns": ["pri*", "brand"]},
        }
    }
    schema = Schema.infer(table(), "label", said)
    assert {n: (f.kind, f.columns) for n, f in schema.fields.items()} == {
        "words": ("text", ("review",)), "facts": ("table", ("price", "brand")),
    }  # fmt: skip
    assert schema.ignored == {"photo": "not among the fields of the schema"}


def test_patterns_pass_over_the_target_but_naming_it_is_refused():
    said = {"fields": {"all": {"kind": "table", "columns": ["*"]}}, "target": "label"}
    assert Schema.infer(table(), None, said).fields["all"].columns == ("photo", "review", "price", "brand")
    said["fields"]["all"]["columns"] = ["price", "label"]
    with pytest.raises(BadData, match=r"Field 'all' reads column 'label', which is the target"):
        Schema.infer(table(), None, said)


def test_kinds_correct_single_guesses():
    schema = Schema.infer(table(), "label", {"kinds": {"price": "category", "photo": "ignore", "brand": "text"}})
    assert {name: one.kind for name, one in schema.fields.items()} == {
        "review": "text",
        "brand": "text",
        "table": "table",
    }
    assert schema.fields["table"].options == {"types": {"price": "category"}}
    assert schema.ignored["photo"] == "the schema says ignore"


def test_codes_with_leading_zeros_stay_codes_in_the_processor_too():
    schema = Schema.infer(table(code=["01", "02", "17"] * 20), "label")
    assert schema.fields["table"].options == {"types": {"code": "category"}}


def test_a_yaml_file_says_the_same_as_a_dict(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "fields:\n  photo: image\n  ecg: {kind: series, columns: [price, brand], rate: 500}\n"
        "target: {label: classes}\ngroup: brand\nignore: review\n"
    )
    schema = Schema.infer(table(), None, path)
    assert schema.fields["ecg"].processor_options == {"rate": 500}
    assert schema.group == "brand"
    assert schema.notes["brand"] == "group: rows that share it stay together"
    assert schema.notes["label"] == "2 different values"
    assert schema.ignored["review"] == "the schema says ignore"


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({"feilds": {}}, BadArgument, r"Unknown key 'feilds' in the schema\. Did you mean 'fields'\?"),
        (
            {"fields": {"phto": "image"}},
            UnknownName,
            r"no column 'phto', named as field 'phto' in the schema\. Did you mean 'photo'",
        ),
        (
            {"fields": {"photo": "imge"}},
            BadArgument,
            r"Field 'photo' cannot be of kind 'imge'\. Did you mean 'image'\?",
        ),
        ({"fields": {"photo": {"columns": "photo"}}}, BadArgument, r"Field 'photo' in the schema needs a kind"),
        (
            {"fields": {"f": {"kind": "image", "columns": "p*"}}},
            BadArgument,
            r"of kind image takes one column; 2 match: photo, price",
        ),
        (
            {"fields": {"f": {"kind": "text", "array": "a.npy"}}},
            BadArgument,
            r"an array on disk is a vector or a series, not text",
        ),
        (
            {"fields": {"f": {"kind": "vector", "array": "a.npy", "row": "rwo"}}},
            UnknownName,
            r"named as `row` of field 'f'",
        ),
        ({"fields": ["photo"]}, BadArgument, r"`fields` in the schema maps names to kinds, as in `photo: image`"),
        (
            {"kinds": {"price": "nmber"}},
            BadArgument,
            r"Field 'price' cannot be of kind 'nmber'\. Did you mean 'number'\?",
        ),
        (
            {"kinds": {"prce": "number"}},
            UnknownName,
            r"no column 'prce', named as `kinds` in the schema\. Did you mean 'price'",
        ),
        (
            {"target": {"label": "clases"}},
            BadArgument,
            r"Target 'label' cannot be of kind 'clases'\. Did you mean 'classes'\?",
        ),
        ({"target": "lable"}, UnknownName, r"no column 'lable', named as the target\. Did you mean 'label'\?"),
        ({"group": "bradn"}, UnknownName, r"no column 'bradn', named as `group` in the schema\. Did you mean 'brand'"),
        ({"id": ["id"]}, UnknownName, r"no column \['id'\], named as `id`"),
        ({"split": {"a": 1}}, UnknownName, r"no column {'a': 1}, named as `split`"),
        ({"ignore": ["xyz*"]}, UnknownName, r"no column 'xyz\*', named as `ignore`"),
        ({"target": "label", "group": "label"}, BadData, r"Column 'label' cannot be both the target and the group"),
    ],
)
def test_what_is_wrong_in_a_schema_is_said(said, error, message):
    with pytest.raises(error, match=message):
        Schema.infer(table(), None, said)


def test_schema_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "s.yaml"
    with pytest.raises(BadData, match=r"schema file '.*s\.yaml' does not exist"):
        Schema.infer(table(), None, path)
    path.write_text("a: [")
    with pytest.raises(BadData, match=r"is not valid YAML"):
        Schema.infer(table(), None, path)
    path.write_text("words")
    with pytest.raises(BadData, match=r"must hold keys such as fields and target; it holds str"):
        Schema.infer(table(), None, path)


@pytest.mark.parametrize("said", [list, lambda names: {"fields": dict.fromkeys(names, "text")}])
def test_a_description_of_thousands_of_columns_is_not_compared_with_all_of_them(said):
    compared = []

    class Name(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            compared.append(other)
            return str(self) == str(other)

    names = [f"c{i}" for i in range(300)]
    given = said(names)
    read_overrides({"ignore": given} if isinstance(given, list) else given, map(Name, names))
    assert len(compared) < 20 * len(names)


def test_a_target_named_beside_a_schema_keeps_the_kind_that_the_schema_tells():
    table = read_table({"size": [float(i) for i in range(8)], "says": ["yes", "no"] * 4, "label": ["a", "b"] * 4})
    told = {"target": {"says": "text", "label": "classes"}}
    assert Schema.infer(table, "says", told).targets == {"says": "text"}
    assert Schema.infer(table, {"says": "classes"}, told).targets == {"says": "classes"}
    assert Schema.infer(table, "says").targets == {"says": "classes"}


def test_columns_of_one_target_may_hold_lists():
    table = read_table(
        {
            "size": [1.0, 2.0, 3.0],
            "a": [["yes", "yeah"], "no", None],
            "b": ["yep", None, None],
            "c": ['["a", "b"]', "c", ""],
        }
    )
    assert Schema.infer(table, "says=a,b").read(table).column("says") == [["yes", "yeah", "yep"], ["no"], None]
    assert Schema.infer(table, "says=c").read(table).column("says")[:2] == [["a", "b"], ["c"]]


def test_an_unknown_target_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match=r"no column 'labl', named as the target\. Did you mean 'label'\?"):
        Schema.infer(table(), "labl")


def test_no_stream_at_all_is_refused_with_reasons():
    with pytest.raises(BadData, match=r"No column of table can be used as a stream\. gone: every cell is missing"):
        Schema.infer(Table.build({"gone": [None, None], "label": ["a", "b"]}), "label")


def test_check_names_what_a_new_table_lacks():
    schema = Schema.infer(table(), "label")
    other = Table.build({"photo": ["a.png"], "revew": ["x"], "price": [1], "brand": ["a"]}, name="new")
    with pytest.raises(
        UnknownName, match=r"new has no column 'review', which field 'review' needs\. Did you mean 'revew'\?"
    ):
        schema.check(other)
    schema.check(table())
    unlabelled = Table.build({name: table().column(name) for name in ("photo", "review", "price", "brand")})
    schema.check(unlabelled)
    with pytest.raises(UnknownName, match=r"no column 'label', which the target needs"):
        schema.check(unlabelled, targets=True)


def test_avdigits(real_data):
    schema = Schema.infer(read_table(real_data("avdigits") / "train.csv"), "label")
    assert {name: one.kind for name, one in schema.fields.items()} == {
        "image": "image", "audio": "audio", "text": "text", "table": "table",
    }  # fmt: skip
    assert schema.fields["table"].columns == ("snr_db", "duration_s", "rms", "zero_crossing", "ink", "ink_width")
    assert schema.targets == {"label": "classes"}
    assert Schema.infer(read_table(real_data("avdigits") / "all.csv"), "label").split == "split"


def test_houses(real_data):
    schema = Schema.infer(read_table(real_data("houses") / "train.csv"), "price")
    kinds = [one.kind for one in schema.fields.values()]
    assert kinds == ["image"] * 4 + ["table"]
    assert schema.fields["table"].columns == ("bedrooms", "bathrooms", "area_sqft", "zipcode")
    assert schema.targets == {"price": "number"}


def test_flickr(real_data):
    schema = Schema.infer(read_table(real_data("flickr") / "train.csv"))
    assert [one.kind for one in schema.fields.values()] == ["image"] + ["text"] * 5


def test_mosi_by_schema(real_data):
    arrays = {
        name: {"kind": "vector", "array": f"arrays/{name}.npy", "row": "row"} for name in ("text", "audio", "video")
    }
    said = {"fields": arrays, "target": {"label": "classes"}, "group": "video_id"}
    schema = Schema.infer(read_table(real_data("mosi") / "train.csv"), None, said)
    assert list(schema.fields) == ["text", "audio", "video"]
    assert schema.group == "video_id"
    assert set(schema.ignored) == {"transcript", "row"}


def test_decimal_commas_are_read_alike_as_features_and_targets():
    cost = [f"{i / 7:.2f}".replace(".", ",") for i in range(1, ROWS + 1)]
    schema = Schema.infer(table(price=cost, cost=cost[::-1]), "cost")
    assert schema.targets == {"cost": "number"}
    assert "the comma is before decimals, as in '8,57'" in schema.notes["cost"]
    assert (
        "price (number: 60 different numbers; the comma is before decimals, as in '0,14')" in schema.fields["table"].why
    )
    target = asked("cost", "number").fit(cost)
    assert target.location == pytest.approx(np.mean([i / 7 for i in range(1, ROWS + 1)]), abs=0.01)
    assert (target.decimal, target.unit_written) == (",", "")
    restored = Target.from_json(target.to_json())
    assert restored.restore(restored.encode(["1,234", None])) == pytest.approx([1.234, np.nan], nan_ok=True)
    old = {k: v for k, v in target.to_json().items() if k not in ("decimal", "unit_written")}
    assert Target.from_json(old).decimal == ".", "of a bundle made before"


def test_numbers_with_a_unit_are_a_number_target_and_other_units_are_none():
    weights = [f"{i / 4} kg" for i in range(ROWS)]
    assert Schema.infer(table(label=weights), "label").targets == {"label": "number"}
    target = asked("w", "number").fit(weights)
    assert target.unit_written == "kg"
    assert target.unseen(["3 kg", "3", "3 lb"]) == {"3 lb": 1}


def test_ambiguous_thousands_say_so():
    assert tell(Table.build({"x": ["1,234", "5,678", "9,123"] * 9}), "x").why == (
        "3 different numbers; the comma of '1,234' parts thousands, for no cell tells otherwise"
    )


def test_labels_in_per_cent_are_sorted_by_value():
    values = ["10%", "5%", "20%"] * 20
    assert Schema.infer(table(label=values), "label").targets == {"label": "classes"}
    assert asked("label", "classes").fit(values).classes == ("5%", "10%", "20%")


def test_a_sign_that_stands_for_missing_values_is_named():
    guess = tell(Table.build({"x": ["1.5", "?", "2.5"] * 20}), "x")
    assert guess.kind == "number"
    assert guess.why.endswith("; '?' stands for a missing value (20 cells)")
    assert kind(["1", "+", "-"] * 20) == "category"
    why = "40 different whole numbers; '?' stands for a missing value (2 cells)"
    told = tell_target([*map(str, range(40)), "?", "?"])
    assert (told.kind, told.why, told.absent) == ("number", why, ("?",))


def test_lists_of_phrases_as_a_target_may_be_answers_in_words():
    few = [["a dog runs", "two dogs"], ["a cat sleeps"]] * 30
    told = tell_target([json.dumps(cell) for cell in few], "says")
    assert told.kind == "multilabel"
    assert told.warning == (
        "says: the items of its lists, such as 'a dog runs', are taken for 3 labels. If each is an answer in words, "
        "any of which is right, say in a schema `target: {says: text}`."
    )
    assert told.warning in Schema.infer(table(says=few), "says").warnings
    assert told.warning not in Schema.infer(table(says=few), None, {"target": {"says": "text"}}).warnings
    assert tell_target([["red", "soft"], ["blue"]] * 30).warning == ""
    varied = [[f"a dog with {i} spots", f"the dog number {i} runs"] for i in range(60)]
    assert tell_target(varied).kind == "text"


def test_one_cell_is_no_cells():
    told = tell(Table.build({"x": [*(str(i + 0.5) for i in range(60)), "many"]}), "x")
    assert told.why.endswith("; 1 cell is no number")


def test_numbers_of_other_types_and_lists_without_spaces():
    assert kind([Decimal("1.10"), Decimal("2.25"), Decimal("3.00")] * 20) == "number"
    assert kind(["0,1,2,3", "5,6,7", "1,2,8,9"] * 20) == "series"
    assert kind(["1,234,567", "2,345,678", "3,456,789"] * 20) == "number"
    assert kind([Path(f"a/{i}.png") for i in range(20)]) == "image"


def test_a_vector_of_columns_with_decimal_commas_remembers_them():
    columns = {"a": ["0,5", "1,234", "2,5"], "b": ["1", "2", "3"]}
    told = {"fields": {"v": {"kind": "vector", "columns": ["a", "b"]}}}
    schema = Schema.infer(Table.build(columns), None, told)
    assert schema.fields["v"].options["decimal"] == ","
    alone = Table.build({"a": ["1,234"], "b": ["2"]})
    assert cells(alone, schema.fields["v"])[0].tolist() == pytest.approx([1.234, 2])
    assert schema.fields["v"].processor_options == {}


@pytest.mark.parametrize("write", [list, json.dumps], ids=["list", "text"])
def test_lists_of_frames_count_as_the_cells_that_they_are(write):
    frames = write([f"{i}.png" for i in range(4)])
    mixed = tell(Table.build({"clip": ["a.mp4"] * 46 + [frames] * 8}), "clip")
    assert (mixed.kind, mixed.why) == ("video", "cells are paths that end in .mp4 or lists of files")
    some = tell(Table.build({"clip": ["a.mp4"] * 20 + [frames] * 26 + ["no film"] * 8}), "clip")
    assert (some.kind, some.why) == ("video", "46 of 54 cells are paths that end in .mp4 or lists of files")
    assert tell(Table.build({"clip": ["a.png"] * 46 + [frames] * 8}), "clip").why.startswith("46 of 54 cells are paths")
    alone = tell(Table.build({"clip": [frames] * 46 + ["a.gif"] * 8}), "clip")
    slices = tell(Table.build({"scan": [write(["1.dcm", "2.dcm"])] * 9}), "scan")
    assert (slices.kind, slices.why) == ("volume", "cells are lists of volume files")
    assert (alone.kind, alone.why) == (
        "other",
        "cells are lists of image files; if each is a video or volume, name that kind",
    )


def test_classes_that_name_the_folders_of_their_pictures_are_no_films(tmp_path):
    from PIL import Image

    names = [f"{place}/{number}.png" for place in ("paris", "rome") for number in range(20)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "rome" / ".hidden").write_text("no picture")
    rows = {"pic": names, "city": [name.split("/")[0] for name in names], "y": [0, 1] * 20}
    schema = Schema.infer(Table.build(rows, base=tmp_path), "y")
    assert schema.told["city"][0] == "category"
    assert any("names of folders too" in warning for warning in schema.warnings)
    two = Table.build({"film": ["paris", "rome"], "y": [0, 1]}, base=tmp_path)
    assert Schema.infer(two, "y").told["film"][0] == "video"
