"""Ctrl-C while rows are answered: what is done is kept, written and counted."""

from __future__ import annotations

import pytest

import polymodal as pm
from polymodal.generators.assistant import Assistant
from polymodal.inference.answers import Stopped

pytest.importorskip("transformers", reason="needs the extra hf")
SHORT = {"most": 6}


@pytest.fixture
def stopping(monkeypatch):
    """After how many answers the user presses Ctrl-C."""
    whole = Assistant.answers

    def after(count: int) -> None:
        left = [count]

        def answers(self, rows, seed):
            for found in whole(self, rows, seed):
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
                yield found

        monkeypatch.setattr(Assistant, "answers", answers)

    return after


def test_answers_so_far_are_in_the_interruption(tiny, album, stopping):
    model, problems = tiny("blip"), []
    whole = pm.generate(model, album.table, columns="photo", **SHORT)["answer"]
    stopping(3)
    with pytest.raises(KeyboardInterrupt) as caught:
        pm.generate(model, album.table, columns="photo", problems=problems, batch=2, **SHORT)
    stopped = caught.value
    assert isinstance(stopped, Stopped)
    done = stopped.answers["row"]
    assert stopped.missing == 2
    assert str(stopped) == "Stopped: 5 of 7 rows are answered, 2 are missing."
    assert len(done) == 5, "three that are answered and two that cannot be"
    assert {5, 6} < set(done)
    assert stopped.answers["answer"] == [whole[row] for row in done]
    assert [p.row for p in problems] == ["5", "6"]


def test_the_rows_so_far_are_written(tiny, album, polymodal, stopping, tmp_path):
    table = tmp_path / "rows.csv"
    lines = [f"r{k},{photo},what" for k, photo in enumerate(album.photos[:5])]
    table.write_text("\n".join(["id,photo,question", *lines, ""]))
    stopping(2)
    out, page = tmp_path / "said.csv", tmp_path / "said.html"
    told = polymodal(
        "generate", tiny("blip"), table, "--columns", "photo, question", "--out", out, "--page", page, "--set", "most=4"
    )
    assert told.code == 130
    assert "2 of 5 rows are answered, 3 are missing. Give the others as a table of their own" in told.err
    assert "2 rows written to" in told.out
    assert pm.read_table(out).column("id") == ["r0", "r1"]
    assert page.exists()
    stopping(0)
    told = polymodal("generate", tiny("blip"), table, "--columns", "photo,question", "--out", tmp_path / "none.csv")
    assert told.code == 130
    assert "0 of 5 rows are answered, 5 are missing. Nothing is written." in told.err
    assert not (tmp_path / "none.csv").exists()
