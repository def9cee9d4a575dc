"""Features as linear models read them: standardised, gaps filled and told."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

MOST_GAPS = 64  # patterns of missing features that are told apart
FAR = 10.0  # spreads: values beyond count as that far


class Columns(nn.Module):
    """[N, F] features, NaN = missing, to [N, F + G]: standardised by the rows it was fitted to, zero where missing.

    G indicators say which are missing: one for each group of features that are missing together, as those of a stream
    are that a row lacks. Constant features give zero. `features` and `gaps` allot the buffers.
    """

    mean: Tensor
    scale: Tensor
    gap: Tensor
    usual: Tensor

    def __init__(self, features: int = 0, gaps: int = 0):
        super().__init__()
        self.features, self.gaps = features, gaps
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.zeros(features))
        self.register_buffer("gap", torch.zeros(gaps, dtype=torch.int64))
        self.register_buffer("usual", torch.zeros(gaps))

    @property
    def width(self) -> int:
        """F + G."""
        return self.features + self.gaps

    @classmethod
    def of(cls, features: np.ndarray) -> Columns:
        """Fitted to `features` [N, F]."""
        known = np.isfinite(features)
        count = np.maximum(known.sum(0), 1)
        filled = np.where(known, features, 0.0).astype(np.float64)
        mean = filled.sum(0) / count
        spread = np.sqrt((np.where(known, filled - mean, 0.0) ** 2).sum(0) / count)
        first = _patterns(known)
        one = cls(features.shape[1], len(first))
        scale = np.where(spread > 1e-6 * np.maximum(1.0, np.abs(mean)), 1 / np.maximum(spread, 1e-30), 0.0)
        one.mean.copy_(torch.from_numpy(mean))
        one.scale.copy_(torch.from_numpy(scale))
        one.gap.copy_(torch.from_numpy(first))
        one.usual.copy_(torch.from_numpy(1 - known[:, first].mean(0)))
        return one

    def forward(self, features: Tensor) -> Tensor:
        features = features.float()
        x = ((features - self.mean) * self.scale).clamp(-FAR, FAR)
        x = torch.where(features.isfinite(), x, 0.0)
        if not self.gaps:
            return x
        return torch.cat([x, (~features.index_select(1, self.gap).isfinite()).float() - self.usual], 1)


def _patterns(known: np.ndarray) -> np.ndarray:
    """The first feature of every group that is missing in the same rows, where some are; the commonest groups."""
    some = np.flatnonzero(~known.all(0) & known.any(0))
    if not len(some):
        return some
    _, first, counts = np.unique(np.packbits(known[:, some], axis=0), axis=1, return_index=True, return_counts=True)
    kept = np.argsort(-counts, kind="stable")[:MOST_GAPS]
    return np.sort(some[first[kept]])


def telling(features: np.ndarray, target: np.ndarray, most: int) -> np.ndarray:
    """Numbers of at most `most` features, in their order: those with the greatest F statistic of any target."""
    if features.shape[1] <= most:
        return np.arange(features.shape[1])
    from sklearn.feature_selection import f_classif, f_regression

    score = np.zeros(features.shape[1])
    for column in target.reshape(len(target), -1).T:
        known = column >= 0 if column.dtype.kind in "iu" else ~np.isnan(column)
        if len(np.unique(column[known])) < 2:
            continue
        rows = Columns.of(features[known])(torch.from_numpy(features[known]))[:, : features.shape[1]].numpy()
        varies = np.ptp(rows, 0) > 0
        statistic = f_classif if column.dtype.kind in "iu" else f_regression
        with np.errstate(divide="ignore", invalid="ignore"):  # rows that a feature tells apart without an error
            found = np.nan_to_num(statistic(rows[:, varies], column[known])[0])
        score[varies] = np.maximum(score[varies], found)
    return np.sort(np.argsort(-score, kind="stable")[:most])
