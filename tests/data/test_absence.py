"""What stands for a missing value, and when "NA" and "None" are values."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import pytest
from PIL import Image

from polymodal.core.errors import BadArgument, UnknownName
from polymodal.data.inputs import Inputs
from polymodal.data.schema import Schema
from polymodal.data.tables.table import Table
from polymodal.process.image import ImageProcessor
from polymodal.process.table import TableProcessor

ROWS = 60
NUMBERS = [f"{i * 1.3:.2f}" for i in range(ROWS)]


def rows(*values):
    return [values[i % len(values)] for i in range(ROWS)]


def table(**columns):
    return Table.build({"price": NUMBERS, **columns})


@pytest.mark.parametrize("word", ["None", "NA", " N/A ", "n/a"])
def test_a_class_called_none_is_a_class_where_no_cell_is_empty(word):
    given = table(damage=rows(word, "Minor", "Major"))
    schema = Schema.infer(given, "damage")
    assert schema.missing == {"damage": ()}
    assert schema.read(given).column("damage")[:3] == [word, "Minor", "Major"]
    assert f"20 cells say {word.strip()!r}, which is taken for a class" in "".join(schema.warnings)
    assert f"`missing: {{damage: [{word.strip()}]}}`" in "".join(schema.warnings)
    other = Schema.infer(given, "damage", {"missing": {"damage": [word]}})
    assert other.read(given).column("damage")[0] is None
    assert not other.warnings
    restored = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    assert restored == schema
    assert restored.read(table(damage=[word] * ROWS)).column("damage") == [word] * ROWS, "decided on training rows"


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"y": rows("None", "", "cat", "dog")}, "an empty cell beside it"),
        ({"y": rows("None", None, "cat", "dog")}, "a null beside it"),
        ({"y": rows("None", "NA", "cat", "dog")}, "two words for it"),
        ({"y": rows("nan", "cat", "dog")}, "a word that only programs write"),
        ({"y": rows("NA", "cat", "dog"), "n": rows("NA", "1.5", "2.5")}, "the word of a column of numbers"),
        ({"y": rows("NA", "cat", "dog"), "d": rows("NA", "2024-01-02", "2024-03-04")}, "the word of a column of dates"),
    ],
)
def test_elsewhere_it_is_missing_and_that_is_said(columns, what):
    given = table(**columns)
    schema = Schema.infer(given, "y")
    assert schema.read(given).column("y")[0] is None, what
    assert "count as missing. If it is a class, say in a schema `missing: {y: []}`" in "".join(schema.warnings)
    kept = Schema.infer(given, "y", {"missing": {"y": []}})
    assert kept.read(given).column("y")[0] == columns["y"][0]


def test_a_country_called_na_is_a_country():
    given = table(country=rows("NA", "DE", "FR"), y=rows("cat", "dog"))
    schema = Schema.infer(given, "y")
    assert schema.read(given).column("country")[:3] == ["NA", "DE", "FR"]
    assert not schema.warnings


def test_signs_stand_for_missing_cells_and_are_missing_everywhere():
    given = table(
        a=rows("?", "1,5", "2,5"), b=rows("--", "unknown", "3", "4"), c=rows("-", "x", "y"), y=rows("?", "b", "c")
    )
    schema = Schema.infer(given, "y")
    read = schema.read(given)
    assert [read.column(name)[0] for name in "abcy"] == [None] * 4
    assert read.column("b")[1] is None
    assert schema.targets == {"y": "classes"}
    assert "'?' is taken for a missing target" in "".join(schema.warnings)
    kept = Schema.infer(given, "y", {"missing": {"y": [], "c": []}})
    assert [kept.read(given).column(name)[0] for name in "cy"] == ["-", "?"]


def test_the_user_says_what_is_missing():
    given = table(n=rows(-999, 1.5, 2.5), m=rows("-999.0", "1.5", "2.5"), y=rows("cat", "dog"))
    schema = Schema.infer(given, "y", {"missing": {"n": [-999], "m": "-999.0"}})
    assert [schema.read(given).column(name)[0] for name in "nm"] == [None, None]
    with pytest.raises(UnknownName, match=r"no column 'k', named as `missing` in the schema"):
        Schema.infer(given, "y", {"missing": {"k": ["?"]}})
    with pytest.raises(BadArgument, match=r"`missing` in the schema maps a column to a list"):
        Schema.infer(given, "y", {"missing": {"n": 5}})
    with pytest.raises(BadArgument, match=r"`written` says of column 'n' 'comma': give '\.' or ','"):
        Schema.infer(given, "y", {"written": {"n": "comma"}})
    with pytest.raises(BadArgument, match=r"`written` says of column 'n' '%d %Q': give"):
        Schema.infer(given, "y", {"written": {"n": "%d %Q"}})


@pytest.mark.parametrize("listed", [False, True])
def test_how_a_column_is_written_holds_for_listed_fields_as_well(listed):
    given = table(n=rows("1,234", "5,678"), when=rows("05/2024", "11/2023"), y=rows("cat", "dog"))
    ways = {"written": {"n": ",", "when": "%m/%Y"}, "kinds": {"n": "number", "when": "date"}}
    fields = {"fields": {"table": {"kind": "table", "columns": ["n", "when"]}}} if listed else {}
    options = Schema.infer(given, "y", ways | fields).fields["table"].options
    assert options == {"types": ways["kinds"], "written": ways["written"]}
    processor = TableProcessor(**options)
    processor.fit([{"n": n, "when": when} for n, when in zip(given.column("n"), given.column("when"))])
    assert not processor.unreadable_
    assert {column.decimal for column in processor.columns_ if column.name == "n"} == {","}


def test_all_words_that_count_as_missing_are_told():
    given = table(damage=rows("NA", "None", "Minor", "Major"))
    assert "damage: 30 cells say 'NA' or 'None' and count as missing" in Schema.infer(given, "damage").warnings[0]


def test_marks_go_with_their_rows():
    one = Table.build({"y": ["None", "a", "None", "b"]}, name="one")
    two = Table.build({"y": ["c", "NA"], "z": [1, 2]}, name="two")
    joined = Table.concat([one.select([1, 2, 3]), two])
    assert joined.column("y") == ["a", None, "b", "c", None]
    assert joined.read_as({"y": ()}).column("y") == ["a", "None", "b", "c", "NA"]
    assert joined.read_as({"y": ("NA", "b")}).column("y") == ["a", "None", None, "c", None]
    again = joined.read_as({"y": ("NA", "b")}).read_as({"y": ()})
    assert again.column("y") == ["a", "None", "b", "c", "NA"], "what was taken for a mark can be had back"


def test_dates_and_commas_that_may_be_either_are_read_as_the_schema_says():
    days = [f"{i % 12 + 1}/{i % 7 + 1}/2024" for i in range(ROWS)]
    given = {
        "price": NUMBERS,
        "when": days,
        "n": rows("1,234", "5,678"),
        "y": [f"{i * 7 % 60 + 1},{i + 100}" for i in range(ROWS)],
    }
    plain = Inputs.read(given).schema("y", None)
    said = "".join(plain.warnings)
    assert "say in a schema `written: {when: '%d/%m/%Y'}`" in said
    for name in ("n", "y"):
        assert f"say in a schema `written: {{{name}: ','}}`" in said
    told = Inputs.read(given).schema("y", {"written": {"when": "%d/%m/%Y", "n": ",", "y": ","}})
    assert not told.warnings
    assert told.targets == {"y": {"name": "number", "decimal_mark": ","}}
    written = {"when": "%d/%m/%Y", "n": ","}
    assert told.fields["table"].options["written"] == written
    means = {}
    for schema in (plain, told):
        processor = TableProcessor(**schema.fields["table"].processor_options)
        processor.fit([dict(zip(given, row)) for row in zip(*given.values())])
        means[schema is told] = processor.columns_
    formats = [next(c.formats for c in columns if c.name == "when") for columns in means.values()]
    assert formats == [("%m/%d/%Y",), ("%d/%m/%Y",)]
    points = [next(c.decimal for c in columns if c.name == "n") for columns in means.values()]
    assert points == [".", ","]


def test_pictures_of_pillow_are_pictures():
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)) for _ in range(12)]
    pictures = [
        p.convert(mode) for p, mode in zip(pictures, ("RGB", "L", "RGBA", "P", "1", "CMYK", "F", "LA", "I;16") * 2)
    ]
    given = Table.build({"photo": pictures, "y": ["a", "b"] * 6})
    schema = Schema.infer(given, "y")
    assert schema.fields["photo"].kind == "image"
    shapes = {ImageProcessor().read(cell).shape[:2] for cell in given.column("photo")}
    assert shapes == {(8, 8)}


def test_scalars_of_numpy_are_those_of_python():
    cells = [np.datetime64("2024-05-31T12:00", "ns"), np.timedelta64(90, "s"), np.datetime64("NaT"), np.float32(1.5)]
    assert Table.build({"x": cells}).column("x") == [datetime(2024, 5, 31, 12), timedelta(seconds=90), None, 1.5]
