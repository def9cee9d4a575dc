"""A run's folder belongs to one plan, wherever its data are told from."""

from __future__ import annotations

import os

import pytest

from polymodal.core.errors import BadArgument, BadData, PolymodalError
from polymodal.runs import folder as folder_module
from polymodal.runs.folder import claim, claimed


def plan(source: str) -> dict:
    return {"sources": {"train": source}, "config": {"seed": 0}}


def test_a_run_is_resumed_from_another_working_folder(tmp_path):
    claim(tmp_path / "run", plan("data/shop.csv"), [["a", "b"]], resume=False)
    claim(tmp_path / "run", plan("shop.csv"), [["a", "b"]], resume=True)
    for other, rows in ((plan("other.csv"), [["a", "b"]]), (plan("shop.csv"), [["a", "c"]])):
        with pytest.raises(BadArgument, match="was started with other"):
            claim(tmp_path / "run", other, rows, resume=True)


def test_a_run_under_way_is_not_joined_and_goes_on_untouched(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "PATIENCE", 0)
    with claimed(tmp_path / "run", plan("shop.csv"), [], resume=False):
        busy = pytest.raises(PolymodalError, match=rf"Another process \({os.getpid()}\).*--resume then goes on")
        with busy, claimed(tmp_path / "run", plan("shop.csv"), [], resume=True):
            pytest.fail("two at one run")
        assert (tmp_path / "run" / "work" / "plan.json").exists()
        with claimed(tmp_path / "run", plan("shop.csv"), [], resume=True, shared=True):
            pass
    with claimed(tmp_path / "run", plan("shop.csv"), [], resume=True):
        pass


def test_a_run_that_failed_before_any_training_leaves_its_folder_free(tmp_path):
    with pytest.raises(BadData), claimed(tmp_path / "run", plan("shop.csv"), [], resume=False):
        raise BadData("no")
    assert not (tmp_path / "run").exists()
