"""Linear models of many features of which a row holds few, as n-grams are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.values import check_range
from polymodal.learners.base import RAREST, Learner
from polymodal.nn.check import check_count
from polymodal.targets.base import CLASSES, MULTILABEL

PARTS = 3  # in which rows are left out, to see by how much numbers are missed
MEMORY = 5  # steps by which the curvature is known
SETTLED = 1e-3  # of the loss: a step that brings less is the last one
HALVINGS = 8

Losses = Callable[[Tensor], Tensor]


class Sparse(Learner):
    """A linear map of features as they are, not standardised, with an L2 penalty: classes by multinomial logistic
    regression (Cox 1958), labels by a logistic one each, numbers by least squares (Hoerl & Kennard 1970).

    The loss is `strength` times the sum of the rows' own losses plus half the squared weights, as scikit-learn's `C`
    has it; the constants go free. Found by L-BFGS (Liu & Nocedal 1989) in float32, on features that are centred and
    scaled by their curvature on the way, in at most `steps`: what those leave over, a penalty would take anyway.
    Features are an array, where NaN counts as zero, or a sparse one of SciPy; to scores of a sparse one, too.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, facts: Mapping[str, Any] | None = None, *, strength: float = 5.0, steps: int = 40):
        super().__init__()
        check_range("(0, inf)", strength=strength)
        self.strength, self.steps = strength, check_count("steps", steps)
        facts = facts or {"features": 0, "width": 0}
        self.register_buffer("weight", torch.zeros(facts["features"], facts["width"]))
        self.register_buffer("bias", torch.zeros(facts["width"]))

    def facts(self) -> dict[str, Any]:
        return {"features": len(self.weight), "width": len(self.bias)}

    def scores(self, features: Tensor | sparse.csr_array) -> Tensor:
        self._check(len(self.weight), len(self.bias), features.shape[1])
        if isinstance(features, Tensor):
            return features.float().nan_to_num(0.0) @ self.weight + self.bias
        return torch.from_numpy(features @ self.weight.numpy()) + self.bias

    def _fit(
        self, features: Any, target: np.ndarray, meaning: str, width: int, seed: int, levels: Sequence[float]
    ) -> None:
        rows = sparse.csr_array(features if sparse.issparse(features) else np.nan_to_num(features, posinf=0, neginf=0))
        if meaning == CLASSES:
            weight, bias = self._classes(rows, target, width)
        else:
            values = target.reshape(len(target), -1)
            weight, bias = self._columns(rows, values, meaning)
            if levels:
                weight, bias = self._quantiles(rows, values, weight, bias, levels)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def _classes(self, rows: sparse.csr_array, target: np.ndarray, width: int) -> tuple[Tensor, Tensor]:
        known = target >= 0
        seen, labels = np.unique(target[known], return_inverse=True)
        truth = torch.from_numpy(labels)
        counts = torch.from_numpy(np.bincount(labels)).float()

        def losses(scores: Tensor) -> Tensor:
            return F.cross_entropy(scores, truth, reduction="sum")

        share = counts / counts.sum()
        found, constant = self._found(rows[known], losses, share.log(), 1 / max(2, len(seen)))
        weight, bias = torch.zeros(rows.shape[1], width), torch.full((width,), float(np.log(RAREST)))
        weight[:, seen] = found
        bias[seen] = constant - constant.logsumexp(0)
        return weight, bias

    def _columns(self, rows: sparse.csr_array, values: np.ndarray, meaning: str) -> tuple[Tensor, Tensor]:
        """Labels or numbers [N, K], NaN = unknown, each by the rows that have it."""
        known = torch.from_numpy(~np.isnan(values))
        truth = torch.from_numpy(np.nan_to_num(values)).float()
        mean = (truth * known).sum(0) / known.sum(0).clamp(min=1)
        labels = meaning == MULTILABEL
        start = mean.clamp(RAREST, 1 - RAREST).logit() if labels else mean

        def losses(scores: Tensor) -> Tensor:
            if labels:
                return (F.binary_cross_entropy_with_logits(scores, truth, reduction="none") * known).sum()
            return 0.5 * ((scores - truth).square() * known).sum()

        curvature = float((mean * (1 - mean)).mean()) if labels else 1.0
        weight, bias = self._found(rows, losses, start, max(curvature, 1e-3))
        if labels:  # one that all rows have, or none: nothing is known of it but that
            weight[:, (mean <= 0) | (mean >= 1)] = 0.0
            bias = torch.where((mean <= 0) | (mean >= 1), start, bias)
        return weight, bias

    def _quantiles(
        self, rows: sparse.csr_array, values: np.ndarray, weight: Tensor, bias: Tensor, levels: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """Every number's quantiles: its mean, moved by the quantiles of what was missed in rows left out."""
        missed = np.full(values.shape, np.nan)
        part = np.arange(len(values)) % PARTS
        for k in range(PARTS):
            out = part == k
            others = values.copy()
            others[out] = np.nan
            w, b = self._columns(rows, others, "number")
            missed[out] = values[out] - (rows[out] @ w.numpy() + b.numpy())
        shift = np.concatenate([np.nanquantile(column, levels) for column in missed.T])
        each = len(levels)
        return weight.repeat_interleave(each, 1), bias.repeat_interleave(each) + torch.from_numpy(shift).float()

    def _found(self, rows: sparse.csr_array, losses: Losses, start: Tensor, curvature: float) -> tuple[Tensor, Tensor]:
        """Weights [F, K] and constants [K] of the least loss, from no weights and the constants `start`.

        `curvature` is about that of a row's loss. In units of the square root of each feature's own curvature, all
        directions are nearly alike to L-BFGS.
        """
        count, features = rows.shape
        price = 1 / self.strength
        mean = np.asarray(rows.mean(0)).ravel()
        square = np.asarray(rows.multiply(rows).sum(0)).ravel()
        unit = (1 / np.sqrt(curvature * np.maximum(square - count * mean**2, 0) + price)).astype(np.float32)
        scaled = sparse.csr_array(rows @ sparse.diags_array(unit), dtype=np.float32)
        turned = sparse.csr_array(scaled.T)
        middle, unit = torch.from_numpy((mean * unit).astype(np.float32)), torch.from_numpy(unit)[:, None]
        constant = 1 / (curvature * count) ** 0.5
        width = len(start)

        def value(x: Tensor) -> tuple[float, Tensor]:
            weight, shift = x[:-width].view(features, width), x[-width:]
            scores = torch.from_numpy(scaled @ weight.numpy()) + (start + constant * shift - middle @ weight)
            scores.requires_grad_()
            with torch.enable_grad():
                loss = losses(scores)
            (slope,) = torch.autograd.grad(loss, scores)
            total = slope.sum(0)
            penalty = price * weight * unit.square()
            back = torch.from_numpy(turned @ slope.numpy()) - middle[:, None] * total + penalty
            return float(loss) + 0.5 * float((penalty * weight).sum()), torch.cat([back.flatten(), constant * total])

        x = minimised(value, torch.zeros((features + 1) * width), self.steps)
        weight = x[:-width].view(features, width)
        return weight * unit, start + constant * x[-width:] - middle @ weight


@torch.no_grad()
def minimised(value: Callable[[Tensor], tuple[float, Tensor]], x: Tensor, steps: int) -> Tensor:
    """Where a smooth convex function of a flat tensor is least, from its value and gradient at x (Liu & Nocedal 1989).

    A step is halved until it brings a fair part of what the slope promises (Armijo 1966); curvature is above 0
    anyway.
    """
    now, slope = value(x)
    past: list[tuple[Tensor, Tensor, float]] = []
    for _ in range(steps):
        way = _direction(slope, past)
        promised = float(way @ slope)
        share = 1.0
        for _ in range(HALVINGS):
            there, after = value(x + share * way)
            if there <= now + 1e-4 * share * promised:
                break
            # The parabola through what is known; no less than a tenth, no more than half of the step.
            lowest = -0.5 * share * promised / max((there - now) / share - promised, 1e-30)
            share = min(max(lowest, 0.1 * share), 0.5 * share)
        else:
            return x
        moved, turn = share * way, after - slope
        bent = float(moved @ turn)
        if bent > 0:
            past = [*past[1 - MEMORY :], (moved, turn, bent)]
        gain = now - there
        x, now, slope = x + moved, there, after
        if gain < SETTLED * abs(now):
            break
    return x


def _direction(slope: Tensor, past: Sequence[tuple[Tensor, Tensor, float]]) -> Tensor:
    """Minus the slope times the inverse curvature as the past steps showed it: the recursion of two loops."""
    way = -slope
    shares = []
    for moved, turn, bent in reversed(past):
        share = float(moved @ way) / bent
        way = way - share * turn
        shares.append(share)
    if past:
        _, turn, bent = past[-1]
        way = way * (bent / float(turn @ turn))
    for (moved, turn, bent), share in zip(past, reversed(shares)):
        way = way + (share - float(turn @ way) / bent) * moved
    return way
