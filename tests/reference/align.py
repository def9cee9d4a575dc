"""Contrastive aligners: heads and losses with several positives, none, and equal captions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import expit, logsumexp
from torch import Tensor, nn

from polymodal.aligners import ALIGNERS
from polymodal.core.types import Tokens
from reference.arithmetic import gelu, linear, norm
from reference.parity import Arrays, Pair, module_pair, parity

WIDTHS = {"image": 5, "text": 4}
ROWS = {  # the second photo's caption was written for the third too; the last caption belongs to no photo here
    "image": np.array([[0], [1], [2], [3]]),
    "text": np.array([[0, -1], [0, -1], [1, 2], [2, -1], [3, -1], [3, -1], [9, -1]]),
}
TOGETHER = (ROWS["image"][:, None, :, None] == ROWS["text"][None, :, None, :]).any((2, 3)).astype(float)


class _Loss(nn.Module):
    """An aligner's summed losses, as a module, so that its parameters can be replaced."""

    def __init__(self, spec: Any):
        super().__init__()
        self.part = ALIGNERS.build(spec, WIDTHS, 3)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        streams = {"image": Tokens.from_vector(image), "text": Tokens.from_vector(text)}
        rows = {name: torch.from_numpy(values) for name, values in ROWS.items()}
        return sum(self.part.objective(streams, rows).values())  # type: ignore[return-value]


def contrast_pair(spec: dict[str, Any], loss: Any) -> Pair:
    draw = np.random.default_rng(2)
    inputs = {name: draw.normal(size=(len(ROWS[name]), width)) for name, width in WIDTHS.items()}

    def theirs(values: Arrays) -> np.ndarray:
        vectors = {name: head(values, f"part.heads.of_{name}.", values[name], spec["head"]) for name in WIDTHS}
        return np.asarray(loss(vectors["image"] @ vectors["text"].T, values))

    return module_pair(_Loss({"dropout": 0.0, **spec}), theirs, inputs, lambda call, v: call(v["image"], v["text"]))


def head(values: Arrays, at: str, x: np.ndarray, kind: str) -> np.ndarray:
    """The projection's formula, and length one."""
    x = norm(x, values, f"{at}norm")
    up = linear(x, values, f"{at}up") if kind != "linear" else x
    if kind == "glu":
        y = linear(up * np.maximum(linear(x, values, f"{at}gate"), 0), values, f"{at}linear")
    else:
        y = linear(x, values, f"{at}linear")
    if kind == "mlp":
        y = y + linear(gelu(up), values, f"{at}down")
    return y / np.linalg.norm(y, axis=1, keepdims=True)


def infonce(cosine: np.ndarray, values: Arrays) -> float:
    """Mean over queries with positives of -(1/P) sum over positives of log softmax, both ways."""

    def way(logits: np.ndarray, together: np.ndarray) -> float:
        known = together.any(1)
        chosen = (logits - logsumexp(logits, axis=1, keepdims=True))[known]
        return -np.mean((chosen * together[known]).sum(1) / together[known].sum(1))

    logits = np.exp(values["part.log_scale"]) * cosine
    return (way(logits, TOGETHER) + way(logits.T, TOGETHER.T)) / 2


def siglip(cosine: np.ndarray, values: Arrays) -> float:
    """-sum over pairs of log sigmoid(±logit), over the number of positives."""
    logits = np.exp(values["part.log_scale"]) * cosine + values["part.shift"]
    return -np.log(expit(np.where(TOGETHER > 0, logits, -logits))).sum() / TOGETHER.sum()


def hard_siglip(cosine: np.ndarray, values: Arrays) -> float:
    """Negatives weighed by exp(logit / 2), with mean one over each photo's negatives."""
    logits = np.exp(values["part.log_scale"]) * cosine + values["part.shift"]
    tilt = np.where(TOGETHER > 0, 0, np.exp(0.5 * logits))
    weights = np.where(TOGETHER > 0, 1, tilt * (TOGETHER == 0).sum(1, keepdims=True) / tilt.sum(1, keepdims=True))
    return -(weights * np.log(expit(np.where(TOGETHER > 0, logits, -logits)))).sum() / TOGETHER.sum()


def hard_infonce(cosine: np.ndarray, values: Arrays) -> float:
    """The denominator's negatives weighed by exp(logit / 2), with mean one over the query's negatives."""

    def way(logits: np.ndarray, together: np.ndarray) -> float:
        found = []
        for row, mine in zip(logits, together > 0):
            if mine.any():
                weights = np.exp(0.5 * row[~mine]) / np.exp(0.5 * row[~mine]).mean()
                whole = np.exp(row[mine]).sum() + (weights * np.exp(row[~mine])).sum()
                found.append(np.log(whole) - row[mine].mean())
        return float(np.mean(found))

    logits = np.exp(values["part.log_scale"]) * cosine
    return (way(logits, TOGETHER) + way(logits.T, TOGETHER.T)) / 2


@parity("align", "infonce", "linear head", source="van den Oord et al. 2018; Khosla et al. 2020")
def infonce_linear() -> Pair:
    return contrast_pair({"name": "infonce", "head": "linear"}, infonce)


@parity("align", "infonce", "mlp head", source="van den Oord et al. 2018; Khosla et al. 2020")
def infonce_mlp() -> Pair:
    return contrast_pair({"name": "infonce", "head": "mlp"}, infonce)


@parity("align", "infonce", "hard negatives", source="Robinson et al. 2021")
def infonce_hard() -> Pair:
    pair = contrast_pair({"name": "infonce", "head": "linear", "hard": 0.5}, hard_infonce)
    return Pair(pair.ours, pair.theirs, pair.at, smooth=False)  # weights are constants to the gradient


@parity("align", "siglip", "gated head", source="Zhai et al. 2023; Dauphin et al. 2017")
def siglip_glu() -> Pair:
    return contrast_pair({"name": "siglip", "head": "glu"}, siglip)


@parity("align", "siglip", "hard negatives", source="Zhai et al. 2023; Robinson et al. 2021")
def siglip_hard() -> Pair:
    pair = contrast_pair({"name": "siglip", "head": "linear", "hard": 0.5}, hard_siglip)
    return Pair(pair.ours, pair.theirs, pair.at, smooth=False)
