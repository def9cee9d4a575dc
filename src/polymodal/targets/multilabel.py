"""Any number of labels at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from polymodal.core.errors import BadData
from polymodal.core.registry import Spec
from polymodal.nn.calibrate import fit_temperature
from polymodal.nn.precision import at_least_float32
from polymodal.targets.base import MULTILABEL, ScoredTarget
from polymodal.targets.labels import labels_of, separator_of, sorted_labels


@dataclass(frozen=True)
class MultilabelTarget(ScoredTarget):
    """Any number of labels at once, from cells that are lists, or strings such as `a|b`, `a; b`, `a, b`, `["a", "b"]`.

    `classes` are the labels, sorted, `frequencies` the share of training rows that have each, `separator` what parts
    them in a string. Encoded as float32 [N, C]
    of 0 and 1, a row of NaN where missing; labels not seen in training are left out. Scores are log-odds [B, C].
    """

    classes: tuple[str, ...] = ()
    frequencies: tuple[float, ...] = ()
    separator: str = "|"

    scores: ClassVar[str] = MULTILABEL
    head: ClassVar[str] = "multilabel"
    form: ClassVar[str] = "labels"
    gives: ClassVar[tuple[str, ...]] = ("labels", "probabilities")

    def fit(self, values: Sequence[Any]) -> Self:
        separator = separator_of(values)
        counts = Counter(label for value in values for label in dict.fromkeys(labels_of(value, separator)))
        if not counts:
            raise BadData(f"Target {self.name!r} has no label in any training row.")
        classes = tuple(sorted_labels(counts))
        return replace(self, classes=classes, frequencies=tuple(counts[c] / len(values) for c in classes),
                       separator=separator)  # fmt: skip

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        place = {label: position for position, label in enumerate(self.classes)}
        hot = np.zeros((len(values), len(place)), dtype=np.float32)
        for row, value in enumerate(values):
            if value is None:
                hot[row] = np.nan
                continue
            hot[row, [place[label] for label in labels_of(value, self.separator) if label in place]] = 1
        return hot

    def unseen(self, values: Sequence[Any]) -> dict[str, int]:
        known = set(self.classes)
        rows = [labels_of(value, self.separator) for value in values if value is not None]
        return dict(Counter(label for row in rows for label in row if label not in known))

    def survey(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[int, str]]:
        separator = separator_of(values)
        counts = Counter(label for value in values if value is not None for label in labels_of(value, separator))
        return {"classes": dict(counts)}, {}

    def known(self, encoded: Any) -> Any:
        return (encoded == encoded).all(1)

    def strata(self, encoded: np.ndarray) -> np.ndarray | None:
        return encoded

    @property
    def width(self) -> int:
        return len(self.classes)

    @property
    def summary(self) -> str:
        return f"{len(self.classes)} classes"

    @property
    def task(self) -> str:
        return f"any of {len(self.classes)} labels"

    @property
    def labels(self) -> tuple[str, ...]:
        return self.classes

    @property
    def metrics(self) -> tuple[Spec, ...]:
        return ("f1_macro", "auroc", "ece", "f1_micro", "map", "hamming")

    def prediction(self, decoded: Mapping[str, np.ndarray]) -> np.ndarray:
        return decoded["probability"]

    def chance(self) -> np.ndarray:
        return np.array(self.frequencies)

    def decode(self, scores: Tensor, threshold: float = 0.5) -> dict[str, np.ndarray]:
        """{"label": [B] tuples of str, "probability": [B, C]}; labels are those of at least `threshold`."""
        probability = scores.detach().float().sigmoid().cpu().numpy()
        names = np.array(self.classes)
        label = np.empty(len(probability), dtype=object)
        for i, given in enumerate(probability >= threshold):  # one by one: NumPy would stack tuples of one length
            label[i] = tuple(names[given].tolist())
        return {"label": label, "probability": probability}

    def columns(self, decoded: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        return {
            self.name: [[str(label) for label in row] for row in decoded["label"]],
            **{f"{self.name}={c}": decoded["probability"][:, i].tolist() for i, c in enumerate(self.classes)},
        }

    def written(self, values: Sequence[Any]) -> list[Any]:
        return [None if value is None else labels_of(value) for value in values]

    def answer(self, decoded: Mapping[str, np.ndarray], row: int) -> tuple[str | float, float | None]:
        return " | ".join(decoded["label"][row]), float(decoded["probability"][row].max())

    def told(self, truth: Any, prediction: Any) -> dict[str, Any]:
        true, said = ([c for c, p in zip(self.classes, row) if p > 0.5] for row in (truth, prediction))
        return {
            "truth": " | ".join(true) or "none",
            "prediction": " | ".join(said) or "none",
            "probability": float(prediction.max()),
        }

    def mistakes(self, truth: np.ndarray, predictions: np.ndarray, labelled: np.ndarray, most: int) -> np.ndarray:
        """Those with the label that is farthest from its truth."""
        off = np.where(labelled[:, None], np.abs(predictions - truth), 0)
        return np.argsort(-off.max(1), kind="stable")[:most]

    def explained(self, predictions: np.ndarray) -> np.ndarray:
        return predictions

    @property
    def unit(self) -> str:
        return "log-probability of the likeliest label"

    def decided(self, scores: Tensor, *, of: Tensor | None = None) -> Tensor:
        """Log-odds of the likeliest label."""
        return scores.gather(1, (scores if of is None else of).argmax(1, keepdim=True))[:, 0]

    @property
    def decided_unit(self) -> str:
        return "log-odds"

    def temperature(self, scores: np.ndarray, truth: np.ndarray) -> float | None:
        return fit_temperature(scores, truth)

    def blend(self, scores: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """The log-odds of the weighted mean of the probabilities."""
        logs = torch.tensor(weights, device=scores[0].device).log()
        yes = torch.stack([F.logsigmoid(s) + w for s, w in zip(scores, logs)]).logsumexp(0)
        no = torch.stack([F.logsigmoid(-s) + w for s, w in zip(scores, logs)]).logsumexp(0)
        return yes - no

    def row_score(self, scores: Tensor, truth: Tensor) -> Tensor:
        """The share of labels answered right."""
        right = ((scores > 0) == (truth > 0.5)).float().mean(-1)
        return torch.where(truth.isnan().any(-1), torch.nan, right)

    def row_losses(self, scores: Tensor, truth: Tensor) -> Tensor:
        """The mean of -log p over labels."""
        scores, known = at_least_float32(scores), ~truth.isnan().any(1)
        each = F.binary_cross_entropy_with_logits(scores, truth.nan_to_num().to(scores.dtype), reduction="none").mean(1)
        return torch.where(known, each, torch.nan)

    def uncertainty(self, scores: Tensor) -> Tensor | None:
        """The mean over labels of min(p, 1 - p)."""
        return scores.float().abs().neg().sigmoid().mean(-1)
