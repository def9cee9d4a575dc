"""A user's own function of truth and prediction, as a metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from polymodal.core.errors import BadArgument
from polymodal.metrics.base import TEXTS, Metric, labelled
from polymodal.metrics.counts import onehot


class Function(Metric):
    """`function(truth, prediction) -> float` of labelled rows, resampled by repeating rows, 200 times.

    `needs` is what `prediction` is to be: labels (class numbers [N], or 0/1 [N, C]), probabilities or values. Where
    neither the caller nor an attribute of the function says which way is better, it is `guessed`; see `direction`.
    """

    resamples = 200

    def __init__(self, function: Callable[..., Any], truth: str, needs: str, *, greater_is_better: bool | None = None):
        self.function = function
        self.truths, self.needs = (truth,), needs
        said = getattr(function, "greater_is_better", None) if greater_is_better is None else greater_is_better
        self.guessed = said is None
        self.greater_is_better = True if said is None else bool(said)

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def direction(self, truth: np.ndarray) -> bool:
        """Whether greater is better, by what answers that are right get, and those of other rows.

        Raises `BadArgument` where both get the same.
        """
        right = truth[labelled(truth)]
        mixed = right[np.random.default_rng(0).permutation(len(right))]
        good, bad = (self(right, self._answer(rows)) for rows in (right, mixed))
        if good == bad:
            raise BadArgument(
                f"The metric {self.name} gives {good:g} to right answers and to those of other rows alike. Say which "
                f"way is better: {self.name}.greater_is_better = False, or {{name: …, greater_is_better: false}}."
            )
        return good > bad

    def _answer(self, rows: np.ndarray) -> np.ndarray:
        """The prediction that says what `rows` of the truth hold."""
        if self.needs == "labels":
            return rows.astype(np.int64)
        if rows.dtype.kind in TEXTS:
            return rows if rows.ndim == 1 else rows[np.arange(len(rows)), (rows != "").argmax(1)]
        return onehot(rows, int(rows.max(initial=0)) + 1) if rows.dtype.kind == "i" else rows.astype(np.float64)

    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Raises `BadArgument` that names the function where it raises, gives no number, or NaN on every row once."""
        counts = weights.astype(np.int64)
        truth = truth.astype(str) if truth.dtype.kind == "O" else truth
        values = [self._value(np.repeat(truth, c, axis=0), np.repeat(prediction, c, axis=0)) for c in counts.T]
        if (counts == 1).all() and not np.isfinite(values).all():
            raise BadArgument(f"The metric {self.name} gives {values[0]} on {len(truth)} rows; a score is finite.")
        return np.array(values)

    def _value(self, truth: np.ndarray, prediction: np.ndarray) -> float:
        try:
            value = self.function(truth, prediction)
        except Exception as error:
            raise BadArgument(
                f"The metric {self.name} raises {type(error).__name__}: {str(error).rstrip('.')}. Given were "
                f"truth {truth.shape} {truth.dtype} and prediction {prediction.shape} {prediction.dtype} "
                f"({self.needs}), rows repeated."
            ) from error
        array = np.asarray(value)
        if array.size != 1 or array.dtype.kind not in "fiub":
            raise BadArgument(f"The metric {self.name} must give one number; it gave {value!r:.80}.")
        return float(array.reshape(()))
