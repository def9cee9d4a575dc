"""The columns of a table as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polymodal.core.values import check_range
from polymodal.encoders.features import FeatureEncoder, present_rows, quantiles

RARE = 1  # the processor's id of what is rare or unknown
GRID = 65  # quantiles that a rank is read off


class TablePlain(FeatureEncoder):
    """Numbers, their ranks and what is missing of them; categories one-hot. For learners that are not networks.

    A rank is the share of the training values below, ties counted half, linear between 65 quantiles, so that long tails
    do not rule; a missing number has the mean and the middle rank. Of each column of categories the `most` commonest
    have a feature, missing has one, and all others share one.
    """

    processor = "table"
    sample = 100_000  # what a sample lacks of a column's categories would have no feature
    grid: Tensor

    def __init__(self, facts: Mapping[str, Any], dim: int, *, most: int = 512):
        super().__init__(facts, dim)
        check_range("[1, 100000]", most=most)
        self.most = most
        numbers, self.sizes = len(facts["edges"]), [min(size, most + RARE + 1) for size in facts["categories"]]
        self.register_buffer("grid", torch.linspace(-2, 2, GRID).repeat(numbers, 1))
        blank: dict[str, Tensor] = {}
        if numbers:
            blank |= {"numbers": torch.zeros(1, numbers), "known": torch.zeros(1, numbers, dtype=torch.bool)}
        if self.sizes:
            blank["categories"] = torch.zeros(1, len(self.sizes), dtype=torch.int32)
        self._measured(blank)

    @torch.no_grad()
    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """Quantiles of every number that is known, then the mean and spread of every feature."""
        rows = present_rows(inputs)
        if "numbers" in rows:
            shares = torch.linspace(0, 1, GRID).tolist()
            self.grid.copy_(quantiles(rows["numbers"][None].float(), rows["known"][None], shares)[0])
        super().fit_statistics(rows)

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        told = []
        if "numbers" in inputs:
            known = inputs["known"]
            numbers = torch.where(known, inputs["numbers"].float(), 0.0)
            told += [numbers, torch.where(known, self.ranks(numbers), 0.5), (~known).float()]
        if "categories" in inputs:
            for column, size in enumerate(self.sizes):
                word = inputs["categories"][:, column].long()
                word = torch.where(word < size, word, RARE)
                told.append((word[:, None] == torch.arange(size, device=word.device)).float())
        return torch.cat(told, 1)

    def ranks(self, numbers: Tensor) -> Tensor:
        """[B, C] to their ranks among the training values, 0 to 1."""
        low, high = self.grid[:, :-1], self.grid[:, 1:]
        x = numbers[..., None]
        inside = ((x - low) / torch.where(high > low, high - low, 1.0)).clamp(0, 1)
        tied = ((x > low).float() + (x >= low).float()) / 2
        return torch.where(high > low, inside, tied).mean(2)
