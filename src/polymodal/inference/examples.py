"""Rows worth looking at: the most confident mistakes, with what their cells hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodal.core.errors import BadCell
from polymodal.core.types import Target
from polymodal.data.tables.source import Table
from polymodal.evaluation.metrics import labelled
from polymodal.inference.predictor import Predictor
from polymodal.report.cards import cell_card

MISTAKES = 8


def mistakes(
    predictor: Predictor, truth: np.ndarray, predictions: np.ndarray, table: Table, rows: np.ndarray
) -> list[dict[str, Any]]:
    """The rows answered wrongly with most confidence (numbers: farthest off), with what they hold."""
    keep = labelled(truth)
    target = predictor.targets[0]
    if target.kind == "classes":
        wrong = keep & (predictions.argmax(1) != truth)
        order = np.argsort(-np.where(wrong, predictions.max(1), -1), kind="stable")[: min(MISTAKES, int(wrong.sum()))]
    elif target.kind == "number":
        order = np.argsort(-np.where(keep, np.abs(predictions - truth), -1), kind="stable")[
            : min(MISTAKES, int(keep.sum()))
        ]
    else:
        off = np.where(keep[:, None], np.abs(predictions - truth), 0)
        order = np.argsort(-off.max(1), kind="stable")[:MISTAKES]
    found = []
    for i in order:
        cards = row_cards(predictor, table, int(rows[i]))
        found.append({"id": table.ids[rows[i]], **_told(target, truth[i], predictions[i]), "cells": cards})
    return found


def _told(target: Target, truth: Any, prediction: Any) -> dict[str, Any]:
    if target.kind == "classes":
        return {
            "truth": target.classes[truth],
            "prediction": target.classes[int(prediction.argmax())],
            "probability": float(prediction.max()),
        }
    if target.kind == "number":
        return {"truth": float(truth), "prediction": float(prediction), "probability": None}
    labels = [c for c, p in zip(target.classes, prediction) if p > 0.5]
    true = [c for c, t in zip(target.classes, truth) if t > 0.5]
    return {
        "truth": " | ".join(true) or "none",
        "prediction": " | ".join(labels) or "none",
        "probability": float(prediction.max()),
    }


def row_cards(predictor: Predictor, table: Table, row: int) -> list[dict[str, Any]]:
    """One row's cells as cards of a report; what is missing or broken says so."""
    cards = []
    for name in predictor.streams:
        cell = predictor.cells(table, name)[row]
        processor = predictor.processors[name]
        try:
            shown = None if cell is None else processor.show(processor.read(cell))
        except BadCell as error:
            shown = {"kind": "missing", "reason": error.reason}
        cards.append(cell_card(name, shown))
    return cards
