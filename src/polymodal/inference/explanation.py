"""The page of `polymodal explain --out`: each row's cells, what each was worth, and where in them the answer, or each
word of it, came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.core.registry import import_path
from polymodal.data.kinds import KINDS
from polymodal.data.tables.source import Table
from polymodal.explanation import draw
from polymodal.inference.asked import Drawn, asked
from polymodal.inference.explaining import LEAST, LEAST_WORD
from polymodal.inference.keyed import names_of, place_of
from polymodal.inference.looks import Cell, Look, Looking, framed, own_time
from polymodal.inference.predictor import Predictor
from polymodal.inference.run import Run
from polymodal.report.cards import cell_card, cloud_views, film_strip, on_picture, picture
from polymodal.targets.base import NUMBER
from polymodal.targets.text import TextTarget

MOST_LETTERS = 700  # of a text, as on every card
AROUND = 160  # letters of a text around what speaks most for a word
MOST_COLUMNS = 12  # of a table, those that mattered most
LEAST_PART = 0.005  # log-probability that a part of a cell must add to a word to be drawn
MOST_WORDS = 6  # of an answer that a cell is drawn for, those that it added most to


def write_explanation(run: Run, data: Any, found: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """One self-contained page of the rows that `Run.explain` gave for `data`; returns its path.

    Pictures are bright where the answer came from; words and stretches of sound are blue where they speak for it and
    orange where against it (see `explanation.tokens`). Where no gradient tells, as with features by formula, trees and
    drawings, parts of the cell are hidden one by one instead (`explanation.hiding`), and so are a table's
    columns. Of an answer in words this is shown of the words that a cell added most to. Raises `BadData` when `found`
    is empty.
    """
    table = run.read(data)
    schema = run.predictor.schema
    place = {name: i for i, name in enumerate(names_of(table, schema))}
    predictor = run.predictor.beside(table).about(found[0]["target"] if found else None)
    asked_for = [row["id"] for row in found]
    some = table.select([place[name] if name in place else place_of(name, table, schema) for name in asked_for])
    cards = explained_cards(predictor, some, [str(row["answer"]) for row in found])
    return draw.write_explanation([{**row, "cells": cells} for row, cells in zip(found, cards)], path)


def explained_cards(
    predictor: Predictor, table: Table, texts: Sequence[str] | None = None
) -> list[list[dict[str, Any]]]:
    """The cards of every row, a stream each, with drawings of where its answer to the first target came from; first
    what was drawn, where that is the answer. `texts` as in `asked`."""
    cards = []
    for rows, streams in predictor.encode(table):
        question = asked(predictor, table, rows, streams, None if texts is None else [texts[row] for row in rows])
        worths = question.worth(streams) if any(question.words) else None
        looking = Looking(question, table, rows, streams)
        for i in range(len(rows)):
            drawn = [_drawn_card(question, i)] if isinstance(question, Drawn) else []
            told = [_card(looking, i, name, None if worths is None else worths[i, :, k])
                    for k, name in enumerate(predictor.streams)]  # fmt: skip
            cards.append([*drawn, *told])
    return cards


def _drawn_card(question: Drawn, row: int) -> dict[str, Any]:
    card = cell_card(question.target.name, question.target.show(question.answers["drawn"][row, 0]))
    return {**card, "note": "drawn"}


def _card(looking: Looking, row: int, name: str, worths: np.ndarray | None) -> dict[str, Any]:
    """One cell, with what was looked at in it: for the answer, or for words by the stream's `worths` [V] to them."""
    cell = looking.cell(row, name)
    if cell.reason:
        return cell_card(name, {"kind": "missing", "reason": cell.reason})
    card = cell_card(name, cell.shown)
    if cell.shown is None:
        return card
    if worths is None:
        looks = looking.looks(row, name, cell)
        return card if not looks else _beside(card, _looked_at(looking, name, cell, looks[0]))
    words = looking.asked.words[row]
    most = sorted((v for v in range(len(words)) if worths[v] >= LEAST_WORD), key=lambda v: -worths[v])[:MOST_WORDS]
    if not most:
        return _beside(card, {"note": "it added little to any word"})
    if not (looks := looking.looks(row, name, cell)):
        return card
    told = [v for v in sorted(most) if looks[v].weights.max(initial=0.0) >= LEAST_PART]
    if not told:
        return _beside(card, {"note": "no part of it by itself"})
    each = [{"word": words[v], "added": float(worths[v]), **_looked_at(looking, name, cell, looks[v])} for v in told]
    return {**card, "looks": [one for one in each if "image" in one or "drawing" in one]}


def _beside(card: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """A card with a drawing in place of the card's own, and the notes of both."""
    notes = [note for note in (card.get("note"), own.get("note")) if note]
    return {**card, **own, **({"note": "; ".join(notes)} if notes else {})}


def _looked_at(looking: Looking, name: str, cell: Cell, look: Look) -> dict[str, Any]:
    """What a look shows: a table's columns as bars, other cells as their kind draws them."""
    if look.columns:
        strongest = sorted(zip(look.columns, look.weights.tolist()), key=lambda pair: -abs(pair[1]))[:MOST_COLUMNS]
        return {"drawing": draw.worth_bars(dict(strongest), unit=looking.asked.unit), "note": "what each column adds"}
    assert cell.shown is not None
    return drawn(looking.predictor, name, cell.decoded, cell.shown, look)


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
    array = framed(predictor.processors[name], decoded)
    rows, row = np.unique(look.where[:, 0], return_inverse=True)
    columns, column = np.unique(look.where[:, 1], return_inverse=True)
    grid = np.zeros((len(rows), len(columns)), np.float32)
    # A part that speaks against a word, as another colour does, is not where the word is from.
    written = isinstance(predictor.targets[0], TextTarget)
    grid[row, column] = look.weights.clip(min=0) if written else np.abs(look.weights)
    return {"image": draw.saliency(array, grid), "note": "bright where the answer came from"}


def _text(predictor: Predictor, name: str, decoded: Any, shown: Mapping[str, Any], look: Look) -> dict[str, Any]:
    raises = "blue raises the number, orange lowers it"
    speaks = "blue speaks for the answer, orange against it"
    target = predictor.targets[0]
    cut, at = shown["text"][:MOST_LETTERS], 0
    spans, weights = [], []
    for (start, end), weight in sorted(zip(look.where[:, :2].astype(int).tolist(), look.weights.tolist())):
        start, end = max(start, at), min(end, len(cut))
        if start < end:
            spans.append((start, end))
            weights.append(weight)
            at = end
    note = raises if target.scores == NUMBER else speaks
    if isinstance(target, TextTarget) and spans:  # which is drawn a word each: what surrounds the part that speaks most
        middle = sum(spans[int(np.argmax(weights))]) // 2
        start, end = max(0, middle - AROUND // 2), min(len(cut), middle + AROUND // 2)
        kept = [(span, weight) for span, weight in zip(spans, weights) if start <= span[0] and span[1] <= end]
        cut, spans = cut[start:end], [(a - start, b - start) for (a, b), _ in kept]
        weights = [weight for _, weight in kept]
    return {"drawing": draw.highlighted(cut, spans, weights), "note": note}


def _audio(predictor: Predictor, name: str, decoded: Any, shown: Mapping[str, Any], look: Look) -> dict[str, Any]:
    return {"drawing": _sound(np.asarray(shown["array"]), float(shown["rate"]), look.where[:, 0], look)}


def _sound(samples: np.ndarray, rate: float, centres: np.ndarray, look: Look) -> Any:
    mono = samples.mean(1) if samples.ndim == 2 else samples
    return draw.waveform(mono, rate, stretches(centres, len(mono) / rate), look.weights)


def _series(predictor: Predictor, name: str, decoded: Any, shown: Mapping[str, Any], look: Look) -> dict[str, Any]:
    """The first channel over time; a series that was stretched to a fixed length is drawn in its own time."""
    array = np.asarray(shown["array"], dtype=float)
    rate = float(predictor.encoders[name].facts["rate"])
    channels = array.shape[1] if array.ndim == 2 else 1
    first = array[:, 0] if array.ndim == 2 else array
    drawn = {"drawing": _sound(first, rate, own_time(predictor, name, shown, look), look)}
    return {**drawn, "note": f"channel 1 of {channels} is shaded"} if channels > 1 else drawn


def _video(predictor: Predictor, name: str, decoded: Any, shown: Mapping[str, Any], look: Look) -> dict[str, Any]:
    """The frames that are nearest to where it looked, each with how much it looked there."""
    times, strength = np.asarray(shown["times"]), np.abs(look.weights)
    near = np.abs(times[None] - look.where[:, :1]).argmin(1)
    strip = film_strip(np.asarray(shown["array"])[near], times[near], strength / strength.max())
    return {"image": strip, "note": "the longer the bar, the more of the answer came from there"}


def _volume(predictor: Predictor, name: str, decoded: Any, shown: Mapping[str, Any], look: Look) -> dict[str, Any]:
    """The slice from which most of the answer came, bright where in it; where it looked at slices whole, those."""
    scan, strength = np.asarray(shown["array"]), np.abs(look.weights)
    depths, slices = np.unique(look.where[:, 0], return_inverse=True)
    if len(depths) == len(look.where) > 1:
        at = (depths * len(scan)).astype(int).clip(0, len(scan) - 1)
        strip = film_strip(scan[at][..., None], at + 1, strength / strength.max())
        return {"image": strip, "note": "slices; the longer the bar, the more of the answer came from there"}
    best = int(np.bincount(slices, strength).argmax())
    here = slices == best
    rows, row = np.unique(look.where[here, 1], return_inverse=True)
    columns, column = np.unique(look.where[here, 2], return_inverse=True)
    grid = np.zeros((len(rows), len(columns)), np.float32)
    grid[row, column] = strength[here]
    number = int(depths[best] * len(scan))
    note = f"slice {number + 1} of {len(scan)}, bright where the answer came from"
    return {"image": draw.saliency(scan[number], grid), "small": max(scan.shape[1:]) <= 96, "note": note}


def _points(predictor: Predictor, name: str, decoded: Any, shown: Mapping[str, Any], look: Look) -> dict[str, Any]:
    """Its points, each as bright as what is looked at nearest to it."""
    places, strength = np.asarray(shown["array"]), np.abs(look.weights)
    nearest = np.linalg.norm(places[:, None] - look.where[None, :, :3], axis=2).argmin(1)
    shades = strength[nearest] / strength.max()
    if "picture" in shown:
        seen = on_picture(shown["picture"], shown["pixels"], shades)
        own = {"image": picture(seen, longest=max(seen.shape[:2])), "picture": cloud_views(places, shades)}
    else:
        own = {"image": cloud_views(places, shades)}
    return {**own, "note": "bright where the answer came from"}


DRAWINGS: dict[str, Callable[[Predictor, str, Any, Mapping[str, Any], Look], dict[str, Any]]] = {
    "image": _image, "text": _text, "audio": _audio, "video": _video, "volume": _volume, "points": _points,
    "series": _series,
}  # fmt: skip


def stretches(centres: np.ndarray, total: float) -> np.ndarray:
    """[T, 2] start and end of neighbouring stretches of time around `centres` [T], within 0..total."""
    if len(centres) == 1:
        return np.array([[0.0, total]])
    middle = (centres[1:] + centres[:-1]) / 2
    edges = np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]]).clip(0, total)
    return np.stack([edges[:-1], edges[1:]], axis=1)
