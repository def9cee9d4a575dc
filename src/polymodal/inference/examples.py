"""Rows worth looking at: the most confident mistakes, with what their cells hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell, MissingExtra
from polymodal.data.tables.source import Table
from polymodal.evaluation.drawing import COPIED, nearest
from polymodal.evaluation.hallucination import hallucinations, nouns
from polymodal.evaluation.novelty import copied, distinct
from polymodal.inference.drawing import features
from polymodal.inference.predictor import Predictor
from polymodal.metrics.base import labelled
from polymodal.report.cards import cell_card
from polymodal.targets.text import TextTarget

MISTAKES = 8
BEST = 4
MOST = 5  # objects that are named
DRAWN = 12  # rows whose drawing is shown


def mistakes(
    predictor: Predictor, truth: np.ndarray, predictions: np.ndarray, table: Table, rows: np.ndarray
) -> list[dict[str, Any]]:
    """The rows answered wrongly with most confidence (numbers: farthest off), with what they hold."""
    found = predictor.targets[0].mistakes(truth, predictions, labelled(truth), MISTAKES)
    return [_example(predictor, truth, predictions, table, rows, i) for i in found]


def words(
    predictor: Predictor, truth: np.ndarray, predictions: np.ndarray, table: Table, rows: np.ndarray,
    training: Collection[str],
) -> dict[str, Any]:  # fmt: skip
    """What a report says of answers in words: how many differ, their length, and the rows that are most like their
    references; where the `training` answers are known, the share copied from them, and of longer answers the share that
    names an object (a noun of training) that no reference names. Empty for other targets."""
    target = predictor.targets[0]
    if not isinstance(target, TextTarget) or not len(predictions):
        return {}
    known, said = np.flatnonzero(labelled(truth)), predictions.tolist()
    alike = np.array([target.likeness(said[i], truth[i]) for i in known])
    best = known[np.argsort(-alike, kind="stable")][:BEST]
    return {
        "rows": len(said),
        "distinct": distinct(said)["answers"],
        "length": float(np.mean([target.coder.count(target.coder.codes(text)) for text in said])),
        "symbols": target.written_in,
        **({"copied": vars(copied(said, training))} if training else {}),
        **(_invented([said[i] for i in known], truth[known], training) if training and not target.short else {}),
        "best": [_example(predictor, truth, predictions, table, rows, i) for i in best],
    }


def _invented(said: Sequence[str], truth: np.ndarray, training: Collection[str]) -> dict[str, Any]:
    """The share of answers that name what no reference names, and what they name most often; else why nobody looked."""
    try:
        names = nouns(sorted(training))
    except MissingExtra as error:
        return {"not_looked": str(error)}
    if not any(names.values()):
        return {}
    references = [[text for text in np.atleast_1d(row) if text] for row in truth]
    found = hallucinations(said, references, names)
    return {"invented": {**vars(found.answers), "most": dict(list(found.most.items())[:MOST])}}


def drawings(
    predictor: Predictor, truth: np.ndarray, predictions: np.ndarray, table: Table, rows: np.ndarray,
    training: np.ndarray | None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Some rows evenly from all: of `each` the cards of what was drawn [N, M, H, W, C], of the truth [N, H, W, C], and
    of what of the `training` rows, where these are known, is nearest to the drawn. `near` is its distance over the
    middle distance of the truth to its own nearest, `copied` whether it is so near that it is a copy."""
    target: Any = predictor.targets[0]
    known = np.flatnonzero(labelled(truth))
    some = known[np.unique(np.linspace(0, len(known) - 1, DRAWN).round().astype(int))] if len(known) else known
    away, place, usual = np.zeros(len(some)), np.zeros(len(some), int), float("nan")
    if training is not None and len(training):
        seen = features(target, training)
        away, place = nearest(features(target, predictions[some, 0]), seen)
        usual = float(np.median(nearest(features(target, truth[known]), seen)[0]))
    told = []
    for i, far, near in zip(some, away, place):
        shown = {"drawn": predictions[i, 0], "true": truth[i].astype(np.uint8)}
        one: dict[str, Any] = {"id": table.ids[rows[i]], "noun": target.noun}
        if usual == usual:
            ratio = float(far / max(usual, 1e-12))
            one |= {"near": ratio, "copied": ratio < COPIED}
            shown["nearest"] = training[near]  # type: ignore[index]
        each = [cell_card(name, target.show(field)) for name, field in shown.items()]
        told.append({**one, "each": each, "cells": row_cards(predictor, table, int(rows[i]))})
    return told


def _example(
    predictor: Predictor, truth: np.ndarray, predictions: np.ndarray, table: Table, rows: np.ndarray, i: int
) -> dict[str, Any]:
    cards = row_cards(predictor, table, int(rows[i]))
    return {"id": table.ids[rows[i]], **predictor.targets[0].told(truth[i], predictions[i]), "cells": cards}


def row_cards(predictor: Predictor, table: Table, row: int) -> list[dict[str, Any]]:
    """One row's cells as cards of a report; what is missing or broken says so."""
    cards = []
    for name in predictor.streams:
        processor = predictor.processors[name]
        try:
            cell = predictor.cells(table, name)[row]
            shown = None if cell is None else processor.show(processor.read(cell))
        except BadCell as error:
            shown = {"kind": "missing", "reason": error.reason}
        cards.append(cell_card(name, shown))
    return cards
