"""Ridge regression, on features or on a Gaussian kernel: the penalty costs no more than one fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.values import check_range
from polymodal.learners.base import Learner
from polymodal.learners.calibrated import calibrated
from polymodal.learners.columns import Columns
from polymodal.nn.check import check_count
from polymodal.targets.base import CLASSES

PENALTIES = np.logspace(-4, 4, 17)  # in units of the features' mean eigenvalue


class Ridge(Learner):
    """A linear map of standardised features, its L2 penalty (Hoerl & Kennard 1970) chosen by leaving out one row.

    The errors of all rows left out one by one follow from a single decomposition, for every penalty (Golub, Heath &
    Wahba 1979). Classes and labels are regressed as 0 and 1; a logistic function of the left-out answers turns what the
    map says into logits, so that probabilities mean what they say.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, facts: Mapping[str, Any] | None = None):
        super().__init__()
        self._allot(facts or {"features": 0, "gaps": 0, "width": 0})

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor) -> Ridge:
        """The linear map x @ `weight` [F, C] + `bias` [C] as it is, found elsewhere; components count up to 160."""
        one = cls({"features": weight.shape[0], "gaps": 0, "width": weight.shape[1]})
        one.columns.scale.fill_(1 / 16)
        one.weight.copy_(weight * 16)
        one.bias.copy_(bias)
        return one

    def _allot(self, facts: Mapping[str, Any]) -> None:
        self.columns = Columns(facts["features"], facts["gaps"])
        self.register_buffer("weight", torch.zeros(self.mapped(facts), facts["width"]))
        self.register_buffer("bias", torch.zeros(facts["width"]))

    def mapped(self, facts: Mapping[str, Any]) -> int:
        """How many features the linear map reads."""
        return self.columns.width

    def facts(self) -> dict[str, Any]:
        return {"features": self.columns.features, "gaps": self.columns.gaps, "width": len(self.bias)}

    def map(self, x: Tensor) -> Tensor:
        """What the linear map reads of standardised features; itself."""
        return x

    def scores(self, features: Tensor) -> Tensor:
        self._check(self.columns.features, len(self.bias), features.shape[1])
        return self.map(self.columns(features)) @ self.weight + self.bias

    def _prepare(self, x: Tensor, seed: int) -> None:
        """Fit `map` to standardised rows; nothing to do for a linear one."""

    def _fit(
        self, features: np.ndarray, target: np.ndarray, meaning: str, width: int, seed: int, levels: Sequence[float]
    ) -> None:
        given = _wanted(target, meaning, width)
        rows = np.flatnonzero(~np.isnan(given).all(1))
        self.columns = Columns.of(features[rows])
        with torch.no_grad():
            x = self.columns(torch.from_numpy(features[rows]))
            self._prepare(x, seed)
            design = self.map(x).double()
        wanted = torch.from_numpy(given[rows])
        known = ~wanted.isnan()
        if bool(known.all()):
            parts = [_solved(design, wanted)]
        else:  # labels or numbers of which some are not known: each column by the rows that have it
            parts = [_solved(design[k], w[k, None]) for w, k in zip(wanted.T, known.T)]
        weight, bias = (torch.cat([part[i] for part in parts], -1) for i in (0, 1))
        if meaning == "number":
            if levels:
                weight, bias = _quantiles(parts, wanted, known, weight, bias, levels)
        else:
            left = torch.full_like(wanted, torch.nan)
            for c, part in enumerate(parts) if len(parts) > 1 else ():
                left[known[:, c], c] = part[2][:, 0]
            left = parts[0][2] if len(parts) == 1 else left
            slope, shift = calibrated(left, torch.from_numpy(target[rows]), exclusive=meaning == CLASSES)
            weight, bias = weight * slope, bias * slope + shift
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", bias.float())


class Kernel(Ridge):
    """Ridge regression on a Gaussian kernel, which is a support vector machine with a squared loss.

    k(a, b) = exp(-|a - b|² / (width · F)) of standardised features, seen through at most `landmarks` training rows
    (Williams & Seeger 2001): with fewer rows than that the kernel is exact. `width` is in units of the distance that
    independent features would have.
    """

    landmark: Tensor
    turn: Tensor

    def __init__(self, facts: Mapping[str, Any] | None = None, *, width: float = 1.0, landmarks: int = 800):
        check_range("(0, inf)", width=width)
        self.width, self.landmarks = width, check_count("landmarks", landmarks)
        super().__init__(facts)

    def _allot(self, facts: Mapping[str, Any]) -> None:
        super()._allot(facts)
        held = facts.get("landmarks", 0)
        self.register_buffer("landmark", torch.zeros(held, self.columns.width))
        self.register_buffer("turn", torch.zeros(held, self.mapped(facts)))

    def mapped(self, facts: Mapping[str, Any]) -> int:
        return facts.get("rank", 0)

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "landmarks": len(self.landmark), "rank": self.turn.shape[1]}

    def map(self, x: Tensor) -> Tensor:
        near = x.square().sum(1, keepdim=True) + self.landmark.square().sum(1) - 2 * x @ self.landmark.T
        return (near.clamp(min=0) / (-self.width * max(1, x.shape[1]))).exp() @ self.turn

    def _prepare(self, x: Tensor, seed: int) -> None:
        if len(x) > self.landmarks:
            chosen = np.random.default_rng(seed).permutation(len(x))[: self.landmarks]
            x = x[torch.from_numpy(np.sort(chosen))]
        self.register_buffer("landmark", x)
        self.register_buffer("turn", torch.eye(len(x)))
        values, vectors = torch.linalg.eigh(self.map(x).double())
        kept = values > 1e-6 * values[-1]
        self.register_buffer("turn", (vectors[:, kept] / values[kept].sqrt()).float())


def _wanted(target: np.ndarray, meaning: str, width: int) -> np.ndarray:
    """[N, width] numbers to regress, NaN where they are not known."""
    if meaning != CLASSES:
        return target.reshape(len(target), -1).astype(np.float64)
    wanted = np.eye(width)[np.maximum(target, 0)]
    wanted[target < 0] = np.nan
    return wanted


def _solved(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights [P, K], biases [K] and the answers [N, K] to rows left out, at the penalty that errs least on these."""
    rows, wide = x.shape
    middle, centre = x.mean(0), y.mean(0)
    x, y = x - middle, y - centre
    gram = x.T @ x if wide <= rows else x @ x.T
    values, vectors = torch.linalg.eigh(gram)
    values = values.clamp(min=0)
    if wide <= rows:
        basis, told = x @ vectors, vectors.T @ (x.T @ y)  # basis @ (told / (s + p)) answers the rows
        square = basis.square()
    else:
        basis, told = vectors * values, vectors.T @ y
        square = vectors.square() * values
    best: tuple[float, Tensor, Tensor] | None = None
    for penalty in PENALTIES * max(float(values.mean()), 1e-12):
        shrunk = 1 / (values + penalty)
        fitted = basis @ (told * shrunk[:, None])
        weight_of_own = (square @ shrunk + 1 / rows).clamp(max=1 - 1e-6)
        left = y - (y - fitted) / (1 - weight_of_own)[:, None]
        error = float((left - y).square().sum())
        if best is None or error < best[0]:
            best = error, shrunk, left
    assert best is not None
    _, shrunk, left = best
    weight = vectors @ (told * shrunk[:, None])
    if wide > rows:
        weight = x.T @ weight
    return weight, centre - middle @ weight, left + centre


def _quantiles(
    parts: Sequence[tuple[Tensor, Tensor, Tensor]], wanted: Tensor, known: Tensor, weight: Tensor, bias: Tensor,
    levels: Sequence[float],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Every number's quantiles: its mean, moved by the quantiles of what was missed in rows left out."""
    moves = []
    for c in range(wanted.shape[1]):
        rows = known[:, c]
        left = parts[0][2][:, c] if len(parts) == 1 else parts[c][2][:, 0]
        moves.append(torch.quantile(wanted[rows, c] - left, torch.tensor(levels, dtype=torch.float64)))
    shift = torch.cat(moves)
    return weight.repeat_interleave(len(levels), 1), bias.repeat_interleave(len(levels)) + shift
