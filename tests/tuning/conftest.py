"""A tiny table whose label is told by the sum of two numbers, a stream each, and settings that learn nothing of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

TINY = {
    "schema": {"fields": {"a": {"kind": "table", "columns": ["x"]}, "b": {"kind": "table", "columns": ["y"]}}},
    "encoders": {"a": "table_plain", "b": "table_plain"},
    "fusion": ["concat"],
    "ensemble": False,
    "dim": 8,
    "workers": 0,
    "trackers": "none",
    "answer_training": {"lr": 1e-6, "epochs": 4, "patience": 0},
}
LR = {"derive": False, "answer_training.lr": {"values": [1e-6, 0.05]}}  # at the first nothing is learned


def write_tiny(path: Path, rows: int = 120, broken: int | None = None) -> Path:
    """`x`, `y` and `label`; the cells of the row `broken` are no numbers."""
    rng = np.random.default_rng(0)
    lines = ["id,x,y,label"]
    for i, (x, y) in enumerate(rng.normal(size=(rows, 2))):
        cells = ("what?", "") if i == broken else (f"{x:.3f}", f"{y:.3f}")
        lines.append(f"r{i},{','.join(cells)},{'same' if x + y > 0 else 'other'}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_STORE", str(tmp_path / "store"))
    return write_tiny(tmp_path / "tiny.csv")
