"""Metric: a figure of merit, written once as a function of row counts, so that thousands of resamples are one pass.

Truth by its form:
- `class`: class numbers [N] int, -1 where unlabelled.
- `labels`: 0/1 [N, C], NaN in unlabelled rows.
- `number`: values [N], or [N, D] of several numbers, in the user's units, NaN where unlabelled.
- `text`: words [N], or [N, R] of R references of which any is right, "" where a row has fewer; empty where unlabelled.
- `picture`: pictures [N, H, W, C] of 0 to 255, NaN where unlabelled.
- `sound`: spectrograms [N, bands, frames, 1] of 0 to 255 (`nn.signal.levels`), NaN where unlabelled.

Predictions: `probabilities` [N, C]; `labels` alone (class numbers [N] or 0/1 [N, C], as whole numbers); `values` shaped
as the truth; `quantiles` [N, Q] of a number, ascending, the median in the middle; `text` [N];
`drawn` [N, M, H, W, C], M fields drawn for each row.

Unlabelled rows do not count. A metric that the rows do not define (no row at all; one class only, for auroc) is NaN.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, final

import numpy as np

from polymodal.core.errors import BadData
from polymodal.core.registry import label
from polymodal.metrics import METRICS

RESAMPLES = 2000
TEXTS = "UO"  # kinds of arrays of texts; O where a long one would widen all


class Metric(ABC):
    """One figure of merit. The constructor's keyword-only arguments are its options.

    `needs` says what of a prediction `weighted` reads: `labels` (the most probable class, or the labels of at least one
    half), `probabilities`, `values`, `quantiles`, `order` (a score, of probabilities or values), `text` or `drawn`;
    `truths` are the forms of truth that it fits; `grouped` marks one of the order of rows within groups, which `within`
    names.
    `bounds` are the least and the greatest value that there can be; `chance` is what a constant answer gets whatever
    the rows, where that is known. `proportion` marks a mean of 0/1 outcomes, for which better intervals are known;
    `biased` an estimate whose bias on few rows is as large as its spread: no interval is given, since a bootstrap's
    would miss the truth. `resamples` is how many of them an interval rests on, at most.
    """

    needs: str = ""
    truths: tuple[str, ...] = ()
    greater_is_better: bool = True
    bounds: ClassVar[tuple[float, float]] = (-np.inf, np.inf)
    chance: ClassVar[float | None] = None
    title: ClassVar[str] = ""  # what a report calls it, where that is not its name
    proportion: bool = False
    biased: ClassVar[bool] = False
    resamples: ClassVar[int] = RESAMPLES
    grouped: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What files and pages call it: its catalogue name, with the options that differ from their defaults."""
        return label(METRICS.spec(self))

    @abstractmethod
    def weighted(self, truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """[R] values on R resamples, which hold each row as often as `weights` [N, R] says; none is empty.

        Every value equals the metric on the rows repeated that often. `truth` holds labelled rows only; `prediction`
        is what the metric `needs`.
        """

    def within(self, groups: Sequence[Any] | np.ndarray) -> Metric:
        """The metric for labelled rows whose groups [N] are these; itself where no group matters."""
        return self

    @final
    def __call__(self, truth: np.ndarray, prediction: np.ndarray, groups: np.ndarray | None = None) -> float:
        """The metric over the labelled rows, of the `groups` [N]. Raises as `read`."""
        judge = self if groups is None else self.within(np.asarray(groups)[labelled(np.asarray(truth))])
        truth, prediction = judge.read(truth, prediction)
        if not len(truth):
            return float("nan")
        return float(judge.weighted(truth, prediction, np.ones((len(truth), 1)))[0])

    @final
    def read(self, truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Truth of the labelled rows and their predictions as `weighted` reads them.

        Raises `BadData` where shapes do not fit, a prediction is not finite or probabilities are needed and not given.
        """
        truth, prediction = check(truth, prediction)
        return truth, self.view(truth, prediction)

    def settled(self, truth: np.ndarray) -> Metric:
        """The metric with all that it reads off the rows as a whole fixed by the labelled rows of `truth`, as it is
        while they are resampled; itself where each row counts by itself."""
        return self

    def view(self, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """What of a checked prediction `weighted` reads, by `needs`."""
        if self.needs == "order":
            return scores_of(prediction)
        if self.needs == "labels" and not _is_said(truth, prediction):
            return (prediction >= 0.5).astype(np.int64) if truth.ndim == 2 else prediction.argmax(1)
        if self.needs == "probabilities" and _is_said(truth, prediction):
            raise BadData(f"{self.name} reads probabilities, and this answer gives labels alone. Judge it by accuracy.")
        if self.needs == "values" and prediction.ndim > truth.ndim:
            return prediction[:, prediction.shape[1] // 2]
        if self.needs == "quantiles" and prediction.ndim == truth.ndim:
            return prediction[:, None]
        return prediction

    @final
    def turned(self, value: float) -> float:
        """A value, or a difference of two, turned so that greater is better."""
        return value if self.greater_is_better else -value

    @final
    def merit(self, value: float, chance: Callable[[], float]) -> float:
        """A value on a scale that metrics of several targets share: greater is better, and 1 is perfect.

        Errors without an upper bound, in whatever unit, become the share of chance's error that is saved, as r2 is of
        squared ones; `chance()` is the metric of a constant answer on the same rows. Others are as they are, those that
        reach beyond 1 as shares of their greatest value.
        """
        if self.greater_is_better:
            return value / self.bounds[1] if np.isfinite(self.bounds[1]) else value
        if np.isfinite(self.bounds[1]):
            return -value
        usual = chance()
        return 1 - value / usual if usual > 0 else -value


def labelled(truth: np.ndarray) -> np.ndarray:
    """[N] bool: rows that carry a target."""
    if truth.dtype.kind in TEXTS:
        return (truth != "").any(1) if truth.ndim == 2 else truth != ""
    if truth.ndim == 4:
        return ~np.isnan(truth).any((1, 2, 3))
    if truth.ndim == 2:
        return ~np.isnan(truth).any(1)
    return truth >= 0 if truth.dtype.kind == "i" else ~np.isnan(truth)


def scores_of(prediction: np.ndarray) -> np.ndarray:
    """[N] what rows are put in order by: the expected number of the class, of probabilities [N, C]; else the values."""
    prediction = np.asarray(prediction, np.float64)
    return prediction @ np.arange(prediction.shape[1]) if prediction.ndim == 2 else prediction


def check(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of the labelled rows. Raises `BadData` where shapes do not fit or a prediction is NaN."""
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.dtype.kind in TEXTS:
        if prediction.shape != truth.shape[:1] or (len(truth) and prediction.dtype.kind not in TEXTS):
            given = f"{prediction.dtype} {prediction.shape}"
            raise BadData(
                f"The truth is texts of {len(truth)} rows, so predictions must be as many texts; got {given}."
            )
        keep = labelled(truth)
        return truth[keep], prediction[keep]
    if truth.ndim == 4:
        return _drawn(truth, prediction)
    is_class, said = np.issubdtype(truth.dtype, np.integer), _is_said(truth, prediction)
    expected = f"({len(truth)}, classes)" if is_class else str(truth.shape)
    depths = {truth.ndim + (is_class and not said)} | ({2} if truth.ndim == 1 and not said else set())
    if prediction.shape[:1] != truth.shape[:1] or prediction.ndim not in depths:
        raise BadData(f"The truth has shape {truth.shape}, so predictions must be {expected}; got {prediction.shape}.")
    keep = labelled(truth)
    if not keep.all():
        truth, prediction = truth[keep], prediction[keep]
    if is_class and not said and len(truth) and truth.max() >= prediction.shape[1]:
        raise BadData(f"The truth holds class {truth.max()}, but predictions have {prediction.shape[1]} classes.")
    if not np.isfinite(prediction).all():
        raise BadData("A prediction is NaN or infinite: the model that made it diverged or read a broken value.")
    return truth, prediction


def _drawn(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if prediction.ndim != 5 or prediction.shape[0] != len(truth) or prediction.shape[2:] != truth.shape[1:]:
        raise BadData(f"The truth has shape {truth.shape}; drawings are [rows, several, …]; got {prediction.shape}.")
    keep = labelled(truth)
    return (truth, prediction) if keep.all() else (truth[keep], prediction[keep])


def _is_said(truth: np.ndarray, prediction: np.ndarray) -> bool:
    """Whether a prediction is labels already: class numbers or 0/1, as whole numbers."""
    return prediction.dtype.kind in "iub" and (truth.dtype.kind == "i" or truth.ndim == 2)
