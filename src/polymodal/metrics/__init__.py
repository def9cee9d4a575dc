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
    "bleu_1": {"name": "bleu", "n": 1},
    "bleu_2": {"name": "bleu", "n": 2},
    "bleu_3": {"name": "bleu", "n": 3},
    "bleu_4": "bleu",
    "cer": {"name": "wer", "unit": "character"},
    "chrf2": "chrf",
    "cider_d": "cider",
    "em": "exact_match",
    "hamming_loss": "hamming",
    "median_absolute_error": "median_ae",
    "rouge": "rouge_l",
    "squad_f1": "token_f1",
    "top3": {"name": "top_k", "k": 3},
    "top5": {"name": "top_k", "k": 5},
    "vqa": "vqa_accuracy",
    "word_error_rate": "wer",
}

AT: Mapping[str, str] = {"hit": "hit_at", "recall": "recall_at", "top": "top_k"}  # with a number: recall@20

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
        "bleu": Entry(
            "polymodal.metrics.captions:Bleu",
            "n-grams of the answers that references have, of all rows together; short answers cost.",
            "Papineni, Roukos, Ward & Zhu 2002",
        ),
        "brier": Entry(
            "polymodal.metrics.probabilities:Brier",
            "Squared distance of the probabilities from the true class, summed over the classes.",
            "Brier 1950",
        ),
        "chrf": Entry(
            "polymodal.metrics.captions:Chrf",
            "F-score of the runs of up to 6 characters, of all rows together, from 0 to 100.",
            "Popović 2015",
        ),
        "cider": Entry(
            "polymodal.metrics.captions:Cider",
            "CIDEr-D: n-grams shared with each reference, weighed by how few rows have them, from 0 to 10; 50 rows.",
            "Vedantam, Zitnick & Parikh 2015",
        ),
        "duration": Entry(
            "polymodal.metrics.sounds:Duration",
            "How far drawn sounds are from as long as the true one, as a share of that.",
            "folklore",
        ),
        "ece": Entry(
            "polymodal.metrics.probabilities:Ece",
            "Mean distance of confidence from accuracy, 15 bins of equal mass.",
            "Guo et al. 2017; Nixon et al. 2019",
        ),
        "energy": Entry(
            "polymodal.metrics.pictures:Energy",
            "Energy score of drawn pictures: distance to the true one, less half of that between two drawn.",
            "Gneiting & Raftery 2007",
        ),
        "energy_sound": Entry(
            "polymodal.metrics.sounds:SoundEnergy",
            "Energy score of drawn sounds: distance to the true one, less half of that between two drawn.",
            "Gneiting & Raftery 2007",
        ),
        "exact_match": Entry(
            "polymodal.metrics.short:ExactMatch",
            "Share of rows written exactly as a reference; `normalise`: but for capitals, signs and articles.",
            "folklore; Antol et al. 2015 (normalised)",
        ),
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
        "group_auc": Entry(
            "polymodal.metrics.within:GroupAuc",
            "Chance that a relevant row scores above another one of its group, mean over groups.",
            "Zhou et al. 2018 (DIN)",
        ),
        "hamming": Entry(
            "polymodal.metrics.labels:Hamming", "Share of label decisions that are wrong.", "Schapire & Singer 2000"
        ),
        "hit_at": Entry(
            "polymodal.metrics.within:HitAt",
            "Share of groups with a relevant row among the first k; `hit@10` for short.",
            "folklore",
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
        "mel_cepstral": Entry(
            "polymodal.metrics.sounds:MelCepstral",
            "Mel-cepstral distance of drawn sounds to the true one in dB, along the best warping of time.",
            "Kubichek 1993; Sakoe & Chiba 1978 (warping)",
        ),
        "median_ae": Entry(
            "polymodal.metrics.values:MedianAe", "Median absolute error, in the target's unit.", "folklore"
        ),
        "mrr": Entry(
            "polymodal.metrics.within:Mrr",
            "Mean over groups of 1 / the rank of the first relevant row.",
            "Voorhees 1999; McSherry & Najork 2008 (ties)",
        ),
        "ndcg": Entry(
            "polymodal.metrics.within:Ndcg",
            "Gains of a group's first k rows, discounted by rank, as a share of the best order's; `ndcg@10` for short.",
            "Järvelin & Kekäläinen 2002; McSherry & Najork 2008 (ties)",
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
        "recall_at": Entry(
            "polymodal.metrics.within:RecallAt",
            "Share of a group's relevant rows among its first k; `recall@20` for short.",
            "Manning et al. 2008; McSherry & Najork 2008 (ties)",
        ),
        "rmse": Entry(
            "polymodal.metrics.values:Rmse", "Root of the mean squared error, in the target's unit.", "folklore"
        ),
        "rouge_l": Entry(
            "polymodal.metrics.sequences:RougeL",
            "Longest common subsequence of words with the references, as COCO's captions are judged.",
            "Lin 2004",
        ),
        "spearman": Entry(
            "polymodal.metrics.values:Spearman", "Correlation of ranks; 0 for a constant prediction.", "Spearman 1904"
        ),
        "token_f1": Entry(
            "polymodal.metrics.short:TokenF1",
            "F1 of the words that answer and best reference share, mean over rows.",
            "Rajpurkar, Zhang, Lopyrev & Liang 2016",
        ),
        "top_k": Entry(
            "polymodal.metrics.probabilities:TopK",
            "Share of rows whose class is among the first k; `top3` and `top5` for short.",
            "Russakovsky et al. 2015",
        ),
        "vqa_accuracy": Entry(
            "polymodal.metrics.short:VqaAccuracy",
            "How many of several people said the same, three being enough; answers normalised.",
            "Antol et al. 2015",
        ),
        "wer": Entry(
            "polymodal.metrics.sequences:Wer",
            "Words to replace, leave out and put in, as a share of the reference's.",
            "Levenshtein 1966",
        ),
    },
)
