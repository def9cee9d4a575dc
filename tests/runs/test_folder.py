"""A run's folder belongs to one plan, wherever its data are told from."""

from __future__ import annotations

import pytest

from polymodal.core.errors import BadArgument
from polymodal.runs.folder import claim


def plan(source: str) -> dict:
    return {"sources": {"train": source}, "config": {"seed": 0}}


def test_a_run_is_resumed_from_another_working_folder(tmp_path):
    claim(tmp_path / "run", plan("data/shop.csv"), [["a", "b"]], resume=False)
    claim(tmp_path / "run", plan("shop.csv"), [["a", "b"]], resume=True)
    for other, rows in ((plan("other.csv"), [["a", "b"]]), (plan("shop.csv"), [["a", "c"]])):
        with pytest.raises(BadArgument, match="was started with other"):
            claim(tmp_path / "run", other, rows, resume=True)
