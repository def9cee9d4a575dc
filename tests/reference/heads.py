"""Losses of the heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.special import huber as huber_of

from polymodal.heads import HEADS
from polymodal.targets.classes import ClassesTarget
from polymodal.targets.multilabel import MultilabelTarget
from polymodal.targets.number import NumberTarget
from polymodal.targets.numbers import NumbersTarget
from polymodal.targets.ordinal import OrdinalTarget
from polymodal.targets.quantiles import QuantilesTarget
from reference.arithmetic import sigmoid, softmax
from reference.parity import Pair, parity

SHARES = (0.5, 0.25, 0.25)
LABELS = np.array([0, 2, -1, 1, 0, 2, 1])  # the third row carries none
TARGETS = {
    "classes": ClassesTarget("t", ("a", "b", "c"), frequencies=SHARES),
    "multilabel": MultilabelTarget("t", ("a", "b", "c"), frequencies=SHARES),
    "number": NumberTarget("t"),
    "ordinal": OrdinalTarget("t", ("a", "b", "c"), frequencies=SHARES),
    "quantiles": QuantilesTarget("t", levels=(0.1, 0.5, 0.9)),
    "numbers": NumbersTarget("t", (0.0, 0.0), (1.0, 1.0)),
}


def loss_pair(name: str, theirs: Callable[[np.ndarray], float], truth: np.ndarray, **options: Any) -> Pair:
    """A head's loss of scores [7, width] under a fixed truth."""
    target = TARGETS[name]
    head = HEADS.build({"name": target.head, **options}, 4, target).double()
    scores = np.random.default_rng(0).normal(size=(len(truth), target.width)) * 2
    return Pair(
        lambda values: head.loss_of_scores(values["scores"], torch.from_numpy(truth)),
        lambda values: np.asarray(theirs(values["scores"])),
        {"scores": scores},
    )


def cross_entropy(scores: np.ndarray, weight: np.ndarray, focal: float = 0.0, smoothing: float = 0.0) -> float:
    """-w_c (1 - p_c)^focal log p_c of the smoothed labels, averaged with the weights of the true classes."""
    known = LABELS >= 0
    p, truth = softmax(scores[known]), LABELS[known]
    terms = -weight * (1 - p) ** focal * np.log(p)
    wanted = (1 - smoothing) * np.eye(3)[truth] + smoothing / 3
    return (wanted * terms).sum() / weight[truth].sum()


BALANCED = (1 / (3 * np.array(SHARES, np.float32))).astype(np.float64)  # weights are buffers in float32


@parity("head", "classes", source="folklore")
def classes() -> Pair:
    return loss_pair("classes", lambda s: cross_entropy(s, np.ones(3)), LABELS)


@parity("head", "classes", "balanced, smoothed", source="King & Zeng 2001; Szegedy et al. 2016")
def classes_balanced() -> Pair:
    options = {"class_weight": "balanced", "label_smoothing": 0.2}
    return loss_pair("classes", lambda s: cross_entropy(s, BALANCED, smoothing=0.2), LABELS, **options)


@parity("head", "classes", "focal", source="Lin, Goyal, Girshick, He, Dollár 2017")
def classes_focal() -> Pair:
    return loss_pair("classes", lambda s: cross_entropy(s, np.ones(3), focal=2.0), LABELS, focal=2.0)


@parity("head", "classes", "focal, balanced, smoothed", source="Lin, Goyal, Girshick, He, Dollár 2017")
def classes_focal_balanced() -> Pair:
    options = {"class_weight": "balanced", "label_smoothing": 0.2, "focal": 1.5}
    return loss_pair("classes", lambda s: cross_entropy(s, BALANCED, 1.5, 0.2), LABELS, **options)


def binary_cross_entropy(scores: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float:
    p = sigmoid(scores)
    terms = -(weight * truth * np.log(p) + (1 - truth) * np.log(1 - p))
    return np.nanmean(terms)


def _labels() -> np.ndarray:
    truth = np.random.default_rng(1).integers(0, 2, (7, 3)).astype(np.float64)
    truth[2] = np.nan
    return truth


@parity("head", "multilabel", source="folklore")
def multilabel() -> Pair:
    truth = _labels()
    return loss_pair("multilabel", lambda s: binary_cross_entropy(s, truth, np.ones(3)), truth)


@parity("head", "multilabel", "balanced", source="King & Zeng 2001")
def multilabel_balanced() -> Pair:
    truth = _labels()
    weight = np.array([1.0, 3.0, 3.0])  # (1 - f) / f
    return loss_pair("multilabel", lambda s: binary_cross_entropy(s, truth, weight), truth, positive_weight="balanced")


def _numbers() -> np.ndarray:
    truth = np.random.default_rng(1).normal(size=7)
    truth[2] = np.nan
    return truth


@parity("head", "number", "Huber", source="Huber 1964", against="SciPy huber")
def number() -> Pair:
    truth = _numbers()
    return loss_pair("number", lambda s: np.nanmean(huber_of(1.0, s[:, 0] - truth)), truth)


@parity("head", "number", "squared", source="folklore")
def number_squared() -> Pair:
    truth = _numbers()
    return loss_pair("number", lambda s: np.nanmean(0.5 * (s[:, 0] - truth) ** 2), truth, huber=None)


@parity("head", "number", "several, entries missing", source="Huber 1964", against="SciPy huber")
def numbers() -> Pair:
    truth = np.random.default_rng(1).normal(size=(7, 2))
    truth[2], truth[4, 1] = np.nan, np.nan
    return loss_pair("numbers", lambda s: np.nanmean(huber_of(1.0, s - truth)), truth)


@parity("head", "ordinal", "loss", source="Cao, Mirjalili, Raschka 2020")
def ordinal() -> Pair:
    """The sum over k of the binary cross-entropy of "is y above k?", P(y > k) summed over the classes above."""

    def loss(scores: np.ndarray) -> float:
        known = LABELS >= 0
        p, truth = softmax(scores[known]), LABELS[known]
        above = np.stack([p[:, k + 1 :].sum(1) for k in range(2)], 1)
        asks = truth[:, None] > np.arange(2)
        return -np.where(asks, np.log(above), np.log(1 - above)).sum(1).mean()

    return loss_pair("ordinal", loss, LABELS)


@parity("head", "quantiles", "pinball", source="Koenker & Bassett 1978")
def quantiles() -> Pair:
    truth, levels = _numbers(), np.array([0.1, 0.5, 0.9])

    def loss(scores: np.ndarray) -> float:
        missed = truth[:, None] - scores
        return np.nanmean(np.where(missed > 0, levels * missed, (levels - 1) * missed))

    return loss_pair("quantiles", loss, truth)
