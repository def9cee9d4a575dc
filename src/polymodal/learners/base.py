"""Learner: features to scores, fitted in one go and kept as tensors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from scipy import sparse
from torch import Tensor, nn

from polymodal.core.errors import BadArgument, BadData, suggest
from polymodal.targets.base import MEANINGS, NUMBER, ScoredTarget

RAREST = 1e-4  # the share given to a class or label that fitting never saw


class Learner(nn.Module):
    """A shallow model of features [N, F], NaN where one is missing. It is fitted once, then scores.

    Keyword-only constructor arguments are its configuration. `facts` is what `facts()` of a fitted one returned: it
    allots the buffers, so that `load_state_dict` can fill them and a bundle needs no pickle and no library to score.
    """

    def __init__(self, facts: Mapping[str, Any] | None = None):
        super().__init__()

    def fit(
        self, features: np.ndarray, target: np.ndarray, meaning: str, *, width: int | None = None, seed: int = 0,
        levels: Sequence[float] = (),
    ) -> Self:  # fmt: skip
        """Fit to `features` [N, F] float, NaN = missing, and an encoded `target`; returns itself.

        By the `meaning` of scores, classes: int [N], -1 = unlabelled; multilabel: 0/1 [N, C], NaN = unknown; number:
        float [N] or [N, D], NaN = unlabelled. With `levels`, each gives a quantile of the number. `width` is the number
        of scores: by default the labels' own (for classes: the highest seen, plus one). Raises `BadArgument` for an
        unknown meaning, `BadData` where no row is labelled.
        """
        if meaning not in MEANINGS:
            raise BadArgument(f"Learners give no scores of {meaning!r}.{suggest(meaning, MEANINGS)}")
        features = features.astype(np.float32) if sparse.issparse(features) else np.asarray(features, np.float32)
        target = np.asarray(target)
        known = target >= 0 if target.dtype.kind in "iu" else ~np.isnan(target)
        some = known.reshape(len(known), -1).any(0)
        if not (some.any() if meaning == NUMBER else some.all()):
            raise BadData("No row carries a label, so there is nothing to fit to.")
        if target.ndim == 2:  # a number that no row has is answered by its mean
            target = np.where(some, target, 0)
        self._fit(features, target, meaning, width or _width(target, meaning, levels), seed, levels)
        return self

    def fit_to(self, target: ScoredTarget, features: np.ndarray, truth: np.ndarray, seed: int) -> Self:
        """`fit` to the encoded `truth` [N, …] of a target, as its kind wants it."""
        return self.fit(features, truth, target.scores, width=target.width, seed=seed, **target.tree_options)

    @abstractmethod
    def _fit(
        self, features: np.ndarray, target: np.ndarray, meaning: str, width: int, seed: int, levels: Sequence[float]
    ) -> None:
        """`fit` to checked values."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Sizes of what was fitted, JSON values: pass them to the constructor before `load_state_dict`."""

    @abstractmethod
    def scores(self, features: Tensor) -> Tensor:
        """[N, F] features, NaN = missing, to [N, width]: logits, log-odds or standardised values.

        Raises `BadData` before it is fitted, or for another number of features.
        """

    def _check(self, fitted: int, width: int, given: int) -> None:
        if not width:
            name = type(self).__name__
            raise BadData(f"This {name} is not fitted: call fit, or load a state dict into {name}(facts).")
        if given != fitted:
            raise BadData(f"This {type(self).__name__} was fitted to {fitted} features; got {given}.")


def _width(target: np.ndarray, meaning: str, levels: Sequence[float]) -> int:
    if meaning == "classes":
        return int(target.max()) + 1
    return (target.shape[1] if target.ndim == 2 else 1) * max(1, len(levels))
