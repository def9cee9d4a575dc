"""Metrics, each written once as a function of row counts, so that a bootstrap of thousands of resamples is one pass.

A metric's `weighted` takes the truth, the prediction and weights [N, R], how often each row occurs in each of R
resamples, and returns R values; each equals the metric on the rows repeated that often. The plain metric is the case
R = 1 with every weight 1.

Truth and prediction by kind:
- classes: class numbers [N] int, -1 where unlabelled; probabilities [N, C].
- multilabel: 0/1 [N, C], NaN in unlabelled rows; probabilities [N, C].
- number: values [N] in the user's units, NaN where unlabelled; values [N], or quantiles [N, Q], whose middle is read.
- text: words [N], empty where unlabelled; words [N].
- numbers: values [N, D], rows with a NaN unlabelled; values [N, D]. Metrics are the mean over the numbers.

Unlabelled rows do not count. A metric that the rows do not define (no row at all; one class only, for auroc) is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from polymodal.core.errors import BadData, UnknownName, suggest
from polymodal.evaluation.calibration import binned_gaps, confidences
from polymodal.evaluation.ranks import group_totals, midranks, tie_groups

Weighted = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

FLOOR = 1e-7  # the least probability that log loss sees: single precision holds no finer difference from 1


@dataclass(frozen=True)
class Metric:
    """One figure of merit.

    `needs` says what of a prediction it reads: `label` (the most probable, or those above one half), `probability` or
    `value`. `proportion` marks a mean of 0/1 outcomes, for which better intervals are known. `biased` marks an estimate
    whose bias on few rows is as large as its spread: no interval is given, since a bootstrap's would miss the truth.
    """

    name: str
    kinds: tuple[str, ...]
    weighted: Weighted
    greater_is_better: bool
    needs: str
    summary: str
    source: str = "folklore"
    proportion: bool = False
    biased: bool = False

    def __call__(self, truth: np.ndarray, prediction: np.ndarray) -> float:
        """The metric over the labelled rows. Raises `BadData` for shapes that do not fit or predictions not finite."""
        truth, prediction = check(truth, prediction)
        if not len(truth):
            return float("nan")
        return float(self.weighted(truth, prediction, np.ones((len(truth), 1)))[0])


def labelled(truth: np.ndarray) -> np.ndarray:
    """[N] bool: rows that carry a target."""
    if truth.dtype.kind == "U":
        return truth != ""
    if truth.ndim == 2:
        return ~np.isnan(truth).any(1)
    return truth >= 0 if np.issubdtype(truth.dtype, np.integer) else ~np.isnan(truth)


def check(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of the labelled rows. Raises `BadData` where shapes do not fit or a prediction is NaN."""
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    is_class = truth.ndim == 1 and np.issubdtype(truth.dtype, np.integer)
    expected = f"({len(truth)}, classes)" if is_class else str(truth.shape)
    if truth.ndim == 1 and not is_class and prediction.ndim == 2:
        prediction = prediction[:, prediction.shape[1] // 2]
    if len(prediction) != len(truth) or prediction.ndim != truth.ndim + is_class:
        raise BadData(f"The truth has shape {truth.shape}, so predictions must be {expected}; got {prediction.shape}.")
    keep = labelled(truth)
    if not keep.all():
        truth, prediction = truth[keep], prediction[keep]
    if is_class and len(truth) and truth.max() >= prediction.shape[1]:
        raise BadData(f"The truth holds class {truth.max()}, but predictions have {prediction.shape[1]} classes.")
    if prediction.dtype.kind != "U" and not np.isfinite(prediction).all():
        raise BadData("A prediction is NaN or infinite: the model that made it diverged or read a broken value.")
    return truth, prediction


def primary(kind: str) -> str:
    """The metric by which models are chosen for a target of `kind`. Raises `UnknownName`."""
    names = {"classes": "accuracy", "multilabel": "f1_macro", "number": "r2"}
    if kind not in names:
        raise UnknownName(f"No target kind is called {kind!r}.{suggest(kind, names)}")
    return names[kind]


def compute(kind: str, truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Every metric of `kind`, the primary one first. Raises `UnknownName`, `BadData`."""
    first = primary(kind)
    names = [first, *(n for n, m in METRICS.items() if kind in m.kinds and n != first)]
    if kind == "classes" and np.asarray(prediction).shape[-1] <= 3:
        names.remove("top3")  # of three classes, one is always among the first three
    return {name: METRICS[name](truth, prediction) for name in names}


# --- arithmetic on counts ---------------------------------------------------------------------------------------------


def _means(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[R] weighted means of `rows` [N]."""
    return rows.astype(np.float64) @ weights / weights.sum(0)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """`above / below`, NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below > 0)


def _mean_defined(values: np.ndarray) -> np.ndarray:
    """[R] means over the rows of [C, R] that are not NaN; NaN where none is."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(0), defined.sum(0))


def _onehot(classes: np.ndarray, count: int) -> np.ndarray:
    return (classes[:, None] == np.arange(count)).astype(np.float64)


def _decisions(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and decisions as 0/1 [N, C]."""
    if truth.ndim == 2:
        return truth.astype(np.float64), (prediction >= 0.5).astype(np.float64)
    return _onehot(truth, prediction.shape[1]), _onehot(prediction.argmax(1), prediction.shape[1])


def _scores(truth: np.ndarray, prediction: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(is it c, score of c) for each class or label c."""
    is_it = truth > 0.5 if truth.ndim == 2 else truth[:, None] == np.arange(prediction.shape[1])
    return [(is_it[:, c].astype(np.float64), prediction[:, c]) for c in range(prediction.shape[1])]


# --- classes and labels -----------------------------------------------------------------------------------------------


def _accuracy(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return _means(weights, prediction.argmax(1) == truth)


def _top3(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    own = np.take_along_axis(prediction, truth[:, None], 1)
    earlier = np.arange(prediction.shape[1]) < truth[:, None]  # ties go to the earlier class, as in accuracy
    return _means(weights, ((prediction > own) | ((prediction == own) & earlier)).sum(1) < 3)


def _balanced_accuracy(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    is_it, said = _decisions(truth, prediction)
    return _mean_defined(_ratio((is_it * said).T @ weights, is_it.T @ weights))


def _f1_macro(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    is_it, said = _decisions(truth, prediction)
    return _mean_defined(_ratio(2 * (is_it * said).T @ weights, (is_it + said).T @ weights))


def _f1_micro(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    is_it, said = _decisions(truth, prediction)
    return _ratio(2 * (is_it * said).sum(1) @ weights, (is_it + said).sum(1) @ weights)


def _hamming(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    is_it, said = _decisions(truth, prediction)
    return _means(weights, (is_it != said).mean(1))


def _log_loss(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    own = np.take_along_axis(prediction, truth[:, None], 1)[:, 0].astype(np.float64)
    return _means(weights, -np.log(own.clip(FLOOR, 1.0)))


def _auroc(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    def one(is_it: np.ndarray, score: np.ndarray) -> np.ndarray:
        rows, positives = np.flatnonzero(is_it), is_it @ weights
        rank_sum = np.einsum("nr,nr->r", midranks(score, weights, rows), weights[rows])
        return _ratio(rank_sum - positives * (positives + 1) / 2, positives * (weights.sum(0) - positives))

    return _mean_defined(np.stack([one(*pair) for pair in _scores(truth, prediction)]))


def _mean_average_precision(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    def one(is_it: np.ndarray, score: np.ndarray) -> np.ndarray:
        order, starts, _ = tie_groups(-score)
        hits = group_totals(weights * is_it[:, None], order, starts)
        precision = _ratio(np.cumsum(hits, 0), np.cumsum(group_totals(weights, order, starts), 0))
        return _ratio(np.where(hits > 0, hits * precision, 0.0).sum(0), is_it @ weights)

    return _mean_defined(np.stack([one(*pair) for pair in _scores(truth, prediction)]))


def _ece(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    confidence, right = confidences(prediction, truth)
    return binned_gaps(confidence, right, np.repeat(weights, len(right) // len(weights), axis=0))


def _exact_match(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return _means(weights, truth == prediction)


def _quadratic_kappa(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    said = prediction.argmax(1).astype(np.float64)
    spread = [_means(weights, x**2) - _means(weights, x) ** 2 for x in (truth, said)]
    apart = (_means(weights, truth) - _means(weights, said)) ** 2
    return 1 - _ratio(_means(weights, (truth - said) ** 2), spread[0] + spread[1] + apart)


# --- numbers ----------------------------------------------------------------------------------------------------------


def _each(metric: Weighted) -> Weighted:
    """A metric of one number, and of several as the mean over them."""

    def mean(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if truth.ndim == 1:
            return metric(truth, prediction, weights)
        return np.mean([metric(t, p, weights) for t, p in zip(truth.T, prediction.T)], axis=0)

    return mean


def _mae(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return _means(weights, np.abs(truth - prediction))


def _rmse(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.sqrt(_means(weights, (truth - prediction) ** 2))


def _mape(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    counts = truth != 0
    error = np.divide(np.abs(truth - prediction), np.abs(truth), out=np.zeros(len(truth)), where=counts)
    return _ratio(error @ weights, counts.astype(np.float64) @ weights)


def _r2(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    centred = truth - truth.mean()  # first, or the difference of two large sums below would be all rounding
    squares = centred**2 @ weights
    spread = squares - (centred @ weights) ** 2 / weights.sum(0)
    constant = spread <= 1e-12 * squares + weights.sum(0) * (1e-12 * np.abs(truth).max()) ** 2
    missed = (truth - prediction) ** 2 @ weights
    return np.where(constant, np.where(missed == 0, 1.0, 0.0), 1 - missed / np.where(constant, 1.0, spread))


def _spearman(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    def centred(values: np.ndarray) -> np.ndarray:
        return midranks(values, weights) - (weights.sum(0) + 1) / 2  # the mean rank, whatever the ties

    a, b = centred(truth), centred(prediction)
    spread_a, spread_b = (np.einsum("nr,nr,nr->r", x, x, weights) for x in (a, b))
    joint = np.einsum("nr,nr,nr->r", a, b, weights)
    return np.where(spread_b > 0, _ratio(joint, np.sqrt(spread_a * np.where(spread_b > 0, spread_b, 1.0))), 0.0 * joint)


def _table(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


_CLASSES, _LABELS, _NUMBER = ("classes",), ("multilabel",), ("number",)
METRICS = _table(
    Metric("accuracy", _CLASSES, _accuracy, True, "label", "Share of rows answered right.", proportion=True),
    Metric("balanced_accuracy", _CLASSES, _balanced_accuracy, True, "label", "Mean recall of the classes that occur."),
    Metric("f1_macro", _CLASSES + _LABELS, _f1_macro, True, "label", "Mean F1 of the classes that occur or are said."),
    Metric("log_loss", _CLASSES, _log_loss, False, "probability", "Mean -log of the true class's probability."),
    Metric(
        "auroc", _CLASSES + _LABELS, _auroc, True, "probability",
        "Chance that a row of the class scores above one that is not, mean over the classes.", "Hanley & McNeil 1982",
    ),
    Metric(
        "ece", _CLASSES + _LABELS, _ece, False, "probability",
        "Mean distance of confidence from accuracy, 15 bins of equal mass.", "Guo et al. 2017; Nixon et al. 2019",
        biased=True,
    ),
    Metric("top3", _CLASSES, _top3, True, "probability", "Share of rows whose class is among the first three.",
           proportion=True),
    Metric("exact_match", ("text",), _exact_match, True, "text", "Share of rows written exactly right.",
           proportion=True),
    Metric("quadratic_kappa", ("ordinal",), _quadratic_kappa, True, "label",
           "Agreement beyond chance; a miss of ordered classes costs the square of its steps.", "Cohen 1968"),
    Metric("f1_micro", _LABELS, _f1_micro, True, "label", "F1 over all labels of all rows together."),
    Metric(
        "map", _LABELS, _mean_average_precision, True, "probability", "Mean over labels of the average precision.",
        "Manning et al. 2008",
    ),
    Metric("hamming", _LABELS, _hamming, False, "label", "Share of label decisions that are wrong."),
    Metric("r2", _NUMBER, _each(_r2), True, "value", "Share of the variance explained; 1 or 0 of a constant truth."),
    Metric("mae", _NUMBER, _each(_mae), False, "value", "Mean absolute error, in the target's unit."),
    Metric("rmse", _NUMBER, _each(_rmse), False, "value", "Root of the mean squared error, in the target's unit."),
    Metric("mape", _NUMBER, _mape, False, "value", "Mean error as a share of the truth, over rows of truth not 0."),
    Metric("spearman", _NUMBER, _each(_spearman), True, "value", "Correlation of ranks; 0 for a constant prediction.",
           "Spearman 1904"),
)  # fmt: skip
