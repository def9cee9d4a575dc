"""Rules of late fusion, under every kind of target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.fusion import DECISIONS
from reference.arithmetic import sigmoid, softmax, softplus
from reference.parity import Arrays, Pair, Tensors, module_pair, parity

NAMES = ("audio", "image", "text")
CLASSES = 4
PRESENT = np.array([[1, 1, 1], [1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 0], [1, 1, 1]], dtype=bool)
ROWS, STREAMS = PRESENT.shape
Formula = Callable[[np.ndarray, np.ndarray, Arrays], np.ndarray]


def decision_pair(name: str, kind: str, formula: Formula, **options: Any) -> Pair:
    """A rule: `formula(scores [ROWS, STREAMS, width], present, state)` to [ROWS, width]; absent scores are zero."""
    width = 1 if kind == "number" else CLASSES
    scores = np.random.default_rng(0).normal(size=(ROWS, STREAMS, width)) * 2

    def theirs(values: Arrays) -> np.ndarray:
        return formula(values["scores"] * PRESENT[..., None], PRESENT, values)

    def run(call: Callable[..., Tensor], values: Tensors) -> Tensor:
        there = torch.from_numpy(PRESENT)
        each = {n: values["scores"][:, k] for k, n in enumerate(NAMES)}
        return call(each, {n: there[:, k] for k, n in enumerate(NAMES)})

    return module_pair(DECISIONS.build({"name": name, **options}, NAMES, kind, width), theirs, {"scores": scores}, run)


def pooled(scores: np.ndarray, weights: np.ndarray, kind: str) -> np.ndarray:
    """Scores of the weighted mean of probabilities or values; weights [ROWS, STREAMS] need not add up to one."""
    weights = (weights / weights.sum(1, keepdims=True))[..., None]
    if kind == "number":
        return (weights * scores).sum(1)
    if kind == "classes":
        return np.log((weights * softmax(scores)).sum(1))
    mean = (weights * sigmoid(scores)).sum(1)
    return np.log(mean) - np.log1p(-mean)


def product(scores: np.ndarray, present: np.ndarray, p: Arrays, kind: str) -> np.ndarray:
    again = present.sum(1, keepdims=True) - 1
    if kind == "classes":
        prior = np.log(softmax(p["log_prior"]))
        return np.log(softmax((np.log(softmax(scores)) * present[..., None]).sum(1) - again * prior))
    if kind == "multilabel":
        return scores.sum(1) - again * p["log_prior"]
    precision = (1 + softplus(p["surplus"])) * present  # Gaussian experts, each already with the prior N(0, 1)
    return (precision[..., None] * scores).sum(1) / (precision.sum(1, keepdims=True) - again)


def stacking(scores: np.ndarray, present: np.ndarray, p: Arrays, kind: str) -> np.ndarray:
    inputs = np.log(softmax(scores)) + np.log(CLASSES) if kind == "classes" else scores
    inputs = inputs * (present / present.mean(1, keepdims=True))[..., None]
    return inputs.reshape(ROWS, -1) @ p["map.weight"].T + p["map.bias"] + present @ p["presence.weight"].T


def _register(kind: str) -> None:
    """The rules under one kind of target."""

    @parity("decision", "late_mean", kind, source="folklore")
    def late_mean() -> Pair:
        return decision_pair("late_mean", kind, lambda scores, present, _: pooled(scores, 1.0 * present, kind))

    @parity("decision", "late_weighted", kind, source="Stone 1961; Guo, Pleiss, Sun, Weinberger 2017")
    def late_weighted() -> Pair:
        def formula(scores: np.ndarray, present: np.ndarray, p: Arrays) -> np.ndarray:
            tempered = scores / np.exp(p["log_temperature"])[:, None]
            return pooled(tempered, np.exp(p["weights.logits"]) * present, kind)

        return decision_pair("late_weighted", kind, formula)

    @parity("decision", "product", kind, source="Kittler, Hatef, Duin, Matas 1998; Hinton 2002; Tresp 2000")
    def product_of_experts() -> Pair:
        return decision_pair("product", kind, lambda scores, present, p: product(scores, present, p, kind))

    @parity("decision", "stacking", kind, source="Wolpert 1992; Ting & Witten 1999")
    def stacked() -> Pair:
        return decision_pair("stacking", kind, lambda scores, present, p: stacking(scores, present, p, kind))


for _kind in ("classes", "multilabel", "number"):
    _register(_kind)
