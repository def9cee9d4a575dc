"""What a finished run offers in Python: numbers, frames, short words and tables for notebooks."""

from __future__ import annotations

import numpy as np
import pytest

import polymodal as pm
from polymodal.core.errors import BadArgument, BadData, UnknownName
from polymodal.inference.answers import Answers


def test_probabilities_follow_the_classes(shop):
    run = pm.load(shop.run)
    answers, probabilities = run.predict(shop.table), run.predict_proba(shop.table)
    assert probabilities.shape == (answers.rows, len(run.classes()))
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert [run.classes()[place] for place in probabilities.argmax(1)] == answers["category"]
    np.testing.assert_allclose(probabilities.max(1), answers["category_probability"])
    with pytest.raises(UnknownName, match="Did you mean 'category'"):
        run.predict_proba(shop.table, target="categori")


def test_the_score_is_the_share_of_right_answers(shop):
    run = pm.load(shop.run)
    table = pm.read_table(shop.table)
    right = np.mean([a == b for a, b in zip(run.predict(table)["category"], table.column("category"))])
    assert run.score(table) == pytest.approx(right)
    assert run.score(table, metric="log_loss") > 0
    with pytest.raises(BadData, match="needs the truth"):
        run.score({name: cells for name, cells in table.data.items() if name != "category"})


def test_frames(shop):
    pandas = pytest.importorskip("pandas")
    run = pm.load(shop.run)
    answers = run.predict(shop.table)
    pandas.testing.assert_frame_equal(run.predict(shop.table, as_frame=True), pandas.DataFrame(dict(answers)))
    assert list(run.predict_proba(shop.table, as_frame=True).columns) == list(run.classes())


def test_a_number_has_no_probabilities(tmp_path):
    from pathlib import Path

    run = pm.load(Path(__file__).parent / "older" / "number")
    with pytest.raises(BadArgument, match="no probabilities"):
        run.predict_proba({"a": [1.0], "a2": [1.0], "b": [1.0], "b2": [1.0]})


def test_the_leaderboard_holds_numbers(shop):
    board = pm.load(shop.run).leaderboard
    page = board._repr_html_()
    assert page.count("<tr>") == len(board) + 1
    assert "predict_ms" in page
    assert all(isinstance(row["test_mean"], float | int) and isinstance(row["seeds"], int) for row in board)
    assert {row["encoders"] for row in board} == {"apart"}
    assert all(isinstance(row["strategy"], str) for row in board)


def test_short_words_and_tables_for_notebooks(shop):
    run, plan, found = pm.load(shop.run), pm.plan(shop.table, "category"), pm.inspect(shop.table, "category")
    for one in (run, plan, found):
        assert len(repr(one)) < 400
        assert "\n" not in repr(one)
    assert "category" in repr(plan)
    assert f"{found.rows:,} rows" in repr(found)
    assert run.verdict.split(":")[0] in run._repr_html_()
    assert run.metrics["chosen"] in run._repr_html_()
    assert "<pre" in plan._repr_html_()
    assert "<pre" in found._repr_html_()


def test_answers_are_a_line(shop):
    run = pm.load(shop.run)
    answers = run.predict(shop.table, keep="all")
    assert repr(answers).startswith(f"Answers({answers.rows} rows: id=['")
    assert f"category=['{answers['category'][0]}', " in repr(answers)
    long = Answers({f"column {i}": ["x" * 999 + "\n"] * 99_999 for i in range(99)})
    assert repr(long).count("column") == 5
    assert repr(long).endswith(", and 94 more)")
    assert len(repr(answers)) < 600 > len(repr(long))
    assert repr(Answers()) == "Answers(0 rows)"
    assert repr(Answers(y=["a\x1b[2J", 0.25])) == r"Answers(2 rows: y=['a\x1b[2J', 0.25])"


def test_cells_cannot_write_html(shop):
    page = Answers(id=["<script>x</script>"] * 12, value=[0.123456] * 12)._repr_html_()
    assert "<script>" not in page
    assert "0.1235" in page
    assert "and 2 more rows" in page
