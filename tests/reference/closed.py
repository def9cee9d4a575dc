"""Aligners in closed form against scikit-learn, SciPy and NumPy; CSLS and STRUCTURE against loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from polymodal.aligners import ALIGNERS
from polymodal.aligners.mixup import fusemix
from polymodal.aligners.pairs import Side
from polymodal.aligners.structure import structure
from polymodal.core.types import Tokens
from polymodal.nn.csls import csls
from polymodal.nn.neighbours import mutual_knn
from reference.parity import Arrays, Pair, Tensors, parity

WIDTHS = {"image": 6, "text": 4}
DIM = 4


def _planted(count: int = 60) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(8)
    hidden = draw.normal(size=(count, 4)) * [2.0, 1.5, 1.0, 0.5]
    return {
        name: hidden @ draw.normal(size=(4, width)) + 0.5 * draw.normal(size=(count, width)) + 3
        for name, width in WIDTHS.items()
    }


TRAIN = _planted()


def _fitted(spec: dict[str, Any], dim: int = DIM) -> Any:
    part = ALIGNERS.build(spec, WIDTHS, dim).double()
    rows = torch.arange(60)[:, None]
    part.fit({name: Side(torch.from_numpy(values), rows) for name, values in TRAIN.items()})
    return part


def _both(part: Any) -> Callable[[Tensors], Tensor]:
    def ours(values: Tensors) -> Tensor:
        found = part({name: Tokens.from_vector(values[name]) for name in WIDTHS})
        return found["image"].pooled @ found["text"].pooled.T

    return ours


def _new() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(9)
    return {name: draw.normal(size=(5, width)) + 3 for name, width in WIDTHS.items()}


def _cosines(a: np.ndarray, b: np.ndarray, weights: Any = 1.0) -> np.ndarray:
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return (a * weights) @ b.T


@parity("align", "cca", source="Hotelling 1936; Björck & Golub 1973 (by QR)")
def cca() -> Pair:
    means = {name: values.mean(0) for name, values in TRAIN.items()}
    (q, r), (p, s) = (np.linalg.qr(TRAIN[name] - means[name]) for name in WIDTHS)
    left, _, right = np.linalg.svd(q.T @ p, full_matrices=False)
    maps = {"image": np.linalg.solve(r, left), "text": np.linalg.solve(s, right.T)}

    def formula(v: Arrays) -> np.ndarray:
        return _cosines(*((v[name] - means[name]) @ maps[name] for name in WIDTHS))

    return Pair(_both(_fitted({"name": "cca", "shrinkage": 0.0, "keep": DIM})), formula, _new())


def _canonical(shrinkage: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps and correlations by the generalised eigenproblem of SciPy."""
    x, y = (TRAIN[name] - TRAIN[name].mean(0) for name in WIDTHS)
    own = []
    for side in (x, y):
        c = side.T @ side / len(side)
        own.append((1 - shrinkage) * c + shrinkage * np.trace(c) / len(c) * np.eye(len(c)))
    between = x.T @ y / len(x)
    zero = np.zeros
    left = np.block([[zero((6, 6)), between], [between.T, zero((4, 4))]])
    values, vectors = scipy.linalg.eigh(left, scipy.linalg.block_diag(*own))
    order = np.argsort(-values)[:DIM]
    return vectors[:6, order], vectors[6:, order], np.minimum(values[order], 1)  # shrunk, it can exceed 1


@parity("align", "cca", "shrinkage=0.3", source="Vinod 1976", against="SciPy")
def regularised() -> Pair:
    a, b, _ = _canonical(0.3)

    def formula(v: Arrays) -> np.ndarray:
        return _cosines((v["image"] - TRAIN["image"].mean(0)) @ a, (v["text"] - TRAIN["text"].mean(0)) @ b)

    return Pair(_both(_fitted({"name": "cca", "shrinkage": 0.3, "keep": DIM})), formula, _new())


@parity("align", "csa", source="Li, Chinchali & Topcu 2025", against="SciPy")
def csa() -> Pair:
    a, b, correlations = _canonical(0.1)

    def formula(v: Arrays) -> np.ndarray:
        left, right = (v["image"] - TRAIN["image"].mean(0)) @ a, (v["text"] - TRAIN["text"].mean(0)) @ b
        return _cosines(left[:, :3], right[:, :3], correlations[:3])

    return Pair(_both(_fitted({"name": "csa", "shrinkage": 0.1, "keep": 3}, dim=6)), formula, _new())


@parity("align", "procrustes", source="Schönemann 1966", against="SciPy")
def procrustes() -> Pair:
    image, text = (TRAIN[name] - TRAIN[name].mean(0) for name in WIDTHS)
    padded = np.pad(text, ((0, 0), (0, 2)))
    turned, _ = scipy.linalg.orthogonal_procrustes(padded, image)

    def formula(v: Arrays) -> np.ndarray:
        moved = np.pad(v["text"] - TRAIN["text"].mean(0), ((0, 0), (0, 2))) @ turned
        return _cosines(v["image"] - TRAIN["image"].mean(0), moved)

    return Pair(_both(_fitted({"name": "procrustes", "keep": 6, "length": False}, dim=6)), formula, _new())


@parity("align", "ridge", source="Hoerl & Kennard 1970", against="scikit-learn")
def ridge() -> Pair:
    from sklearn.linear_model import Ridge

    x, y = (TRAIN[name] - TRAIN[name].mean(0) for name in WIDTHS)
    variance = np.trace(x.T @ x / len(x)) / 6
    theirs = Ridge(alpha=0.2 / 0.8 * variance * len(x)).fit(x, y)

    def formula(v: Arrays) -> np.ndarray:
        found = theirs.predict(v["image"] - TRAIN["image"].mean(0))
        return _cosines(found, v["text"] - TRAIN["text"].mean(0))

    return Pair(_both(_fitted({"name": "ridge", "shrinkage": 0.2, "keep": 4})), formula, _new())


@parity("align", "adversarial", source="Conneau, Lample, Ranzato, Denoyer & Jégou 2018", against="the planted rotation")
def adversarial() -> Pair:
    """Where one cloud is the other turned, without noise, the map that is found must be that very rotation."""
    draw = np.random.default_rng(3)
    centres = draw.normal(size=(12, 5)) * 2
    image = centres[draw.choice(12, 400, p=np.arange(1, 13) / 78)] + draw.exponential(0.4, (400, 5))
    turn, _ = np.linalg.qr(draw.normal(size=(5, 5)))
    sides = {"image": image, "text": image @ turn}
    part = ALIGNERS.build({"name": "adversarial", "epochs": 0, "restarts": 2}, {"image": 5, "text": 5}, 5).double()
    part.fit({n: Side(torch.from_numpy(v), torch.arange(400)[:, None]) for n, v in sides.items()})

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def formula(v: Arrays) -> np.ndarray:
        here, there = (unit(v[name]) - unit(sides[name]).mean(0) for name in WIDTHS)
        return _cosines(here, there @ turn.T)

    return Pair(_both(part), formula, {name: draw.normal(size=(5, 5)) + 2 for name in WIDTHS})


@parity("nn", "csls", source="Conneau, Lample, Ranzato, Denoyer & Jégou 2018", against="a loop")
def scaling() -> Pair:
    draw = np.random.default_rng(4)

    def formula(v: Arrays) -> np.ndarray:
        cosine = _cosines(v["a"], v["b"])
        out = np.zeros_like(cosine)
        for i in range(len(cosine)):
            for j in range(cosine.shape[1]):
                out[i, j] = 2 * cosine[i, j] - np.sort(cosine[i])[-3:].mean() - np.sort(cosine[:, j])[-3:].mean()
        return out

    at = {"a": draw.normal(size=(7, 4)), "b": draw.normal(size=(5, 4))}
    return Pair(lambda v: csls(v["a"], v["b"], k=3), formula, at)


@parity("nn", "mutual k-NN", source="Huh, Cheung, Wang & Isola 2024", against="a loop")
def mutual() -> Pair:
    draw = np.random.default_rng(5)
    a = draw.normal(size=(12, 4))

    def formula(v: Arrays) -> np.ndarray:
        found = []
        for i in range(12):
            near = []
            for x in (v["a"], v["b"]):
                cosine = _cosines(x[i : i + 1], x)[0]
                cosine[i] = -np.inf
                near.append(set(np.argsort(-cosine)[:3]))
            found.append(len(near[0] & near[1]) / 3)
        return np.array(found)

    at = {"a": a, "b": a @ draw.normal(size=(4, 6)) + 0.5 * draw.normal(size=(12, 6))}
    return Pair(lambda v: mutual_knn(v["a"], v["b"], k=3), formula, at, smooth=False)


def _structure(levels: int) -> Pair:
    draw = np.random.default_rng(6)

    def formula(v: Arrays) -> np.ndarray:
        steps = []
        for x in (v["own"], v["aligned"]):
            x = x / np.linalg.norm(x, axis=1, keepdims=True)
            x = x - x.mean(0)
            p = np.exp(x @ x.T / 0.2)
            steps.append(p / p.sum(1, keepdims=True))
        total = 0.0
        for level in range(1, levels + 1):
            p, q = (np.linalg.matrix_power(s, level) for s in steps)
            m = (p + q) / 2
            total += ((p * np.log(p / m)).sum(1) + (q * np.log(q / m)).sum(1)).mean() / 2 / level
        return np.array(total / levels)

    at = {"own": draw.normal(size=(6, 5)), "aligned": draw.normal(size=(6, 3))}
    return Pair(
        lambda v: structure(v["own"], v["aligned"], levels=levels, temperature=0.2), formula, at, constant=("own",)
    )


@parity("nn", "structure", source="Gröger, Wen, Le & Brbić 2025")
def structure_one() -> Pair:
    return _structure(1)


@parity("nn", "structure", "levels=3", source="Gröger, Wen, Le & Brbić 2025")
def structure_three() -> Pair:
    return _structure(3)


@parity("nn", "fusemix", source="Vouitsis et al. 2024")
def mixed() -> Pair:
    draw = np.random.default_rng(7)

    def ours(v: Tensors) -> Tensor:
        found = fusemix({"a": v["a"], "b": v["b"]}, {"a": v["c"], "b": v["d"]}, share=v["share"])
        return torch.cat([found["a"], found["b"]], 1)

    def formula(v: Arrays) -> np.ndarray:
        s = v["share"]
        return np.concatenate([s * v["a"] + (1 - s) * v["c"], s * v["b"] + (1 - s) * v["d"]], 1)

    at = {n: draw.normal(size=(3, w)) for n, w in zip("abcd", (2, 4, 2, 4))}
    return Pair(ours, formula, {**at, "share": np.array(0.3)})
