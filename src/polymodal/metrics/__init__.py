"""The catalogue of metrics. Nothing is imported until it is named."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from polymodal.core.registry import Catalogue, Entry, Spec


class Judged(NamedTuple):
    """A target as metrics see it: the form of its truth, what answers to it give, and its metrics in a report's order,
    the default one first; the first `shown` are shown where none is named."""

    kind: str
    truth: str
    gives: tuple[str, ...]
    metrics: tuple[Spec, ...]
    shown: int = 1


ALIASES: Mapping[str, str | Mapping[str, Any]] = {  # other names of the field for what the catalogue has
    "macro_f1": "f1_macro",
    "micro_f1": "f1_micro",
    "weighted_f1": "f1_weighted",
    "samples_f1": "f1_samples",
    "roc_auc": "auroc",
    "average_precision": "map",
    "matthews_corrcoef": "mcc",
    "cohen_kappa": "kappa",
    "brier_score": "brier",
    "hamming_loss": "hamming",
    "median_absolute_error": "median_ae",
    "top3": {"name": "top_k", "k": 3},
    "top5": {"name": "top_k", "k": 5},
}

METRICS = Catalogue(
    "metric",
    "polymodal.metrics.base:Metric",
    {
        "accuracy": Entry(
            "polymodal.metrics.labels:Accuracy", "Share of rows answered right; of labels, all right.", "folklore"
        ),
        "auroc": Entry(
            "polymodal.metrics.probabilities:Auroc",
            "Chance that a row of the class scores above one that is not, mean over the classes.",
            "Hanley & McNeil 1982",
        ),
        "balanced_accuracy": Entry(
            "polymodal.metrics.labels:BalancedAccuracy",
            "Mean recall of the classes that occur.",
            "Brodersen, Ong, Stephan, Buhmann 2010",
        ),
        "brier": Entry(
            "polymodal.metrics.probabilities:Brier",
            "Squared distance of the probabilities from the true class, summed over the classes.",
            "Brier 1950",
        ),
        "ece": Entry(
            "polymodal.metrics.probabilities:Ece",
            "Mean distance of confidence from accuracy, 15 bins of equal mass.",
            "Guo et al. 2017; Nixon et al. 2019",
        ),
        "exact_match": Entry("polymodal.metrics.labels:ExactMatch", "Share of rows written exactly right.", "folklore"),
        "f1_macro": Entry(
            "polymodal.metrics.labels:F1Macro", "Mean F1 of the classes that occur or are said.", "van Rijsbergen 1979"
        ),
        "f1_micro": Entry(
            "polymodal.metrics.labels:F1Micro", "F1 over all labels of all rows together.", "van Rijsbergen 1979"
        ),
        "f1_samples": Entry(
            "polymodal.metrics.labels:F1Samples", "Mean over rows of the F1 of their labels.", "Godbole & Sarawagi 2004"
        ),
        "f1_weighted": Entry(
            "polymodal.metrics.labels:F1Weighted",
            "Mean F1 of the classes, each counted as often as it occurs.",
            "van Rijsbergen 1979",
        ),
        "hamming": Entry(
            "polymodal.metrics.labels:Hamming", "Share of label decisions that are wrong.", "Schapire & Singer 2000"
        ),
        "kappa": Entry(
            "polymodal.metrics.labels:Kappa", "Agreement with the truth beyond that of chance.", "Cohen 1960"
        ),
        "log_loss": Entry(
            "polymodal.metrics.probabilities:LogLoss", "Mean -log of the true class's probability.", "Good 1952"
        ),
        "mae": Entry("polymodal.metrics.values:Mae", "Mean absolute error, in the target's unit.", "folklore"),
        "map": Entry(
            "polymodal.metrics.probabilities:MeanAveragePrecision",
            "Mean over classes or labels of the average precision.",
            "Manning et al. 2008",
        ),
        "mape": Entry(
            "polymodal.metrics.values:Mape", "Mean error as a share of the truth, over rows of truth not 0.", "folklore"
        ),
        "mcc": Entry(
            "polymodal.metrics.labels:Mcc",
            "Correlation of the classes said with the true ones.",
            "Matthews 1975; Gorodkin 2004 (several classes)",
        ),
        "median_ae": Entry(
            "polymodal.metrics.values:MedianAe", "Median absolute error, in the target's unit.", "folklore"
        ),
        "pinball": Entry(
            "polymodal.metrics.values:Pinball",
            "Loss of quantiles: an error below costs the level, one above the rest.",
            "Koenker & Bassett 1978",
        ),
        "quadratic_kappa": Entry(
            "polymodal.metrics.labels:QuadraticKappa",
            "Agreement beyond chance for ordered classes: a miss costs the square of its steps.",
            "Cohen 1968",
        ),
        "r2": Entry(
            "polymodal.metrics.values:R2",
            "Share of the variance explained; for a constant truth 1 if met, or 0.",
            "Wright 1921",
        ),
        "rmse": Entry(
            "polymodal.metrics.values:Rmse", "Root of the mean squared error, in the target's unit.", "folklore"
        ),
        "spearman": Entry(
            "polymodal.metrics.values:Spearman", "Correlation of ranks; 0 for a constant prediction.", "Spearman 1904"
        ),
        "top_k": Entry(
            "polymodal.metrics.probabilities:TopK",
            "Share of rows whose class is among the first k; `top3` and `top5` for short.",
            "Russakovsky et al. 2015",
        ),
    },
)
