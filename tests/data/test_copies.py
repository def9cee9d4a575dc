"""Rows that are copies of one another stay together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodal.data.copies import held_together
from polymodal.data.schema import Schema
from polymodal.data.split import units
from polymodal.data.tables.source import read_table


def together(rows: list[dict[str, Any]], fields: dict[str, Any], **schema: Any) -> list[int] | None:
    table = read_table(rows)
    held = held_together(table, Schema.infer(table, "label", {"fields": fields, **schema}))
    return None if held is None else units(held, len(rows)).tolist()


PHOTO = {"photo": {"kind": "image", "columns": ["photo"]}}
REVIEW = {"review": {"kind": "text", "columns": ["review"]}}


def row(photo: Any, review: str = "good", label: str = "a", **more: Any) -> dict[str, Any]:
    return {"photo": photo, "review": review, "label": label, **more}


def test_rows_with_the_same_cells_share_a_number() -> None:
    rows = [row("a.png"), row("b.png"), row("a.png", label="b"), row("a.png", "bad")]
    assert together(rows, PHOTO | REVIEW) == [0, 1, 0, 2]


def test_rows_that_differ_each_go_by_themselves() -> None:
    assert together([row("a.png"), row("b.png")], PHOTO | REVIEW) is None


def test_equal_words_alone_are_no_copy() -> None:
    assert together([row("a.png"), row("b.png"), row("c.png")], REVIEW) is None


def test_rows_without_a_photo_are_no_copies() -> None:
    assert together([row(None), row(None), row("a.png"), row("a.png")], PHOTO | REVIEW) == [0, 1, 2, 2]


def test_a_group_goes_before_copies() -> None:
    rows = [row("a.png", patient="x"), row("a.png", patient="y"), row("b.png", patient="x")]
    assert together(rows, PHOTO, group="patient") == [0, 1, 0]


@pytest.mark.parametrize("cell", [b"\x89PNG", [1.0, 2.0], np.array([1.0, 2.0])], ids=["bytes", "list", "array"])
def test_cells_that_are_content_are_compared(cell: Any) -> None:
    kind = {"photo": {"kind": "image" if isinstance(cell, bytes) else "vector", "columns": ["photo"]}}
    other: Any = b"\x89PNJ" if isinstance(cell, bytes) else [1.0, 3.0]
    rows = [row(cell), row(cell), row(other)]
    assert together(rows, kind) == [0, 0, 1]


def test_rows_of_an_array_are_told_by_their_column(tmp_path: Any) -> None:
    np.save(tmp_path / "wave.npy", np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32))
    (tmp_path / "rows.csv").write_text("row,label\n0,a\n1,b\n0,a\n1,a\n", encoding="utf-8")
    table = read_table(tmp_path / "rows.csv")
    field = {"wave": {"kind": "series", "array": "wave.npy", "row": "row"}}
    held = held_together(table, Schema.infer(table, "label", {"fields": field}))
    assert held is not None
    assert units(held, 4).tolist() == [0, 1, 0, 1]
    bare = {"wave": {"kind": "series", "array": "wave.npy"}}
    assert held_together(table, Schema.infer(table, "label", {"fields": bare, "ignore": ["row"]})) is None
