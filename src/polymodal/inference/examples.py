"""Rows worth looking at: the most confident mistakes, with what their cells hold."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.data.tables.source import Table
from polymodal.evaluation.novelty import copied, distinct
from polymodal.inference.predictor import Predictor
from polymodal.metrics.base import labelled
from polymodal.report.cards import cell_card
from polymodal.targets.text import TextTarget

MISTAKES = 8
BEST = 4


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
    """What a report says of answers in words: how many differ, the share copied from the `training` answers (where
    these are known), their length, and the rows that are most like their references; empty for other targets."""
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
        "best": [_example(predictor, truth, predictions, table, rows, i) for i in best],
    }


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
