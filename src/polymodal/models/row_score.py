"""How right an answer is, row by row: what streams are chosen for, whatever the kind of target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polymodal.targets.base import ScoredTarget


def mean_row_score(
    targets: Sequence[ScoredTarget], scores: Mapping[str, Tensor], truth: Mapping[str, Tensor]
) -> Tensor:
    """[B] the mean over the targets whose truth is known; NaN where none is."""
    return torch.stack([t.row_score(scores[t.name], truth[t.name]) for t in targets]).nanmean(0)


def scored_rows(targets: Sequence[ScoredTarget], truth: Mapping[str, Tensor]) -> Tensor:
    """[B] bool: rows of which at least one target is known."""
    return torch.stack([t.known(truth[t.name]) for t in targets]).any(0)
