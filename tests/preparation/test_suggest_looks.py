"""suggest: what it looks at, and how it tells what it saw."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from PIL import Image

import polymodal as pm
from polymodal.data.tables.write import write_columns
from polymodal.preparation import suggest as looking
from polymodal.preparation.suggest import change


def photos(folder, count: int) -> dict[str, list[str]]:
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), np.uint8)).save(folder / f"{i}.png")
    return {"id": [f"r{i}" for i in range(count)], "photo": [f"{i}.png" for i in range(count)]}


def steps(folder, rows, **options) -> dict[str, looking.Step]:
    write_columns(rows, folder / "data.csv")
    return {step.name: step for step in pm.suggest(folder / "data.csv", **options).steps}


def test_files_that_are_absent_or_empty_are_found_in_rows_that_are_not_opened(tmp_path):
    rows = photos(tmp_path, 60)
    for number in (17, 43):
        (tmp_path / f"{number}.png").unlink()
    (tmp_path / "58.png").write_bytes(b"")
    step = steps(tmp_path, rows, sample=5)["readable"]
    assert step.active
    assert step.set_aside == 3
    assert step.seen == 60
    assert "3 of 60 rows (5.0%) would be kept without a cell" in step.reason
    assert "rows were opened; the files of the others are there." in step.reason


def test_media_that_were_not_opened_call_for_readable_too(tmp_path):
    rows = photos(tmp_path, 30)
    step = steps(tmp_path, rows, sample=10)["readable"]
    assert step.active
    assert step.reason == "None of the 10 rows opened is broken; the other 20 were not opened."
    assert "readable" not in steps(tmp_path, rows)


def test_more_rows_are_opened_while_files_are_small(tmp_path, monkeypatch):
    rows = photos(tmp_path, 260)
    assert "media of 260" in "".join(pm.suggest(_written(tmp_path, rows)).notes)
    monkeypatch.setattr(looking, "BYTES", 1_000)
    assert "media of 200" in "".join(pm.suggest(_written(tmp_path, rows)).notes)


def _written(folder, rows):
    write_columns(rows, folder / "data.csv")
    return folder / "data.csv"


def test_a_mark_for_missing_is_told_from_numbers_even_beside_a_slip(tmp_path):
    price = [f"{v:.2f}" for v in np.random.default_rng(0).normal(100, 10, 400)]
    for i in (3, 50, 77, 200):
        price[i] = "-999"
    price[9] = "99999"
    found = steps(tmp_path, {"id": [f"r{i}" for i in range(400)], "price": price})
    assert found["range"].options["least"] == pytest.approx(-465, abs=10)  # halfway: not all rows need be looked at
    assert "4 cells are -999, far from all others" in found["range"].reason
    assert "is 99999, far outside" in found["outliers"].reason


def test_leaks_come_before_duplicates_which_would_keep_the_training_row(tmp_path):
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnop")
    texts = [" ".join("".join(rng.choice(letters, 6)) for _ in range(12)) for _ in range(60)]
    texts[50] = texts[10]
    part = ["train"] * 40 + ["test"] * 20
    rows = {"id": [f"r{i}" for i in range(60)], "words": texts, "split": part}
    found = list(steps(tmp_path, rows))
    assert "leaks" in found
    assert "near_duplicates" not in found


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("40 kg", 40.0, "'40 kg' becomes '40'"),
        (None, 0.25, "nothing becomes '0.25'"),
        ("a  b", "a b", "'a  b' becomes 'a b'"),
        ("a\nb", "a b", "'a\\nb' becomes 'a b'"),
    ],
)
def test_a_change_is_told_as_it_is(old, new, told):
    assert change(old, new) == told


def test_a_change_far_into_a_long_text_is_shown():
    told = change("word " * 100 + "jane@example.com " + "word " * 50, "word " * 100 + "[mail] " + "word " * 50)
    assert "jane@example.com" in told.split(" becomes ")[0]
    assert "[mail]" in told.split(" becomes ")[1]
    assert len(told) < 160


def test_no_cell_breaks_out_of_its_comment(tmp_path):
    rows = {"id": ["a", "b"], "words": ["one  two\u2028- evil: {}\n- worse", "three four"]}
    write_columns(rows, tmp_path / "data.csv")
    text = pm.suggest(tmp_path / "data.csv").to_yaml()
    assert yaml.safe_load(text) is not None
    assert all(line.lstrip().startswith(("#", "-", "steps", "columns")) for line in text.split("\n") if line.strip())


def test_a_row_keeps_what_it_has_and_unlikely_texts_are_for_the_user_to_decide(tmp_path):
    words = ["a red shoe of leather", "a blue bag of cloth", "one green hat for the winter", "two old boots"]
    texts = [f"{words[i % 4]} number {i} for you and yours" for i in range(150)]
    texts[7] = "Sphinx of black quartz, judge my vow; jackdaws love my big quick zephyr, waltz!"
    rows = photos(tmp_path, 150)
    rows["words"] = texts
    (tmp_path / "3.png").write_bytes(b"")
    found = steps(tmp_path, rows)
    assert found["readable"].options["keep_row"] is True
    assert found["readable"].active
    assert not found["unlikely"].active
