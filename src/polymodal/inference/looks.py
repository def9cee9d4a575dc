"""Where in the cells of a row an answer, or each word of it, came from: by gradients, or by hiding parts.

A word's log-probability is what a cell's part is hidden from, and encoded again. Of a pretrained tower, for which that
is too dear, tokens are taken out instead, but not of texts, whose tokens have heard of one another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadCell
from polymodal.core.types import Tokens
from polymodal.data.tables.source import Table
from polymodal.explanation.hiding import HIDING, Parts, of_picture, of_series, of_text
from polymodal.explanation.tokens import taken_out, token_weights
from polymodal.inference.asked import Asked
from polymodal.inference.predictor import Predictor
from polymodal.process.base import Processor
from polymodal.process.several import Several
from polymodal.train.encode import encoded


@dataclass(frozen=True, eq=False)
class Look:
    """Of one cell and one value: what each part weighs [T], and where in the source it lies, [T, K], or the columns
    of a table that the parts are."""

    weights: np.ndarray
    where: np.ndarray
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell, decoded, and as `Processor.show` gives it; the `reason` why one that is there cannot be used."""

    decoded: Any = None
    shown: Mapping[str, Any] | None = None
    reason: str = ""


class Looking:
    """Where what is asked of `rows` of a table came from; `streams` are their tokens."""

    def __init__(self, asked: Asked, table: Table, rows: np.ndarray, streams: Mapping[str, Tokens]):
        self.asked, self.table, self.rows, self.streams = asked, table, rows, streams
        self.predictor = asked.predictor
        self.raw = {name: self.predictor.cells(table, name) for name in streams}
        self.weights: dict[str, Tensor] = {}
        if not any(asked.words):
            every = torch.arange(len(rows))
            self.weights = token_weights(streams, lambda some: asked.values(some, every)[:, 0])

    def cell(self, row: int, name: str) -> Cell:
        """The cell of the row at the place `row` of `rows`."""
        processor = self.predictor.processors[name]
        try:
            raw = self.raw[name][int(self.rows[row])]
            decoded = None if raw is None else processor.read(raw)
        except BadCell as error:
            return Cell(reason=error.reason)
        return Cell() if decoded is None else Cell(decoded, processor.show(decoded))

    def looks(self, row: int, name: str, cell: Cell) -> list[Look]:
        """One for each value that is asked of the row; none where the cell has no parts or nothing of it was read."""
        own = {n: tokens.select(slice(row, row + 1)) for n, tokens in self.streams.items()}
        tokens = own[name]
        if cell.shown is None or not bool(tokens.present):
            return []
        if (columns := self._columns(row, name, own)) is not None:
            return columns
        encoder = self.predictor.encoders[name]
        placed = tokens.where is not None and encoder.traced
        if placed and name in self.weights:
            return [Look(self.weights[name][row][tokens.mask[0]].numpy(), _places(tokens))]
        hides = HIDING.get(cell.shown["kind"])
        if placed and self.asked.words[row] and (hides is None or (encoder.pretrained and hides is not of_text)):
            return [Look(each, _places(tokens)) for each in self._lost(row, name, own, taken_out(tokens)).T]
        return [] if hides is None else self._hidden(row, name, cell, own, hides)

    def _columns(self, row: int, name: str, own: Mapping[str, Tokens]) -> list[Look] | None:
        """Of a table of several columns: what is lost when one of them is hidden."""
        field, data = self.predictor.schema.fields[name], self.table.data
        place = int(self.rows[row])
        given = [c for c in field.columns if c in data and data[c][place] is not None]
        if not field.about.is_record or len(given) < (1 if self.asked.words[row] else 2):
            return None
        hidden = {c: [None if c == one else data[c][place] for one in given] for c in given}
        pieces = [changed[name] for _, changed in self.predictor.encode(Table.build(hidden, ids=given))]
        lost = np.concatenate([self._lost(row, name, own, piece) for piece in pieces])
        return [Look(each, np.zeros((len(given), 0)), tuple(given)) for each in lost.T]

    def _hidden(
        self, row: int, name: str, cell: Cell, own: Mapping[str, Tokens], hide: Callable[[Any], Parts]
    ) -> list[Look]:
        """What is lost when a part of the cell is hidden."""
        processor, encoder = self.predictor.processors[name], self.predictor.encoders[name]
        several = processor.each if isinstance(processor, Several) else None
        cells = [(processor, cell.decoded)] if several is None else list(zip(several, cell.decoded))
        read = [framed(one, decoded) if hide is of_picture else decoded for one, decoded in cells]
        made = [hide(one) for one in read]
        parts, where = made[0]
        if not parts or len({len(hidden) for hidden, _ in made}) > 1:
            return []
        if several is not None:
            parts = list(zip(*(hidden for hidden, _ in made)))
        inputs = {key: torch.from_numpy(value) for key, value in processor.process(parts).items()}
        with torch.no_grad():
            tokens = encoded(encoder, {**inputs, "present": torch.ones(len(parts), dtype=torch.bool)}, len(parts))
        lost = self._lost(row, name, own, tokens.to(torch.float32))
        if hide is of_series:
            stretch = int(encoder.facts["length"]) / len(read[0]) if stretched(processor) else 1.0
            where = where * stretch / float(encoder.facts["rate"])
        return [Look(each, where) for each in lost.T]

    @torch.no_grad()
    def _lost(self, row: int, name: str, own: Mapping[str, Tokens], changed: Tokens) -> np.ndarray:
        """[b, V] what the values lose when the stream's tokens are those of `changed`."""
        first = torch.zeros(len(changed), dtype=torch.long)
        beside = {n: changed if n == name else t.select(first) for n, t in own.items()}
        full = self.asked.values(own, torch.tensor([row]))
        return (full - self.asked.values(beside, first + row)).numpy()


def _places(tokens: Tokens) -> np.ndarray:
    """[T, K] where the real tokens of one row lie."""
    assert tokens.where is not None
    return tokens.where[0][tokens.mask[0]].float().numpy()


def framed(processor: Processor, picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, C] of what the model sees of a picture: all of it, or the square that is cut from it or padded."""
    if isinstance(processor, Several):
        return framed(processor.each[0], picture[0])
    if getattr(processor, "framing", "squash") == "squash":
        return picture
    pixels = processor.process([picture])["pixels"][0]
    return pixels.transpose(1, 2, 0) if pixels.dtype == np.uint8 else picture


def stretched(processor: Processor) -> bool:
    """Whether series are stretched to one length, so that their time is not the model's."""
    return getattr(processor, "framing", "crop") == "resample"


def own_time(predictor: Predictor, name: str, shown: Mapping[str, Any], look: Look) -> np.ndarray:
    """[T] seconds of a series' parts in its own time."""
    own = len(shown["array"]) / int(predictor.encoders[name].facts["length"])
    return look.where[:, 0] * (own if stretched(predictor.processors[name]) else 1.0)
