"""How right an answer is, row by row: what streams are chosen for, whatever the kind of target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polymodal.core.types import Target

WORST = -3.0  # of a number's rightness: a residual of two spreads; beyond, one row would outweigh all others


def row_score(target: Target, scores: Tensor, truth: Tensor) -> Tensor:
    """[B] of scores [B, width] and encoded truth; NaN where the truth is not known.

    Classes: 1 if the likeliest class is the true one; multilabel: the share of labels answered right; number: one
    minus the squared residual in standard units, whose mean is R², at least -3.
    """
    if target.kind == "classes":
        return torch.where(truth >= 0, (scores.argmax(-1) == truth).float(), torch.nan)
    if target.kind == "multilabel":
        right = ((scores > 0) == (truth > 0.5)).float().mean(-1)
        return torch.where(truth.isnan().any(-1), torch.nan, right)
    return (1 - (scores[:, 0].float() - truth.reshape(-1).float()) ** 2).clamp(min=WORST)


def mean_row_score(targets: Sequence[Target], scores: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
    """[B] the mean over the targets whose truth is known; NaN where none is."""
    return torch.stack([row_score(t, scores[t.name], truth[t.name]) for t in targets]).nanmean(0)


def scored_rows(targets: Sequence[Target], truth: Mapping[str, Tensor]) -> Tensor:
    """[B] bool: rows of which at least one target is known."""
    known = []
    for target in targets:
        values = truth[target.name]
        known.append(values >= 0 if target.kind == "classes" else ~values.reshape(len(values), -1).isnan().any(-1))
    return torch.stack(known).any(0)
