"""Gated multimodal unit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.types import Tokens, presence
from polymodal.core.values import check_range
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_dropout
from polymodal.nn.layers.pool import masked_softmax
from polymodal.nn.layers.streams import Join, Project

GATES = ("softmax", "sigmoid")


class Gated(Fusion):
    """Gated multimodal unit (Arevalo et al. 2017): every channel of every stream is let through by a learned gate.

    h_k = tanh(W_k x_k), z = gate(V [x_1; …; x_K] / temperature), the result is Σ_k z_k ⊙ h_k. With `gate="softmax"`
    the gates of a channel add up to 1 over the streams present, which for two streams is the paper's z, 1 - z;
    "sigmoid" is its form for more. A `temperature` below 1 makes the softmax choose more sharply.
    """

    def __init__(
        self, widths: Mapping[str, int], dim: int, *, gate: str = "softmax", temperature: float = 1.0,
        dropout: float = 0.1,
    ):  # fmt: skip
        super().__init__(widths, dim)
        self.gate = gate
        self.temperature = temperature
        self.dropout = dropout
        if gate not in GATES:
            raise BadArgument(f"Unknown gate {gate!r}.{suggest(gate, GATES)}")
        check_range("(0, inf)", temperature=temperature)
        self.drop = nn.Dropout(check_dropout(dropout))
        self.project = Project(self.widths.values(), dim)
        self.gates = Join(list(self.widths.values()), len(self.names) * dim)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        pooled = [self.drop(s.pooled) for s in streams.values()]
        values = self.project(pooled).tanh()
        scores = self.gates(pooled, present).unflatten(1, values.shape[1:]) / self.temperature
        there = present[..., None].expand(scores.shape)
        if self.gate == "softmax":
            gates = masked_softmax(scores, there, dim=1)
        else:
            gates = scores.sigmoid() * there
        return Tokens.from_vector(torch.sum(gates * values, 1), present.any(1))
