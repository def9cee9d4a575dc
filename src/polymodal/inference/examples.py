"""Rows worth looking at: the most confident mistakes, with what their cells hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.data.tables.source import Table
from polymodal.inference.predictor import Predictor
from polymodal.metrics.base import labelled
from polymodal.report.cards import cell_card

MISTAKES = 8


def mistakes(
    predictor: Predictor, truth: np.ndarray, predictions: np.ndarray, table: Table, rows: np.ndarray
) -> list[dict[str, Any]]:
    """The rows answered wrongly with most confidence (numbers: farthest off), with what they hold."""
    target = predictor.targets[0]
    examples = []
    for i in target.mistakes(truth, predictions, labelled(truth), MISTAKES):
        cards = row_cards(predictor, table, int(rows[i]))
        examples.append({"id": table.ids[rows[i]], **target.told(truth[i], predictions[i]), "cells": cards})
    return examples


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
