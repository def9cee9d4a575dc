"""From what a regression says of classes, to logits."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

STRONGEST = 50.0  # the steepest slope: answers that are all right would ask for more and more


def calibrated(left: Tensor, target: Tensor, *, exclusive: bool) -> tuple[Tensor, Tensor]:
    """Slope and shift [C] by which regressed indicators become logits: those most likely for rows left out.

    `left` [N, C] is what was said of rows left out, NaN where a label is not known; `target` class numbers [N], -1 =
    unlabelled, or 0/1 [N, C]. Classes share one slope, whose shifts keep how common each is; labels have their own
    (Platt 1999), a row's worth of doubt added.
    """
    if not exclusive:
        pairs = [_logistic(left[:, c], target[:, c].double()) for c in range(left.shape[1])]
        return torch.tensor([p[0] for p in pairs]).double(), torch.tensor([p[1] for p in pairs]).double()
    rows = target >= 0
    x, y = left[rows].numpy(), target[rows].numpy()
    count, width = x.shape
    shares = np.bincount(y, minlength=width)
    seen = shares > 0
    share = (np.eye(width)[y] * count + seen / max(1, seen.sum())) / (count + 1)  # a row's worth of doubt

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        slope, shift = values[0], values[1:]
        logits = slope * x + shift
        logits = logits - logits.max(1, keepdims=True)
        exp = np.exp(logits) * seen
        total = exp.sum(1, keepdims=True)
        gap = exp / total - share
        weak = 1e-3 * shift
        value = (np.log(total[:, 0]) - (share * logits).sum(1)).mean() + 0.5 * float(weak @ shift)
        return value, np.concatenate([[(gap * x).sum() / count], gap.mean(0) + weak])

    start = np.concatenate([[4.0], np.zeros(width)])
    bounds = [(0.0, STRONGEST), *[(-20.0, 20.0)] * width]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    shift = np.where(seen, found[1:], -10.0)
    return torch.full((width,), float(found[0])).double(), torch.from_numpy(shift)


def _logistic(left: Tensor, truth: Tensor) -> tuple[float, float]:
    rows = ~(left.isnan() | truth.isnan())
    x, y = left[rows].numpy(), truth[rows].numpy()
    count = len(x)
    share = (y * count + 0.5) / (count + 1)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        logits = values[0] * x + values[1]
        gap = 0.5 * (1 + np.tanh(logits / 2)) - share
        value = (np.logaddexp(0, logits) - share * logits).mean()
        return value, np.array([(gap * x).mean(), gap.mean()])

    bounds = [(0.0, STRONGEST), (-STRONGEST, STRONGEST)]
    slope, shift = minimize(loss, np.array([4.0, -2.0]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(slope), float(shift)
