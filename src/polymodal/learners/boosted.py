"""Gradient-boosted trees: scikit-learn grows them; they are then copied into buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.values import check_range
from polymodal.learners.base import RAREST, Learner
from polymodal.learners.columns import telling
from polymodal.nn.check import check_count
from polymodal.nn.trees import NODE_FIELDS, UNFITTED, Forest, float32_below
from polymodal.targets.base import CLASSES, MULTILABEL

ENOUGH = 100  # labelled rows from which a tenth is set aside to stop early


@dataclass(frozen=True)
class _Piece:
    """Trees as scikit-learn keeps them, each with the column that it adds to, and the columns' constants."""

    base: np.ndarray
    trees: list[tuple[np.ndarray, int]]


class Boosted(Learner):
    """Gradient-boosted trees (Friedman 2001) grown on histograms (Ke et al. 2017).

    A missing feature is NaN and goes the way learned at each split. Classes: a tree a round and class (one for two
    classes); multilabel: a model a label; number: the squared error, or the
    pinball loss of a quantile. Where there are 100 labelled rows or more, a
    tenth of them stops the fitting once `patience` rounds brought nothing.

    `trees` is the largest number of rounds, `lr` the share of each tree that counts, `leaves` and `depth` bound
    a tree, `least` is the fewest rows in a leaf, `share` the share of the features looked at in a split, `l2` the
    penalty on leaves. Of more features than `most` those are read that tell most of the target each by itself, by the
    F statistic of the rows' classes or of the numbers.
    """

    def __init__(
        self, facts: Mapping[str, Any] | None = None, *, trees: int = 200, lr: float = 0.1, leaves: int = 8,
        depth: int = 4, least: int = 10, share: float = 0.2, l2: float = 1.0, patience: int = 10, most: int = 120,
    ):  # fmt: skip
        super().__init__()
        self.trees = check_count("trees", trees)
        self.lr = lr
        self.leaves = leaves
        self.depth = check_count("depth", depth)
        self.least = check_count("least", least)
        self.share = share
        self.l2 = l2
        self.patience = check_count("patience", patience)
        self.most = check_count("most", most)
        check_range("[2, inf)", leaves=check_count("leaves", leaves))
        check_range("(0, 1]", lr=lr, share=share)
        self.forest = Forest(facts or UNFITTED)

    def facts(self) -> dict[str, Any]:
        """Sizes of the fitted trees, JSON values: pass them to the constructor before `load_state_dict`."""
        return self.forest.sizes()

    def _fit(
        self, features: np.ndarray, target: np.ndarray, meaning: str, width: int, seed: int, levels: Sequence[float]
    ) -> None:
        total, read = features.shape[1], telling(features, target, self.most)
        features = features[:, read]
        if meaning == CLASSES:
            pieces = [self._fit_classes(features, target, width, seed)]
        elif meaning == MULTILABEL:
            pieces = [self._fit_label(features, target[:, c], seed) for c in range(target.shape[1])]
        else:
            columns = target.reshape(len(target), -1).T
            pieces = [self._fit_number(features, c, seed, level) for c in columns for level in levels or (None,)]
        self.forest = _joined(pieces, read, total)

    def scores(self, features: Tensor) -> Tensor:
        self._check(self.forest.features, len(self.forest.base), features.shape[1])
        return self.forest(features)

    def _fit_classes(self, features: np.ndarray, target: np.ndarray, width: int, seed: int) -> _Piece:
        rows = np.flatnonzero(target >= 0)
        seen, target = np.unique(target[rows], return_inverse=True)
        base = np.full(width, np.log(RAREST))
        if len(seen) == 1:
            base[seen] = 0.0
            return _Piece(base, [])
        grown = _grow(self._classifier(np.bincount(target), seed), features[rows], target)
        if len(seen) == 2:  # one tree a round: its sum is the log-odds of the second
            grown = _Piece(np.array([0.0, grown.base[0]]), [(tree, 1) for tree, _ in grown.trees])
        base += np.logaddexp.reduce(grown.base)
        base[seen] = grown.base
        return _Piece(base, [(tree, int(seen[column])) for tree, column in grown.trees])

    def _fit_label(self, features: np.ndarray, target: np.ndarray, seed: int) -> _Piece:
        rows = np.flatnonzero(~np.isnan(target))
        values = (target[rows] > 0.5).astype(int)
        share = values.mean()
        if share in (0.0, 1.0):
            share = np.clip(share, RAREST, 1 - RAREST)
            return _Piece(np.array([np.log(share / (1 - share))]), [])
        return _grow(self._classifier(np.bincount(values), seed), features[rows], values)

    def _fit_number(self, features: np.ndarray, target: np.ndarray, seed: int, level: float | None) -> _Piece:
        from sklearn.ensemble import HistGradientBoostingRegressor

        rows = np.flatnonzero(~np.isnan(target))
        loss = {} if level is None else {"loss": "quantile", "quantile": level}
        model = HistGradientBoostingRegressor(**self._options(len(rows) >= ENOUGH, seed), **loss)
        return _grow(model, features[rows], target[rows].astype(np.float64))

    def _classifier(self, counts: np.ndarray, seed: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        # The rows set aside are drawn class by class: each class needs two rows, and the tenth one row a class.
        stops = counts.sum() >= max(ENOUGH, 10 * len(counts)) and counts.min() >= 2
        return HistGradientBoostingClassifier(**self._options(bool(stops), seed))

    def _options(self, early_stopping: bool, seed: int) -> dict[str, Any]:
        return {
            "max_iter": self.trees, "learning_rate": self.lr, "max_leaf_nodes": self.leaves, "max_depth": self.depth,
            "min_samples_leaf": self.least, "max_features": self.share, "l2_regularization": self.l2, "max_bins": 63,
            "early_stopping": early_stopping, "n_iter_no_change": self.patience, "random_state": seed,
        }  # fmt: skip


def _grow(model: Any, features: np.ndarray, target: np.ndarray) -> _Piece:
    """Fit a scikit-learn model and take its trees out; it has no public way, so a parity test guards this one."""
    model.fit(np.where(np.isnan(features).all(0), 0, features), target)  # it cannot bin a column without a value
    trees = [(tree.nodes, column) for round_ in model._predictors for column, tree in enumerate(round_)]
    return _Piece(np.ravel(model._baseline_prediction).astype(np.float64), trees)


def _joined(pieces: Sequence[_Piece], read: np.ndarray, features: int) -> Forest:
    """One forest of all pieces, their columns one after another, grown on the features `read` of all."""
    roots, columns, nodes, start, first = [], [], [], 0, 0
    for piece in pieces:
        for tree, column in piece.trees:
            roots.append(start)
            columns.append(first + column)
            nodes.append(_nodes(tree, start, read))
            start += len(tree)
        first += len(piece.base)
    empty = {name: torch.zeros(0, dtype=dtype) for name, dtype in NODE_FIELDS.items()}
    trees = {name: torch.cat([none, *(n[name] for n in nodes)]) for name, none in empty.items()}
    trees |= {"root": torch.tensor(roots, dtype=torch.int64), "column": torch.tensor(columns, dtype=torch.int64)}
    base = torch.from_numpy(np.concatenate([piece.base for piece in pieces]))
    depth = max((int(tree["depth"].max()) for piece in pieces for tree, _ in piece.trees), default=0)
    return Forest.of(base, trees, features=features, depth=depth)


def _nodes(tree: np.ndarray, start: int, read: np.ndarray) -> dict[str, Tensor]:
    """The node fields of one tree whose nodes begin at `start` in the forest."""
    own = np.arange(len(tree))
    leaf = tree["is_leaf"].astype(bool)
    fields = {
        "feature": read[np.where(leaf, 0, tree["feature_idx"]).astype(np.int64)],
        "threshold": float32_below(tree["num_threshold"]),
        "missing_left": tree["missing_go_to_left"].astype(bool),
        "left": start + np.where(leaf, own, tree["left"]).astype(np.int64),
        "right": start + np.where(leaf, own, tree["right"]).astype(np.int64),
        "value": tree["value"].astype(np.float64),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in fields.items()}
