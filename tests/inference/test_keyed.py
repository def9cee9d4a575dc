"""Answers beside the user's own keys: a row a record, under names that nothing else bears."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import polymodal as pm
from polymodal import cli
from polymodal.core.errors import BadArgument, BadData, UnknownName
from polymodal.data.schema import Schema
from polymodal.data.tables.source import read_table
from polymodal.inference.explanation import write_explanation
from polymodal.inference.keyed import keyed, place_of
from polymodal.targets.base import fitted
from polymodal.targets.columns import answer_columns, renamed

OLDER = Path(__file__).parent / "older" / "model"  # reads a, a2, b, b2 and answers y
ROWS = json.loads((OLDER.parent / "rows.json").read_text(encoding="utf-8"))
CELLS = {name: values for name, values in ROWS.items() if name != "id"}
PLAIN = Schema({}, targets={"label": "classes"})
ANSWERS = {"label": ["x", "y"], "label_probability": [0.9, 0.6]}


@pytest.fixture(scope="module")
def run():
    return pm.load(OLDER)


@pytest.fixture
def polymodal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["polymodal", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return (stopped.value.code or 0, *capsys.readouterr())

    return call


def lines(path: Path, head: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


def test_explained_rows_are_called_as_they_were_asked_for(run, tmp_path):
    coded = {"record_id": [f"c-{row}" for row in range(len(CELLS["a"]))], **CELLS}
    assert [one["id"] for one in run.explain(coded, row="c-2")] == ["c-2"]
    assert [one["id"] for one in run.explain(coded, row="2")] == ["2"]
    found = run.explain(coded, limit=3)
    assert [one["id"] for one in found] == ["c-0", "c-1", "c-2"]
    assert write_explanation(run, coded, [*found, *run.explain(coded, row="2")], tmp_path / "page.html").exists()
    assert [one["id"] for one in run.explain(CELLS, limit=2)] == ["0", "1"]


# --- names of columns -------------------------------------------------------------------------------------------------


def number(name):
    return fitted(name, "number", [1.0, 2.0, 4.0])


def classes(name, *labels):
    return fitted(name, "classes", labels)


@pytest.mark.parametrize(
    ("targets", "taken", "called"),
    [
        ([number("temp"), number("temp_low")], (), {"temp_low": "temp_low_of_temp"}),
        ([number("temp_low"), number("temp")], (), {"temp_low": "temp_low_of_temp"}),
        ([classes("s", "a", "b"), number("s_probability")], (), {"s_probability": "s_probability_of_s"}),
        ([classes("a", "b=c", "d"), classes("a=b", "c", "e")], (), {"a=b=c": "a=b=c_of_a=b"}),
        ([fitted("y", "quantiles", [1.0, 2.0] * 9), classes("y_high", "p", "q")], (), {"y_high": "y_high_of_y"}),
        ([number("temp")], ("temp_high",), {"temp_high": "temp_high_of_temp"}),
        ([number("t"), number("t_low"), classes("t_low_of_t", "u", "v")], (), {"t_low": "t_low_of_t_2"}),
    ],
)  # fmt: skip
def test_no_two_columns_of_answers_bear_one_name(targets, taken, called):
    names = answer_columns(targets, taken)
    given = [name for own in names.values() for name in own.values()]
    assert len({*given, *taken}) == len(given) + len(taken)
    assert all(names[target.name][target.name] == target.name for target in targets)
    changed = {usual: name for own in names.values() for usual, name in own.items() if usual != name}
    assert changed == called
    assert len(renamed(names)) == len(called)


def test_a_clash_of_names_is_said_in_the_plan():
    rng = np.random.default_rng(0)
    table = {"x": rng.normal(size=40).tolist(), "w": rng.normal(size=40).tolist()}
    table |= {"temp": rng.normal(size=40).tolist(), "temp_low": rng.normal(size=40).tolist()}
    plan = pm.plan(table, ["temp", "temp_low"], fusion="concat")
    assert any("'temp_low_of_temp'" in note for note in plan.notes)
    assert not any("_of_" in note for note in pm.plan(table, "temp", fusion="concat").notes)


@pytest.mark.parametrize(
    ("kind", "cells", "written"),
    [
        ("classes", [1, 1.0, "1", " b", None], ["1", "1", "1", "b", None]),
        ("multilabel", ["a|b", ["a"], "", None], [["a", "b"], ["a"], [], None]),
        ("number", ["1,5", "2,25", 3, "?", None], [1.5, 2.25, 3.0, None, None]),
        ("numbers", ["1|2", [3, 4], "[5, 7]", None], [[1.0, 2.0], [3.0, 4.0], [5.0, 7.0], None]),
    ],
)
def test_truth_is_written_as_the_answer_is(kind, cells, written):
    assert fitted("y", kind, cells).written(cells) == written


# --- keys -------------------------------------------------------------------------------------------------------------


def test_unique_ids_stand_alone_under_their_own_name_and_as_they_are():
    assert keyed(read_table({"Id": [7, 3], "x": [1, 2]}), PLAIN, ANSWERS) == {"Id": [7, 3], **ANSWERS}


@pytest.mark.parametrize("ids", [["a", "a"], ["a", None], [0, "0"]])
def test_ids_that_do_not_name_each_row_are_kept_with_the_number_of_the_row(ids):
    assert keyed(read_table({"id": ids}), PLAIN, ANSWERS) == {"id": ids, "row": [0, 1], **ANSWERS}


def test_without_ids_there_is_no_column_of_that_name():
    assert keyed(read_table({"x": [5, 6]}), PLAIN, ANSWERS) == {"row": [0, 1], **ANSWERS}
    own = keyed(read_table({"row": ["u", "u"]}), PLAIN, ANSWERS, keep="all")
    assert own == {"row_of_source": [0, 1], **ANSWERS, "row": ["u", "u"]}


@pytest.mark.parametrize("name", ["sku", "SKU", "ean", "order_no", "Invoice Number", "isbn", "part.nr"])
def test_numbers_under_the_usual_names_of_keys_are_keys(name):
    numbers = [1000 + 3 * i for i in range(40)]
    table = read_table({name: numbers, "price": [float(i % 7) for i in range(40)], "label": ["x", "y"] * 20})
    schema = Schema.infer(table, "label")
    assert schema.keys == (name,)
    assert all(name not in one.columns for one in schema.fields.values())
    assert keyed(read_table({name: [9, 4], "price": [1.0, 2.0]}), schema, ANSWERS) == {name: [9, 4], **ANSWERS}


def test_a_row_may_be_named_by_a_key():
    table = read_table({"sku": ["A-1", "A-2", "A-3", "A-3"], "price": [1.0, 2.0, 3.0, 4.0]})
    schema = Schema({}, keys=("sku",))
    assert [place_of(row, table, schema) for row in ("A-2", "3", 3)] == [1, 3, 3]
    with pytest.raises(UnknownName, match="2 rows have the sku 'A-3'; name one by its id, as '2'"):
        place_of("A-3", table, schema)
    with pytest.raises(UnknownName, match="No row has the id or sku 'A-9'. Did you mean 'A-3'"):
        place_of("A-9", table, schema)


def test_a_key_is_what_the_fit_or_the_new_rows_take_for_one():
    skus = [f"A-{i:04}" for i in range(40)]
    table = read_table({"sku": skus, "price": [float(i % 7) for i in range(40)], "label": ["x", "y"] * 20})
    schema = Schema.infer(table, "label")
    assert schema.keys == ("sku",)
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))).keys == ("sku",)
    told = {"fields": {"p": {"kind": "table", "columns": ["price"]}}}
    assert Schema.infer(table, "label", told).keys == Schema.infer(table, "label", {"ignore": ["sku"]}).keys == ("sku",)
    few = read_table({"sku": ["A-1", "A-2"], "price": [1.0, 2.0]})
    assert keyed(few, schema, ANSWERS) == {"sku": ["A-1", "A-2"], **ANSWERS}
    older = Schema({}, targets={"label": "classes"})  # of a bundle that knows no keys
    many = {"label": ["x"] * 40}
    assert list(keyed(table, older, many)) == ["sku", "label"]
    assert "price" not in keyed(table, older, many)


def test_columns_to_keep():
    table = read_table({"id": ["a", "b"], "note": ["u", "v"], "label": ["x", "x"], "photo": [b"1", b"2"]})
    assert keyed(table, PLAIN, ANSWERS, keep="note") == {"id": ["a", "b"], **ANSWERS, "note": ["u", "v"]}
    every = keyed(table, PLAIN, ANSWERS, keep="all")
    assert every == {"id": ["a", "b"], **ANSWERS, "note": ["u", "v"], "label_truth": ["x", "x"]}
    with pytest.raises(UnknownName, match="Did you mean 'note'"):
        keyed(table, PLAIN, ANSWERS, keep=["Note"])
    with pytest.raises(BadArgument, match="hold media"):
        keyed(table, PLAIN, ANSWERS, keep=["photo"])
    clash = keyed(read_table({"label_probability": ["u", "v"]}), PLAIN, ANSWERS, keep="all")
    assert clash["label_probability_given"] == ["u", "v"]
    assert clash["label_probability"] == [0.9, 0.6]


# --- every record -----------------------------------------------------------------------------------------------------

RAGGED = {
    "too many": "id,x\na,1\nb,2,3\nc,4\n",
    "too few": "id,x\na,1\nb\nc,4\n",
    "an open quote": 'id,x\na,1\n"b,2\nc,4\n',
    "semicolons": "id;x\na;1\nb;2;3\nc;4\n",
}


@pytest.mark.parametrize("fault", RAGGED)
def test_a_record_that_cannot_be_read_has_an_empty_row_with_its_reason(tmp_path, fault):
    path = tmp_path / "new.csv"
    path.write_text(RAGGED[fault])
    table = read_table(path)
    found = keyed(table, PLAIN, ANSWERS)
    assert table.records == 3
    assert found["id"] == ["a", None, "c"]
    assert found["row"] == [0, 1, 2]
    assert found["label"] == ["x", None, "y"]
    assert found["problem"][0] is None
    assert found["problem"][1].startswith("new.csv:3: has ")


def test_records_that_are_no_json_have_empty_rows(tmp_path):
    path = tmp_path / "new.jsonl"
    path.write_text('[1]\n{"id": "a"}\n{"id": \n\n{"id": "b"}\n7\n')
    found = keyed(read_table(path), PLAIN, ANSWERS)
    assert found["label"] == [None, "x", None, "y", None]
    assert [bool(reason) for reason in found["problem"]] == [True, False, True, False, True]
    assert keyed(read_table(path).select([0, 1]), PLAIN, ANSWERS)["label"] == ["x", "y"], "who selects asks for those"


def test_what_was_wrong_with_the_cells_of_a_row_stands_beside_its_answer(tmp_path):
    path = tmp_path / "new.csv"
    path.write_bytes(b"id,x\na,1\nb,\x002\n")
    assert keyed(read_table(path), PLAIN, ANSWERS)["problem"] == [None, "x: holds a NUL byte (line 3); cell set aside"]


# --- a run ------------------------------------------------------------------------------------------------------------


def test_one_dict_is_one_row(run):
    row = {name: values[0] for name, values in ROWS.items()}
    one, first = run.predict(row), run.predict(ROWS)
    assert one["id"] == ["r0"]
    assert one["y"] == first["y"][:1]
    assert one["y_probability"] == pytest.approx(first["y_probability"][:1])
    assert read_table({"words": "abc", "photo": None}).data == {"words": ["abc"], "photo": [None]}
    assert read_table({"words": "abc", "vector": [1, 2]}).data == {"words": ["abc"], "vector": [[1, 2]]}


def test_ids_of_a_frame_come_back_as_they_are(run):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": range(10, 16), **CELLS})
    assert run.predict(frame)["id"] == list(range(10, 16))
    assert run.predict(frame.set_index("id"))["id"] == list(range(10, 16)), "a named index is a column"
    assert run.predict(frame.drop(columns="id"))["row"] == list(range(6))


def test_probabilities_have_a_row_a_record_too(run, tmp_path):
    lines(tmp_path / "new.csv", list(ROWS), [["r0", *next(zip(*CELLS.values()))], ["ragged"]])
    found = run.predict_proba(tmp_path / "new.csv")
    assert found.shape == (2, 2)
    assert np.isnan(found).any(1).tolist() == [False, True]


def test_a_column_under_a_similar_name_is_pointed_at(run):
    renamed_column = {"A2" if name == "a2" else name: values for name, values in ROWS.items()}
    with pytest.warns(UserWarning, match="no column 'a2', which the model reads. Did you mean 'A2'"):
        run.predict(renamed_column)
    with pytest.warns(UserWarning, match="none of the columns that this model reads: a, a2, b, b2"):
        run.predict({"id": ["r0"], "words": ["?"]})
    with pytest.raises(BadData, match="none of the columns .* Did you mean 'B2'"):
        run.lacking(read_table({name.upper(): values for name, values in CELLS.items()}))
    with pytest.raises(BadData, match="'y' is not in table. Did you mean 'Y'"):
        run.evaluate({**ROWS, "Y": ["no"] * 6}, quiet=True)


def test_rows_with_nothing_in_them_are_named(run):
    problems = []
    found = run.predict({name: [values[0], None] for name, values in CELLS.items()}, problems=problems)
    assert [problem.row for problem in problems] == ["1"]
    assert "nothing that the model reads" in found["problem"][1]
    assert found["problem"][0] is None


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_command_says_what_it_read_and_answered(polymodal, tmp_path, suffix):
    head = [*ROWS, "shelf"]
    rows = [[*cells, f"s{i}"] for i, cells in enumerate(zip(*ROWS.values()))]
    rows[1][0] = "r0"
    lines(tmp_path / "new.csv", head, [*rows[:2], [*rows[2], "more"], *rows[3:]])
    code, out, err = polymodal("predict", OLDER, "new.csv", "-o", f"answers{suffix}", "--keep", "shelf")
    assert (code, out) == (0, f"6 rows written to answers{suffix}\n")
    assert "6 rows read, 5 answered, 1 left out" in err
    assert "left out: new.csv:4: has 7 cells where the header has 6" in err
    assert "ids are not unique ('r0' appears more than once)" in err
    assert "'row' is the row's number, from 0" in err
    found = read_table(tmp_path / f"answers{suffix}").data
    assert found["id"] == ["r0", "r0", None, "r3", "r4", "r5"]
    assert [int(number) for number in found["row"]] == [0, 1, 2, 3, 4, 5]
    assert found["shelf"] == ["s0", "s1", None, "s3", "s4", "s5"]
    assert [value is None for value in found["y"]] == [False, False, True, False, False, False]


def test_the_command_tells_all_reasons_as_json(polymodal, tmp_path):
    bad = [["x"] for _ in range(30)]
    lines(tmp_path / "new.csv", list(ROWS), [*bad, *map(list, zip(*ROWS.values()))])
    code, out, err = polymodal("predict", OLDER, "new.csv", "-o", "answers.csv", "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["rows"], told["answered"], told["left_out"]) == (36, 6, 30)
    assert [problem["record"] for problem in told["problems"]] == list(range(30))
    assert "left out: new.csv:2, new.csv:3, new.csv:4, new.csv:5, new.csv:6, and 25 more: has 1 cell where" in err
    assert "all are in the column 'problem' of answers.csv" in err
    assert "36 rows read, 6 answered, 30 left out" in err
    code, out, err = polymodal("explain", OLDER, "new.csv", "--limit", 2)
    assert code == 0
    assert "36 rows read, 2 explained, 30 left out" in err


def test_rows_that_their_source_names_keep_these_names(tmp_path):
    for name in ("b/1.png", "a/2.png"):
        (tmp_path / "shots" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shots" / name).write_bytes(b"x")
    photos = keyed(read_table(tmp_path / "shots"), PLAIN, ANSWERS)
    assert photos == {"file": ["a/2.png", "b/1.png"], **ANSWERS}
    table = pm.read_table({"txt": ["u", "v"]})
    shard = type(table).build(table.data, ids=["s1", "s2"])
    assert keyed(shard, PLAIN, ANSWERS) == {"key": ["s1", "s2"], **ANSWERS}


def test_blank_lines_are_no_rows_and_said(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("x\n1\n\n2\n\n\n")
    table = read_table(path)
    assert table.records == 2
    assert [str(problem) for problem in table.problems] == ["new.csv: 1 blank lines are no rows (the first is line 3)"]
