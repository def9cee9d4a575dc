"""What `evaluate` says of rows that no figure counts."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import polymodal as pm
from polymodal import cli
from polymodal.core.errors import BadData
from polymodal.data.tables.source import read_table
from polymodal.inference.judging import Judged, strict_scores, strict_words
from polymodal.metrics.build import target_metrics
from polymodal.targets.base import fitted

OLDER = Path(__file__).parent / "older" / "model"  # reads a, a2, b, b2 and answers y: no or yes
ROWS = json.loads((OLDER.parent / "rows.json").read_text(encoding="utf-8"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    shutil.copytree(OLDER, tmp_path / "run")
    return pm.load(tmp_path / "run")


def test_rows_are_counted_by_why_they_are_not_judged(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("x,y\n1,cat\n2,dog\n3,fox\n4,\n5,owl\n6,fox\n7,cat,8\n")
    counts = Judged.of(read_table(path), fitted("y", "classes", ["cat", "dog"]))
    assert (counts.read, counts.judged, counts.rows_unseen, counts.rows_without) == (7, 2, 3, 1)
    assert dict(counts.unseen) == {"fox": 2, "owl": 1}
    assert " ".join(counts.sentences()) == (
        "Not judged, 3: y holds what training did not have: fox (2), owl (1). Not judged, 1: y is empty. "
        "Left out while reading, 1: new.csv:8: has 3 cells where the header has 2; row set aside."
    )
    assert Judged.of(read_table({"y": ["cat", "dog"]}), fitted("y", "classes", ["cat", "dog"])).sentences() == []


def test_what_is_no_number_and_new_labels_of_several_are_said():
    numbers = Judged.of(read_table({"y": ["1", "two", "3"]}), fitted("y", "number", [1.0, 2.0]))
    assert numbers.judged == 2
    assert numbers.sentences() == ["Not judged, 1: y holds no number: two (1)."]
    several = Judged.of(read_table({"y": ["a|b", "b|c"]}), fitted("y", "multilabel", ["a", "b", "a|b"]))
    assert several.judged == 2
    assert "c (1)" in several.sentences()[0]


def test_a_label_in_another_case_is_pointed_at():
    counts = Judged.of(read_table({"y": ["Cat", "cat"]}), fitted("y", "classes", ["cat", "dog"]))
    assert counts.sentences() == ["Not judged, 1: y holds what training did not have: Cat (1; training has 'cat')."]


def test_new_labels_count_as_wrong_in_the_strict_score():
    target = fitted("y", "classes", ["cat", "dog"])
    cells = ["cat", "fox", None, "dog", "owl"]
    given = np.array([[0.9, 0.1], [0.8, 0.2], [0.5, 0.5], [0.6, 0.4], [0.3, 0.7]])
    metrics = target_metrics(["accuracy", "f1_macro"], target)
    found = strict_scores(target, cells, lambda rows: given[rows], metrics)
    assert found["accuracy"]["mean"] == pytest.approx(1 / 4)
    assert found["accuracy"]["rows"] == 4
    assert found["f1_macro"]["mean"] == pytest.approx(0.5 / 4), "four classes occur; 'cat' alone is ever right"
    assert strict_scores(target, ["cat", "dog", None], lambda rows: given[rows], target_metrics((), target)) == {}
    labels = fitted("y", "multilabel", ["a", "b", "a|b"])
    scores = strict_scores(labels, ["a", "a|c"], lambda rows: given[rows], target_metrics(["f1_micro"], labels))
    assert scores["f1_micro"]["mean"] == pytest.approx(4 / 5)  # a, a found, c missed


@pytest.mark.parametrize(("kind", "cells", "metric", "why"), [
    ("ordinal", ["1", "2", "3"], "quadratic_kappa", "no distance from a class without a place in the order."),
    ("number", [1.0, 2.0, 4.0], "mae", "no distance from what is no number."),
])  # fmt: skip
def test_where_new_truth_cannot_count_as_wrong_it_is_said_why(kind, cells, metric, why):
    target = fitted("y", kind, cells)
    counts = Judged.of(read_table({"y": [*cells, "fox"]}), target)
    (judge,) = target_metrics([metric], target)
    strict = strict_scores(target, [*cells, "fox"], lambda rows: np.full((len(rows), 3), 1 / 3), [judge])
    (said,) = strict_words(counts, judge, strict)
    assert said.startswith("No ")
    assert said.endswith(why)
    assert strict_words(Judged.of(read_table({"y": cells}), target), judge, {}) == []


def test_evaluate_tells_both_scores(run, tmp_path):
    truth = ["no", "fox", "yes", None, "fox", "no"]
    found = run.evaluate({**ROWS, "y": truth}, out=tmp_path / "check", quiet=True)
    assert found["data"]["judged"]["judged"] == 3
    assert found["data"]["judged"]["unseen"] == {"fox": 2}
    assert " on 3 of 6 rows: accuracy " in found["verdict"]["headline"]
    judged = found["score"]["mean"]
    assert found["strict"]["accuracy"]["mean"] == pytest.approx(judged * 3 / 5)
    assert f"on 5 rows: accuracy {judged * 3 / 5:.3f}" in found["verdict"]["sentences"][0]
    page = (tmp_path / "check" / "report.html").read_text(encoding="utf-8")
    assert "fox (2)" in page
    assert "3 of 6 rows" in page
    plain = run.evaluate({**ROWS, "y": ["no", "yes"] * 3}, quiet=True)
    assert "strict" not in plain
    assert plain["data"]["warnings"] == []
    assert " on 6 rows: " in plain["verdict"]["headline"]
    with pytest.warns(UserWarning, match=r"3 of 6 rows are judged. Not judged, 2: .*fox \(2\)"):
        assert run.score({**ROWS, "y": truth}) == pytest.approx(judged)
    with pytest.raises(BadData, match=r"No row of table can be judged. Not judged, 6: .*fox \(6\)"):
        run.evaluate({**ROWS, "y": ["fox"] * 6}, quiet=True)


def test_the_command_says_it_on_standard_error(run, tmp_path, monkeypatch, capsys):
    truth = ["no", "fox", "yes", "no", "fox", "no"]
    cells = list(zip(*ROWS.values(), truth))
    text = [",".join([*ROWS, "y"]), *(",".join(map(str, row)) for row in cells), "ragged"]
    (tmp_path / "new.csv").write_text("\n".join(text))
    arguments = ["evaluate", tmp_path / "run", tmp_path / "new.csv", "-o", tmp_path / "check", "--json"]
    monkeypatch.setattr(sys, "argv", ["polymodal", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    said = capsys.readouterr()
    assert not stopped.value.code, said.err
    assert "7 rows read, 4 judged, 1 left out" in said.err
    assert "left out: new.csv:8: has 1 cell where the header has 6" in said.err
    assert "Not judged, 2: y holds what training did not have: fox (2)." in said.err
    assert json.loads(said.out)["data"]["rows"] == {"test": 4, "not judged": 3}
