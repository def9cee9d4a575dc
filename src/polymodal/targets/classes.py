"""One of several classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadData
from polymodal.core.registry import Spec
from polymodal.core.words import key_of, label_of
from polymodal.nn.calibrate import fit_temperature
from polymodal.nn.precision import at_least_float32
from polymodal.targets.base import CLASSES, ScoredTarget
from polymodal.targets.labels import counted, place_of, places, sorted_labels


@dataclass(frozen=True)
class ClassesTarget(ScoredTarget):
    """One of several classes that exclude one another.

    `classes` are the labels in their commonest spelling ("1", "1.0" and 1 are one), sorted (by value when all are
    numbers), `frequencies` their shares in training. Encoded as int64 [N], -1 where missing or of a label not seen in
    training; scores are logits [B, C].
    """

    classes: tuple[str, ...] = ()
    frequencies: tuple[float, ...] = ()

    scores: ClassVar[str] = CLASSES
    head: ClassVar[str] = "classes"
    form: ClassVar[str] = "class"
    gives: ClassVar[tuple[str, ...]] = ("labels", "probabilities")

    def fit(self, values: Sequence[Any]) -> Self:
        counts = counted(values)
        if len(counts) < 2:
            only = next(iter(counts))
            raise BadData(f"Target {self.name!r} is {only!r} in every training row; two classes are needed.")
        classes = self.ordered(counts)
        shares = {key_of(label): count / len(values) for label, count in counts.items()}
        return replace(self, classes=classes, frequencies=tuple(shares.get(key_of(c), 0.0) for c in classes))

    def ordered(self, labels: Mapping[str, int]) -> tuple[str, ...]:
        """The classes in their order, from the training rows' labels with their counts."""
        return tuple(sorted_labels(labels))

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        known = places(self.classes)
        return np.array([place_of(value, known) for value in values], dtype=np.int64)

    def unseen(self, values: Sequence[Any]) -> dict[str, int]:
        known = places(self.classes)
        return dict(counted(value for value in values if place_of(value, known) < 0))

    def survey(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[int, str]]:
        return {"classes": dict(counted(values))}, {}

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
        return f"one of {len(self.classes)} classes"

    @property
    def labels(self) -> tuple[str, ...]:
        return self.classes

    @property
    def metrics(self) -> tuple[Spec, ...]:
        metrics = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "auroc", "ece")
        return (*metrics, "top3") if len(self.classes) > 3 else metrics  # of three, one is always among the first three

    def prediction(self, decoded: Mapping[str, np.ndarray]) -> np.ndarray:
        return decoded["probability"]

    def chance(self) -> np.ndarray:
        return np.array(self.frequencies)

    @property
    def usual(self) -> str:
        return "the majority answer"

    def decode(self, scores: Tensor) -> dict[str, np.ndarray]:
        """{"label": [B] str, "probability": [B, C]}."""
        probability = scores.detach().float().softmax(1).cpu().numpy()
        if probability.shape[1] != len(self.classes):  # of a bundle that someone changed
            raise BadData(f"{self.name!r} has {len(self.classes)} classes, and scores for {probability.shape[1]}.")
        return {"label": np.array(self.classes)[probability.argmax(1)], "probability": probability}

    def columns(self, decoded: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        probability = decoded["probability"]
        return {
            self.name: [str(label) for label in decoded["label"]],
            f"{self.name}_probability": probability.max(1).tolist(),
            **{f"{self.name}={c}": probability[:, i].tolist() for i, c in enumerate(self.classes)},
        }

    def written(self, values: Sequence[Any]) -> list[Any]:
        known = places(self.classes)
        of = ((value, place_of(value, known)) for value in values)
        return [None if v is None else self.classes[place] if place >= 0 else label_of(v) for v, place in of]

    def answer(self, decoded: Mapping[str, np.ndarray], row: int) -> tuple[str | float, float | None]:
        return str(decoded["label"][row]), float(decoded["probability"][row].max())

    def told(self, truth: Any, prediction: Any) -> dict[str, Any]:
        said = self.classes[int(prediction.argmax())]
        return {"truth": self.classes[truth], "prediction": said, "probability": float(prediction.max())}

    def mistakes(self, truth: np.ndarray, predictions: np.ndarray, labelled: np.ndarray, most: int) -> np.ndarray:
        """Those that were answered wrongly, the most confident first."""
        wrong = labelled & (predictions.argmax(1) != truth)
        return np.argsort(-np.where(wrong, predictions.max(1), -1), kind="stable")[: min(most, int(wrong.sum()))]

    def errors(self, truth: np.ndarray, predictions: np.ndarray, decoded: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The confusion matrix, rows by truth."""
        size = self.width
        counts = np.bincount(truth * size + predictions.argmax(1), minlength=size * size)
        return {"confusion": counts.reshape(size, size).tolist()}

    def explained(self, predictions: np.ndarray) -> np.ndarray:
        return predictions

    @property
    def unit(self) -> str:
        return "log-probability"

    def decided(self, scores: Tensor, *, of: Tensor | None = None) -> Tensor:
        """Log-odds of the answered class against all others."""
        best = (scores if of is None else of).argmax(1, keepdim=True)
        others = scores.scatter(1, best, float("-inf"))
        return scores.gather(1, best)[:, 0] - others.logsumexp(1)

    @property
    def decided_unit(self) -> str:
        return "log-odds"

    def temperature(self, scores: np.ndarray, truth: np.ndarray) -> float | None:
        return fit_temperature(scores, truth)

    def blend(self, scores: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """The logarithm of the weighted mean of the probabilities."""
        logs = torch.tensor(weights, device=scores[0].device).log()
        return torch.stack([s.log_softmax(-1) + w for s, w in zip(scores, logs)]).logsumexp(0)

    def row_score(self, scores: Tensor, truth: Tensor) -> Tensor:
        """1 if the likeliest class is the true one, else 0."""
        return torch.where(truth >= 0, (scores.argmax(-1) == truth).float(), torch.nan)

    def row_losses(self, scores: Tensor, truth: Tensor) -> Tensor:
        """-log p(truth)."""
        picked = at_least_float32(scores).log_softmax(1).gather(1, truth.clamp(min=0)[:, None])[:, 0]
        return torch.where(truth >= 0, -picked, torch.nan)

    def uncertainty(self, scores: Tensor) -> Tensor | None:
        """1 - max p."""
        return 1 - scores.float().softmax(-1).amax(-1)
