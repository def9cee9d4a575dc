"""Files that are whole or absent."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from polymodal.core.files import clear_unfinished, writing


def test_what_a_killed_writer_left_is_cleared_and_nothing_else(tmp_path):
    others = {"data.csv", ".hidden", ".data.csv.nothexadecim.csv"}
    for name in (".data.csv.0123456789ab.csv", ".data.0123456789ab", *others):
        (tmp_path / name).write_text("x")
    (tmp_path / ".work.0123456789ab").mkdir()
    clear_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*others, ".work.0123456789ab"}


def test_a_place_that_takes_nothing_is_named_as_it_was_given(tmp_path, monkeypatch):
    def refuse(self, **_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(OSError, match="Read-only") as error, writing(tmp_path / "a.csv"):
        pass
    assert error.value.filename == str(tmp_path / "a.csv")
