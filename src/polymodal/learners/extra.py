"""Extremely randomised trees: scikit-learn grows them; they are then copied into buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.values import check_range
from polymodal.learners.base import RAREST, Learner
from polymodal.learners.columns import Columns
from polymodal.nn.check import check_count
from polymodal.nn.trees import UNFITTED, Forest, float32_below
from polymodal.targets.base import CLASSES, NUMBER

HELD = 2_000_000  # numbers in the leaves of all trees: what a bundle can bear; leaves are made larger to keep within


class ExtraTrees(Learner):
    """The mean of `trees` trees, of which every split is the best of a few drawn at random (Geurts et al. 2006).

    `least` is the fewest rows in a leaf, more where the leaves would hold too many numbers; `share` the share of
    features drawn for a split (None: the root of their number for classes and labels, a third for numbers). Quantiles
    of a number are its mean, moved by what was missed in rows that a tree did not see.
    """

    def __init__(
        self, facts: Mapping[str, Any] | None = None, *, trees: int = 150, least: int = 1, share: float | None = None
    ):
        super().__init__()
        self.trees, self.least, self.share = check_count("trees", trees), check_count("least", least), share
        check_range("(0, 1]", share=share)
        facts = facts or {**UNFITTED, "given": 0, "gaps": 0, "meaning": NUMBER}
        self.meaning = facts["meaning"]
        self.columns = Columns(facts["given"], facts["gaps"])
        self.forest = Forest(facts)
        self.register_buffer("shift", torch.zeros(len(self.forest.base)))
        self.shift: Tensor

    def facts(self) -> dict[str, Any]:
        own = {"given": self.columns.features, "gaps": self.columns.gaps, "meaning": self.meaning}
        return {**self.forest.sizes(), **own}

    def scores(self, features: Tensor) -> Tensor:
        self._check(self.columns.features, len(self.forest.base), features.shape[1])
        said = self.forest(self.columns(features))
        if self.meaning == NUMBER:
            return said + self.shift
        shares = said.clamp(RAREST, 1 - RAREST)
        return shares.log() if self.meaning == CLASSES else shares.logit()

    def _fit(
        self, features: np.ndarray, target: np.ndarray, meaning: str, width: int, seed: int, levels: Sequence[float]
    ) -> None:
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

        self.meaning = meaning
        known = (target >= 0) if meaning == CLASSES else ~np.isnan(target.reshape(len(target), -1)).any(1)
        rows = np.flatnonzero(known) if known.any() else np.arange(len(target))
        self.columns = Columns.of(features[rows])
        x = self.columns(torch.from_numpy(features[rows])).numpy()
        labels = target[rows] if meaning == CLASSES else np.nan_to_num(target[rows].reshape(len(rows), -1))
        outputs = width // max(1, len(levels)) if meaning == NUMBER else width
        least = max(self.least, -(-len(rows) * outputs * self.trees // HELD))
        kind = ExtraTreesRegressor if meaning == NUMBER else ExtraTreesClassifier
        share = self.share or ("sqrt" if meaning != NUMBER else 1 / 3)
        model = kind(
            self.trees, min_samples_leaf=least, max_features=share, random_state=seed,
            bootstrap=bool(levels), oob_score=bool(levels),
        )  # fmt: skip
        model.fit(x, labels if labels.ndim == 1 or labels.shape[1] > 1 else labels[:, 0])
        self.forest = _forest(model, meaning, outputs, x.shape[1])
        shift = np.zeros(outputs)
        if levels:
            missed = labels - np.reshape(model.oob_prediction_, labels.shape)
            shift = np.concatenate([np.nanquantile(missed[:, c], levels) for c in range(outputs)])
            self.forest = self.forest.repeated(len(levels))
        self.register_buffer("shift", torch.from_numpy(shift).float())


def _forest(model: Any, meaning: str, width: int, features: int) -> Forest:
    """The model's trees, the values of whose leaves are divided by the number of trees."""
    fields: dict[str, list[np.ndarray]] = {n: [] for n in ("feature", "threshold", "left", "right", "value")}
    roots, start, depth = [], 0, 0
    for estimator in model.estimators_:
        tree = estimator.tree_
        own, leaf = np.arange(tree.node_count), tree.children_left < 0
        roots.append(start)
        fields["feature"].append(np.where(leaf, 0, tree.feature))
        fields["threshold"].append(float32_below(np.where(leaf, 0.0, tree.threshold)))
        fields["left"].append(start + np.where(leaf, own, tree.children_left))
        fields["right"].append(start + np.where(leaf, own, tree.children_right))
        fields["value"].append(_leaves(tree.value, model, meaning, width) / len(model.estimators_))
        start, depth = start + tree.node_count, max(depth, int(tree.max_depth))
    trees = {name: torch.from_numpy(np.concatenate(values)) for name, values in fields.items()}
    trees["missing_left"] = torch.zeros(start, dtype=torch.bool)
    trees |= {"root": torch.tensor(roots), "column": torch.zeros(len(roots), dtype=torch.int64)}
    return Forest.of(torch.zeros(width, dtype=torch.float64), trees, features=features, depth=depth)


def _leaves(values: np.ndarray, model: Any, meaning: str, width: int) -> np.ndarray:
    """scikit-learn's [nodes, outputs, classes] as [nodes, width]: means, or shares of classes or labels."""
    if meaning == NUMBER:
        return values[:, :, 0]
    shares = values / values.sum(2, keepdims=True)
    if meaning == CLASSES:
        found = np.zeros((len(values), width))
        found[:, model.classes_] = shares[:, 0]
        return found
    classes = model.classes_ if isinstance(model.classes_, list) else [model.classes_]
    held = [shares[:, c, : len(seen)] @ (np.asarray(seen) > 0.5) for c, seen in enumerate(classes)]
    return np.stack(held, 1)
