"""Files that are whole or absent."""

from __future__ import annotations

from polymodal.core.files import clear_unfinished


def test_what_a_killed_writer_left_is_cleared_and_nothing_else(tmp_path):
    others = {"data.csv", ".hidden", ".data.csv.nothexadecim.csv"}
    for name in (".data.csv.0123456789ab.csv", ".data.0123456789ab", *others):
        (tmp_path / name).write_text("x")
    (tmp_path / ".work.0123456789ab").mkdir()
    clear_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*others, ".work.0123456789ab"}
