"""Head: `Tokens` to scores, scores to a loss and to human values."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, final

import numpy as np
from torch import Tensor

from polymodal.core.part import Part
from polymodal.core.types import Target, Tokens


class Head(Part):
    """Answers one `Target` from tokens of width `width`."""

    kinds: ClassVar[tuple[str, ...]] = ()  # the target kinds it can answer

    def __init__(self, width: int, target: Target):
        super().__init__()
        self.width = width
        self.target = target

    @final  # type: ignore[misc]
    def forward(self, tokens: Tokens) -> Tensor:
        """Scores [B, target.width]: logits, or a standardised number."""
        return self.score(tokens.cleared())

    @abstractmethod
    def score(self, tokens: Tokens) -> Tensor:
        """Tokens [B, T, width] to scores. A row with no token gives the head's prior, finite."""

    @abstractmethod
    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """Mean loss over the rows that carry a target; unlabelled rows (-1, or NaN for numbers) do not count."""

    @abstractmethod
    def decode(self, scores: Tensor) -> dict[str, np.ndarray]:
        """Human values: {"label": …, "probability": [B, C]} or {"value": …}. Inverts the target's encoding."""
