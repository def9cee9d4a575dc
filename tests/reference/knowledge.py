"""Graph embeddings, and the contrast whose targets know a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.special import expit, logsumexp, softmax
from torch import Tensor, nn

from polymodal.aligners import ALIGNERS, EMBEDDINGS
from polymodal.core.types import Tokens
from reference.align import ROWS, TOGETHER, WIDTHS, head
from reference.parity import Arrays, Pair, Tensors, module_pair, parity

TRUE = np.array([[0, 0, 1], [1, 1, 2], [3, 0, 4]])
FALSE = np.array([[4, 2, 0], [3, 3, 1]])  # another tail for each of them, twice


class _Loss(nn.Module):
    def __init__(self, spec: Any):
        super().__init__()
        self.part = EMBEDDINGS.build(spec, 5, 2)

    def forward(self) -> Tensor:
        h, r, t = (torch.from_numpy(column)[:, None] for column in TRUE.T)
        wrong = self.part.distance(h, r, torch.from_numpy(FALSE.T))
        return self.part.loss(self.part.distance(h, r, t)[:, 0], wrong)


def embedding_pair(spec: Any, formula: Callable[[Arrays], float]) -> Pair:
    return module_pair(_Loss(spec), lambda v: np.asarray(formula(v)), {}, lambda call, _: call())


def _every(distance: Callable[[int, int, int], float]) -> tuple[np.ndarray, np.ndarray]:
    true = np.array([distance(h, r, t) for h, r, t in TRUE])
    return true, np.array([[distance(h, r, t) for t in row] for (h, r, _), row in zip(TRUE, FALSE.T)])


@parity("embedding", "transe", source="Bordes et al. 2013")
def transe() -> Pair:
    def formula(values: Arrays) -> float:
        e, r = values["part.entity"], values["part.relation"]
        true, false = _every(lambda h, k, t: float(np.linalg.norm(e[h] + r[k] - e[t])))
        return float(np.maximum(0, 1 + true[:, None] - false).mean())

    return embedding_pair({"name": "transe", "width": 3}, formula)


@parity("embedding", "transe", "sum of differences", source="Bordes et al. 2013")
def transe_1() -> Pair:
    def formula(values: Arrays) -> float:
        e, r = values["part.entity"], values["part.relation"]
        true, false = _every(lambda h, k, t: float(np.abs(e[h] + r[k] - e[t]).sum()))
        return float(np.maximum(0, 2 + true[:, None] - false).mean())

    return embedding_pair({"name": "transe", "width": 3, "norm": 1, "margin": 2.0}, formula)


@parity("embedding", "rotate", source="Sun et al. 2019")
def rotate() -> Pair:
    def loss(values: Arrays, weight: np.ndarray | None) -> tuple[float, np.ndarray]:
        e = values["part.entity"][:, 0] + 1j * values["part.entity"][:, 1]
        turn = np.exp(1j * values["part.angle"])
        true, false = _every(lambda h, k, t: float(np.abs(e[h] * turn[k] - e[t]).sum()))
        weight = softmax(0.5 * (2 - false), axis=1) if weight is None else weight
        wrong = -(weight * np.log(expit(false - 2))).sum(1)
        return float((wrong - np.log(expit(2 - true))).mean() / 2), weight

    pair = embedding_pair(
        {"name": "rotate", "width": 3, "margin": 2.0, "sharpness": 0.5}, lambda values: loss(values, None)[0]
    )

    def gradient(values: Arrays, upstream: np.ndarray) -> dict[str, np.ndarray]:
        """By differences, with the weights of the negatives held."""
        held = loss(values, None)[1]
        found = {}
        for name, value in values.items():
            slopes = np.zeros_like(value)
            for place in np.ndindex(value.shape):
                ends = []
                for step in (1e-5, -1e-5):
                    moved = value.copy()
                    moved[place] += step
                    ends.append(loss({**values, name: moved}, held)[0])
                slopes[place] = (ends[0] - ends[1]) / 2e-5
            found[name] = slopes * upstream
        return found

    return Pair(pair.ours, pair.theirs, pair.at, gradient=gradient)


TABLE = np.array([[1, 0.1], [0.8, 0.6], [-0.3, 1], [0.9, 0.3], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0], [0.5, 0.5]])


class _Told(nn.Module):
    def __init__(self, spec: Any):
        super().__init__()
        self.part = ALIGNERS.build(spec, WIDTHS, 3)
        self.part.table = torch.from_numpy(TABLE)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        streams = {"image": Tokens.from_vector(image), "text": Tokens.from_vector(text)}
        return self.part.loss(self.part(streams), {n: torch.from_numpy(r) for n, r in ROWS.items()})["image~text"]


def _nearness() -> np.ndarray:
    """Cosines of the sums of the items' rows' vectors."""
    sums = {n: np.stack([TABLE[row[row >= 0]].sum(0) for row in rows]) for n, rows in ROWS.items()}
    lengths = {n: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for n, x in sums.items()}
    return lengths["image"] @ lengths["text"].T


@parity("align", "knowledge", "soft targets and hard negatives", source="polymodal")
def knowledge() -> Pair:
    draw = np.random.default_rng(2)
    near, soft, sharpness, harder = 2, 0.6, 2.0, 0.7
    spec = {"name": "knowledge", "head": "linear", "dropout": 0.0, "near": near, "soft": soft, "sharpness": sharpness,
            "harder": harder}  # fmt: skip

    def way(logits: np.ndarray, together: np.ndarray, nearness: np.ndarray) -> float:
        found = []
        for row, mine, near_row in zip(logits, together, nearness):
            if not mine.any():
                continue
            best = np.argsort(-np.where(mine > 0, -1.0, near_row))[:near]
            best = [b for b in best if near_row[b] > 1e-6 and not mine[b]]
            weight, raised = mine.copy(), row.copy()
            weight[best] += soft / near * near_row[best] ** sharpness
            raised[best] += harder * near_row[best]
            found.append(-((raised - logsumexp(raised)) * weight / weight.sum()).sum())
        return float(np.mean(found))

    def theirs(values: Arrays) -> np.ndarray:
        vectors = {n: head(values, f"part.heads.of_{n}.", values[n], "linear") for n in WIDTHS}
        logits = np.exp(values["part.log_scale"]) * vectors["image"] @ vectors["text"].T
        nearness = _nearness()
        return np.asarray((way(logits, TOGETHER, nearness) + way(logits.T, TOGETHER.T, nearness.T)) / 2)

    def run(call: Callable[..., Tensor], values: Tensors) -> Tensor:
        return call(values["image"], values["text"])

    inputs = {name: draw.normal(size=(len(ROWS[name]), width)) for name, width in WIDTHS.items()}
    return module_pair(_Told(spec), theirs, inputs, run)
