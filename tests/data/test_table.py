"""Table: ids, selection, joining."""

from __future__ import annotations

import numpy as np
import pytest

from polymodal.core.errors import BadData, UnknownName
from polymodal.data.tables.table import USED, Problem, Table, clean, problem_lines


def test_clean_takes_every_mark_of_absence_for_none():
    assert {clean(value) for value in (None, "", " NaN ", float("nan"), np.float32("nan"))} == {None}
    assert [clean(value) for value in ("x", 0, False, np.int64(3))] == ["x", 0, False, 3]
    assert type(clean(np.int64(3))) is int


def test_ids_come_from_a_unique_id_column_else_from_the_record_number():
    assert Table.build({"ID": ["a", "b"], "x": [1, 2]}).ids == ["a", "b"]
    assert Table.build({"x": [1, 2]}, rows=[4, 7]).ids == ["4", "7"]
    twice = Table.build({"id": ["0", "1", "1", None]})
    assert twice.ids == ["0", "1 (row 1)", "1 (row 2)", "(row 3)"], "no name may be taken for another row's id"
    assert Table.build({"id": ["a", "a", "a (row 1)"]}).ids == ["(row 0)", "(row 1)", "(row 2)"]
    assert str(twice.problems[0]) == (
        "table [id]: ids are not unique ('1' appears more than once); rows are told apart by their number "
        "(the first is 0)"
    )
    assert "(some are missing)" in Table.build({"id": ["a", None]}).problems[0].reason


def test_columns_of_different_length_are_refused():
    with pytest.raises(BadData, match=r"same number of rows; a has 2, b has 1"):
        Table.build({"a": [1, 2], "b": [1]})


def test_an_unknown_column_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match=r"table has no column 'lable'. Did you mean 'label'?"):
        Table.build({"label": [1]}).column("lable")


def test_select_takes_positions_and_masks(tmp_path):
    table = Table.build({"id": ["a", "b", "c"]}, base=tmp_path)
    assert table.select([2, 0]).ids == ["c", "a"]
    assert table.select([2, 0]).rows.tolist() == [2, 0]
    assert table.select(np.array([False, True, False])).ids == ["b"]
    assert table.select([]).ids == []
    assert table.base == tmp_path


def test_concat_fills_what_a_table_lacks_and_keeps_each_base(tmp_path):
    one = Table.build({"id": ["a"], "x": [1]}, base=tmp_path / "one", name="train")
    two = Table.build({"id": ["b"], "y": [2]}, base=tmp_path / "two", name="valid")
    joined = Table.concat([one, two])
    assert joined.data == {"id": ["a", "b"], "x": [1, None], "y": [None, 2]}
    assert joined.bases == [tmp_path / "one", tmp_path / "two"]
    assert joined.ids == ["a", "b"]
    assert joined.joined
    assert not one.joined
    assert Table.concat([one]) is one


def test_concat_keeps_ids_apart_and_problems_with_them():
    problems = [Problem("0", "x", "odd"), Problem("train.csv:3", "", "short")]
    one = Table.build({"x": [1]}, name="train", problems=problems)
    two = Table.build({"x": [2]}, name="valid")
    joined = Table.concat([one, two])
    assert joined.ids == ["train/0", "valid/0"]
    assert [problem.row for problem in joined.problems] == ["train/0", "train.csv:3"]
    assert Table.concat([two, two]).ids == ["valid_0/0", "valid_1/0"]
    with pytest.raises(BadData, match=r"give at least one"):
        Table.concat([])


def test_any_unique_column_may_name_the_rows():
    problems = [Problem("1", "x", "odd"), Problem("t.csv:3", "", "no")]
    table = Table.build({"code": ["a", "b"], "x": [1, 1]}, problems=problems)
    named = table.named_by("code")
    assert named.ids == ["a", "b"]
    assert [problem.row for problem in named.problems] == ["b", "t.csv:3"]
    with pytest.raises(BadData, match=r"Column 'x' cannot name the rows: '1' appears more than once"):
        table.named_by("x")


def test_rows_of_which_the_same_is_to_be_said_share_a_line():
    alike = [Problem(str(row), "photo", "no picture") for row in range(7)]
    others = [Problem(str(row), "photo", f"odd {row}") for row in range(3)]
    used = Problem("9", "photo", USED + "it is small")
    assert problem_lines([used, others[0], *alike], complete="all.jsonl") == [
        "set aside: 0 [photo]: odd 0",
        "set aside: 0, 1, 2, 3, 4, and 2 more [photo]: no picture",
        f"9 [photo]: {USED}it is small",
        "all are in all.jsonl",
    ]
    assert problem_lines([*others, *alike], most=2, complete="all.jsonl")[2:] == [
        "… and 8 more (set aside); all are in all.jsonl"
    ]
    assert problem_lines(others[:1], complete="all.jsonl") == ["set aside: 0 [photo]: odd 0"]
