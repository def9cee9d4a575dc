"""Encoders of vectors made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.base import Encoder, Held

RUNS = 32  # of components that can be hidden, at most


class VectorMLP(Encoder):
    """A linear map plus a perceptron of `layers` hidden layers, normalised. One token a row.

    Options: `hidden` units; `layers`; `dropout` within; `drop`, the share of components hidden at the input; `noise`
    added to the input in training, in units of its spread.
    """

    processor = "vector"

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        hidden: int = 128,
        layers: int = 1,
        dropout: float = 0.3,
        drop: float = 0.3,
        noise: float = 0.1,
    ):
        super().__init__(facts, dim)
        self.hidden = hidden
        self.layers = layers
        self.dropout = dropout
        self.drop = drop
        self.noise = noise
        sizes = [facts["width"], *[hidden] * layers]
        steps: list[nn.Module] = []
        for i, o in pairwise(sizes):
            steps += [nn.Linear(i, o), nn.GELU(), nn.Dropout(dropout)]
        self.input = nn.Dropout(drop)
        self.deep = nn.Sequential(*steps, nn.Linear(sizes[-1], dim))
        self.linear = nn.Linear(facts["width"], dim)
        self.norm = nn.LayerNorm(dim)

    def recipe(self) -> dict[str, Any]:
        return {"epochs": 15, "batch": 128, "lr": 1e-3, "weight_decay": 0.05}

    def augment(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        vector = inputs["vector"]
        return {"vector": vector + self.noise * vector.new_empty(vector.shape).normal_()}

    def hideable(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Runs of neighbouring components, at most 32."""
        width = inputs["vector"].shape[1]
        return inputs["vector"].new_ones((len(inputs["vector"]), -(-width // -(-width // RUNS))), dtype=torch.bool)

    def hide(self, inputs: Mapping[str, Tensor], hidden: Tensor) -> tuple[dict[str, Tensor], list[Held]]:
        """Hidden components are zero, the mean of standardised ones."""
        vector = inputs["vector"].float()
        width = vector.shape[1]
        step = -(-width // RUNS)
        where = hidden.repeat_interleave(step, 1)[:, :width]
        runs = [F.pad(x, (0, -width % step)).unflatten(1, (-1, step)) for x in (vector, where)]
        return {**inputs, "vector": vector.masked_fill(where, 0.0)}, [Held(*runs)]

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        vector = self.input(inputs["vector"].float())
        return Tokens.from_vector(self.norm(self.linear(vector) + self.deep(vector)))


class VectorPlain(Encoder):
    """The vector as it is, one token a row: embeddings made elsewhere, to be aligned or fused without a tower.

    Nothing is trained; the width is the vector's own.
    """

    processor = "vector"

    def __init__(self, facts: Mapping[str, Any], dim: int):
        super().__init__(facts, dim)
        self.dim = facts["width"]

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        return Tokens.from_vector(inputs["vector"].float())
