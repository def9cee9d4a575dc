"""Cleaning text: spaces, and texts that are no text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from polymodal.prepare.base import BatchOp, CellOp, Sketch
from polymodal.prepare.media import Media
from polymodal.prepare.rows import Row, Rows

_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*")


class Spaces(CellOp):
    """One space between words, no space at the ends, no empty lines."""

    kinds = ("text", "category")

    def __init__(self, *, columns: Sequence[str] | str | None = None):
        super().__init__(columns=columns)

    def mend(self, value: str, row: Row) -> str:
        mended = _LINES.sub("\n", _SPACES.sub(" ", value)).strip()
        return value if mended == value else mended


class ExactDuplicates(BatchOp):
    """Keeps the first of rows whose chosen cells are all equal, letter for letter or byte for byte."""

    kinds = ("text", "category", "image", "audio", "series", "number", "date")

    def __init__(self, *, columns: Sequence[str] | str | None = None):
        super().__init__(columns=columns)

    def sketch(self, rows: Rows) -> Sketch:
        return {"key": _keys(rows, self.chosen), "row": np.array([row.number for row in rows], np.int64)}

    def settle(self, sketches: Iterable[Sketch]) -> None:
        found = list(sketches)
        keys = np.concatenate([s["key"] for s in found]) if found else np.zeros(0, np.uint64)
        rows = np.concatenate([s["row"] for s in found]) if found else np.zeros(0, np.int64)
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        original = rows[first][inverse]
        copies = original != rows
        self.state = {"copy": rows[copies], "of": original[copies]}

    def work(self, rows: Rows) -> None:
        of = dict(zip(self.state["copy"].tolist(), self.state["of"].tolist()))
        self.refuse(
            rows,
            {
                i: f"equals row {of[row.number]} in {', '.join(self.chosen)}"
                for i, row in enumerate(rows)
                if row.number in of
            },
        )


def _keys(rows: Rows, columns: Sequence[str]) -> np.ndarray:
    """A 64-bit digest of each row's chosen cells."""
    found = []
    for row in rows:
        digest = xxhash.xxh3_64()
        for column in columns:
            cell = row.cells.get(column)
            content: Any = cell
            if isinstance(cell, Media):
                content = cell.source
                if isinstance(content, Path):  # a file that is not there equals no other
                    content = content.read_bytes() if content.exists() else f"{row.number} {content}".encode()
            part = content if isinstance(content, bytes) else repr(content).encode("utf-8", "surrogatepass")
            digest.update(len(part).to_bytes(8, "little") + part)
        found.append(digest.intdigest())
    return np.array(found, np.uint64)
