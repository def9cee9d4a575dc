"""Logistic regression; scikit-learn finds the weights."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from polymodal.core.values import check_range
from polymodal.learners.base import RAREST
from polymodal.learners.columns import Columns
from polymodal.learners.ridge import Ridge
from polymodal.targets.base import CLASSES, NUMBER

STEPS = 200


class Logistic(Ridge):
    """Logistic regression of standardised features with an L2 penalty (Cox 1958); of numbers, ridge regression.

    `strength` is how much the rows count against the penalty, in rows over features: 1 lets N rows of F features
    count as one row a feature would.
    """

    def __init__(self, facts: Any = None, *, strength: float = 1.0):
        check_range("(0, inf)", strength=strength)
        self.strength = strength
        super().__init__(facts)

    def _fit(
        self, features: np.ndarray, target: np.ndarray, meaning: str, width: int, seed: int, levels: Sequence[float]
    ) -> None:
        if meaning == NUMBER:
            super()._fit(features, target, meaning, width, seed, levels)
            return
        known = target >= 0 if meaning == CLASSES else ~np.isnan(target).all(1)
        self.columns = Columns.of(features[known])
        x = self.columns(torch.from_numpy(features[known])).numpy()
        labels = target[known]
        pairs = (
            [self._classes(x, labels, width)]
            if meaning == CLASSES
            else [self._label(x, labels[:, c]) for c in range(width)]
        )
        weight, bias = (np.concatenate([pair[i] for pair in pairs], -1) for i in (0, 1))
        self.register_buffer("weight", torch.from_numpy(weight).float())
        self.register_buffer("bias", torch.from_numpy(bias).float())

    def _solved(self, x: np.ndarray, labels: np.ndarray) -> Any:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.strength / max(1, x.shape[1]), max_iter=STEPS)
        with warnings.catch_warnings():  # where it stopped is what a held-out score judges
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(x, labels)

    def _classes(self, x: np.ndarray, labels: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        weight, bias = np.zeros((x.shape[1], width)), np.full(width, np.log(RAREST))
        seen = np.unique(labels)
        if len(seen) == 1:
            bias[seen] = 0.0
            return weight, bias
        model = self._solved(x, labels)
        if len(seen) == 2:
            weight[:, seen[1]], bias[seen] = model.coef_[0], [0.0, model.intercept_[0]]
        else:
            weight[:, seen], bias[seen] = model.coef_.T, model.intercept_
        bias[np.setdiff1d(np.arange(width), seen)] += bias[seen].max()
        return weight, bias

    def _label(self, x: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = ~np.isnan(label)
        values = (label[rows] > 0.5).astype(int)
        share = float(values.mean())
        if share in (0.0, 1.0):
            share = float(np.clip(share, RAREST, 1 - RAREST))
            return np.zeros((x.shape[1], 1)), np.array([np.log(share / (1 - share))])
        model = self._solved(x[rows], values)
        return model.coef_.T, model.intercept_
