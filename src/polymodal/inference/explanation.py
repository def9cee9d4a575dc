"""The page of `polymodal explain --out`: each row's cells, what each was worth, and where in it the model looked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadCell
from polymodal.core.registry import import_path
from polymodal.core.types import Tokens
from polymodal.data.kinds import KINDS
from polymodal.data.tables.source import Table
from polymodal.explanation import draw
from polymodal.explanation.hiding import HIDING, of_picture, of_series
from polymodal.explanation.tokens import token_weights
from polymodal.inference.predictor import Predictor
from polymodal.inference.run import Run
from polymodal.nn.place import CPU, device_of_module, to_device
from polymodal.process.base import Processor
from polymodal.process.several import Several
from polymodal.report.cards import cell_card
from polymodal.targets.base import NUMBER
from polymodal.train.encode import encoded

MOST_LETTERS = 700  # of a text, as on every card
MOST_COLUMNS = 12  # of a table, those that mattered most
LEAST = 1e-3  # of the answer's unit: below it nothing is drawn


def write_explanation(run: Run, data: Any, found: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """One self-contained page of the rows that `Run.explain` gave for `data`; returns its path.

    Pictures are bright where the answer came from; words and stretches of sound are blue where they speak for it and
    orange where against it (see `explanation.tokens`). Where no gradient tells, as with features by formula and trees,
    parts of the cell are hidden one by one instead (`explanation.hiding`), and so are a table's columns. Raises
    `BadData` when `found` is empty.
    """
    table = run.read(data)
    place = {name: i for i, name in enumerate(table.ids)}
    predictor = run.predictor.beside(table).about(found[0]["target"] if found else None)
    cards = explained_cards(predictor, table.select([place[row["id"]] for row in found]))
    return draw.write_explanation([{**row, "cells": cells} for row, cells in zip(found, cards)], path)


def explained_cards(predictor: Predictor, table: Table) -> list[list[dict[str, Any]]]:
    """The cards of every row, a stream each, with drawings of where the model looked for its first answer."""
    target = predictor.targets[0]
    cards = []
    for rows, streams in predictor.encode(table):
        weights = token_weights(streams, lambda some: target.decided(_scores(predictor, some)))
        traced = [n for n in weights if streams[n].where is not None and predictor.encoders[n].traced]
        for i, row in enumerate(rows):
            own = {name: tokens.select(slice(i, i + 1)) for name, tokens in streams.items()}
            looks = {name: Look.of(streams[name], weights[name], i) for name in traced if bool(own[name].present)}
            columns = _columns(predictor, table.select([row]), own)
            cards.append([_card(predictor, table, int(row), name, looks.get(name), columns, own) for name in streams])
    return cards


@dataclass(frozen=True, eq=False)
class Look:
    """The real tokens of one cell: what each weighs [T] and where in the source it lies [T, K]."""

    weights: np.ndarray
    where: np.ndarray

    @classmethod
    def of(cls, tokens: Tokens, weights: Tensor, row: int) -> Look:
        assert tokens.where is not None
        real = tokens.mask[row]
        return cls(weights[row][real].numpy(), tokens.where[row][real].float().numpy())


def _scores(predictor: Predictor, streams: Mapping[str, Tokens]) -> Tensor:
    """Scores of the first target, with gradient."""
    device = device_of_module(predictor.answer.eval())
    name = predictor.targets[0].name
    scores = predictor.answer(to_device(streams, device)).predictions[name]
    return predictor.tempered(name, to_device(scores, CPU))


def _card(
    predictor: Predictor, table: Table, row: int, name: str, look: Look | None,
    columns: Mapping[str, dict[str, float]], streams: Mapping[str, Tokens],
) -> dict[str, Any]:  # fmt: skip
    processor = predictor.processors[name]
    try:
        cell = predictor.cells(table, name)[row]
        decoded = None if cell is None else processor.read(cell)
    except BadCell as error:
        return cell_card(name, {"kind": "missing", "reason": error.reason})
    if decoded is None:
        return cell_card(name, None)
    shown = processor.show(decoded)
    card = cell_card(name, shown)
    if columns.get(name):
        unit = predictor.targets[0].decided_unit
        return {**card, "drawing": draw.worth_bars(columns[name], unit=unit), "note": "what each column adds"}
    look = look or _hidden(predictor, name, decoded, shown, streams)
    if look is None:
        return card
    own = drawn(predictor, name, decoded, shown, look)
    notes = [note for note in (card.get("note"), own.get("note")) if note]
    return {**card, **own, **({"note": "; ".join(notes)} if notes else {})}


def _hidden(
    predictor: Predictor, name: str, decoded: Any, shown: Mapping[str, Any], streams: Mapping[str, Tokens]
) -> Look | None:
    """What the answer of one row loses when a part of the cell is hidden; None of a kind that has no parts."""
    processor, encoder, target = predictor.processors[name], predictor.encoders[name], predictor.targets[0]
    if shown["kind"] not in HIDING or not bool(streams[name].present):
        return None
    several = processor.each if isinstance(processor, Several) else None
    cells = [(processor, decoded)] if several is None else list(zip(several, decoded))
    hide = HIDING[shown["kind"]]
    framed = [_framed(one, cell) if hide is of_picture else cell for one, cell in cells]
    made = [hide(cell) for cell in framed]
    (parts, where), cell = made[0], framed[0]
    if not parts or len({len(hidden) for hidden, _ in made}) > 1:
        return None
    if several is not None:
        parts = list(zip(*(hidden for hidden, _ in made)))
    inputs = {key: torch.from_numpy(value) for key, value in processor.process(parts).items()}
    with torch.no_grad():
        tokens = encoded(encoder, {**inputs, "present": torch.ones(len(parts), dtype=torch.bool)}, len(parts))
        full = _scores(predictor, streams)
        full = full.expand(len(parts), *full.shape[1:])
        less = _scores(predictor, _beside(streams, name, tokens.to(torch.float32)))
    lost = target.decided(full) - target.decided(less, of=full)
    if hide is of_series:
        stretch = int(encoder.facts["length"]) / len(cell) if _stretched(processor) else 1.0
        where = where * stretch / float(encoder.facts["rate"])
    return Look(lost.numpy(), where)


def drawn(predictor: Predictor, name: str, decoded: Any, shown: Mapping[str, Any], look: Look) -> dict[str, Any]:
    """Where the model looked, as the kind draws it: keys of a card that take the place of the card's own."""
    drawing = KINDS[shown["kind"]].drawing
    if not drawing:
        return {}
    if np.abs(look.weights).max(initial=0.0) < LEAST:
        return {"note": "no part of it matters to the answer"}
    draws = DRAWINGS[drawing] if drawing in DRAWINGS else import_path(drawing)
    return draws(predictor, name, decoded, shown, look)


def _image(predictor: Predictor, name: str, decoded: Any, shown: Mapping[str, Any], look: Look) -> dict[str, Any]:
    """The picture as the model sees it: its own frame, or, cut or padded, the square that was made of it."""
    array = _framed(predictor.processors[name], decoded)
    rows, row = np.unique(look.where[:, 0], return_inverse=True)
    columns, column = np.unique(look.where[:, 1], return_inverse=True)
    grid = np.zeros((len(rows), len(columns)), np.float32)
    grid[row, column] = np.abs(look.weights)
    return {"image": draw.saliency(array, grid), "note": "bright where the answer came from"}


def _framed(processor: Processor, picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, C] of what the model sees of a picture: all of it, or the square that is cut from it or padded."""
    if isinstance(processor, Several):
        return _framed(processor.each[0], picture[0])
    if getattr(processor, "framing", "squash") == "squash":
        return picture
    pixels = processor.process([picture])["pixels"][0]
    return pixels.transpose(1, 2, 0) if pixels.dtype == np.uint8 else picture


def _stretched(processor: Processor) -> bool:
    return getattr(processor, "framing", "crop") == "resample"


def _text(predictor: Predictor, name: str, decoded: Any, shown: Mapping[str, Any], look: Look) -> dict[str, Any]:
    raises = "blue raises the number, orange lowers it"
    speaks = "blue speaks for the answer, orange against it"
    number = predictor.targets[0].scores == NUMBER
    cut, at = shown["text"][:MOST_LETTERS], 0
    spans, weights = [], []
    for (start, end), weight in sorted(zip(look.where[:, :2].astype(int).tolist(), look.weights.tolist())):
        start, end = max(start, at), min(end, len(cut))
        if start < end:
            spans.append((start, end))
            weights.append(weight)
            at = end
    return {"drawing": draw.highlighted(cut, spans, weights), "note": raises if number else speaks}


def _audio(predictor: Predictor, name: str, decoded: Any, shown: Mapping[str, Any], look: Look) -> dict[str, Any]:
    return {"drawing": _sound(np.asarray(shown["array"]), float(shown["rate"]), look.where[:, 0], look)}


def _sound(samples: np.ndarray, rate: float, centres: np.ndarray, look: Look) -> Any:
    mono = samples.mean(1) if samples.ndim == 2 else samples
    return draw.waveform(mono, rate, stretches(centres, len(mono) / rate), look.weights)


def _series(predictor: Predictor, name: str, decoded: Any, shown: Mapping[str, Any], look: Look) -> dict[str, Any]:
    """The first channel over time; a series that was stretched to a fixed length is drawn in its own time."""
    array = np.asarray(shown["array"], dtype=float)
    facts = predictor.encoders[name].facts
    rate, length = float(facts["rate"]), int(facts["length"])
    centres = look.where[:, 0] * (len(array) / length if _stretched(predictor.processors[name]) else 1.0)
    channels = array.shape[1] if array.ndim == 2 else 1
    first = array[:, 0] if array.ndim == 2 else array
    drawn = {"drawing": _sound(first, rate, centres, look)}
    return {**drawn, "note": f"channel 1 of {channels} is shaded"} if channels > 1 else drawn


DRAWINGS: dict[str, Callable[[Predictor, str, Any, Mapping[str, Any], Look], dict[str, Any]]] = {
    "image": _image, "text": _text, "audio": _audio, "series": _series,
}  # fmt: skip


def stretches(centres: np.ndarray, total: float) -> np.ndarray:
    """[T, 2] start and end of neighbouring stretches of time around `centres` [T], within 0..total."""
    if len(centres) == 1:
        return np.array([[0.0, total]])
    middle = (centres[1:] + centres[:-1]) / 2
    edges = np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]]).clip(0, total)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _columns(predictor: Predictor, row: Table, streams: Mapping[str, Tokens]) -> dict[str, dict[str, float]]:
    """A table stream each: what the answer loses when one of its columns is hidden, the strongest columns."""
    effects = {}
    for name, tokens in streams.items():
        field = predictor.schema.fields[name]
        given = [c for c in field.columns if c in row.data and row.data[c][0] is not None]
        if not field.about.is_record or len(given) < 2 or not bool(tokens.present[0]):
            continue
        hidden = {c: [None if c == one else row.data[c][0] for one in given] for c in given}
        pieces = [changed[name] for _, changed in predictor.encode(Table.build(hidden, ids=given))]
        with torch.no_grad():
            full = _scores(predictor, streams)
            full = full.expand(len(given), *full.shape[1:])
            less = torch.cat([_scores(predictor, _beside(streams, name, piece)) for piece in pieces])
        target = predictor.targets[0]
        lost = target.decided(full) - target.decided(less, of=full)
        strongest = sorted(zip(given, lost.tolist()), key=lambda pair: -abs(pair[1]))
        effects[name] = dict(strongest[:MOST_COLUMNS])
    return effects


def _beside(streams: Mapping[str, Tokens], name: str, tokens: Tokens) -> dict[str, Tokens]:
    """The streams of one row repeated beside the changed tokens of `name`."""
    first = torch.zeros(len(tokens), dtype=torch.long)
    return {n: tokens if n == name else t.select(first) for n, t in streams.items()}
