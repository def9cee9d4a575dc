"""Encoder of a row's neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.base import Encoder
from polymodal.nn.layers.graph import GraphBlock

LEAST = 1e-3  # spread of a feature, so that a constant one is not blown up


class LinksGraph(Encoder):
    """A graph network one step deep: the mean of the row's neighbours, and what it hears from them besides.

    The mean is weighted and goes through a linear map (Hamilton, Ying, Leskovec 2017); messages (`messages`: "gat",
    "gatv2" or "gated", see `nn.graph`; Veličković et al. 2018) are heard by a node that knows how many and how strong
    the neighbours are, the logarithms of the weights times a learned gain added to the scores. One token a neighbour,
    `where` its weight. In training each neighbour is hidden with probability `drop`, never a row's last.
    """

    processor = "links"
    centre: Tensor
    spread: Tensor

    def __init__(
        self, facts: Mapping[str, Any], dim: int, *, messages: str = "gat", heads: int = 4, dropout: float = 0.3,
        drop: float = 0.2,
    ):  # fmt: skip
        super().__init__(facts, dim)
        self.messages = messages
        self.heads = heads
        self.dropout = dropout
        self.drop = drop
        self.register_buffer("centre", torch.zeros(facts["width"]))
        self.register_buffer("spread", torch.ones(facts["width"]))
        self.map = nn.Linear(facts["width"], dim)
        self.mean = nn.Linear(dim, dim)
        self.own = nn.Linear(2, dim)
        self.gain = nn.Parameter(torch.ones(1, heads, 1, 1))
        self.block = GraphBlock(dim, heads, messages=messages, dropout=dropout)
        self.norm = nn.LayerNorm(dim)

    def recipe(self) -> dict[str, Any]:
        return {"epochs": 20, "batch": 64, "lr": 2e-3, "weight_decay": 0.05}

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """The mean and spread of neighbours' features, which are far from zero and near to one another."""
        known = inputs["vector"][inputs["mask"]].float()
        if len(known) > 1:
            self.centre.copy_(known.mean(0))
            self.spread.copy_(known.std(0).clamp(min=LEAST))

    def augment(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        mask = inputs["mask"]
        keep = mask & (torch.rand(mask.shape, device=mask.device) >= self.drop)
        return {**inputs, "mask": torch.where(keep.any(1, keepdim=True), keep, mask)}

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        mask = inputs["mask"]
        weight = torch.where(mask, inputs["weight"], 0.0)
        features = (inputs["vector"].float() - self.centre) / self.spread
        neighbours = self.map(torch.where(mask[..., None], features, 0.0))
        strength = torch.stack([mask.sum(1).float(), weight.sum(1)], 1).log1p()
        nodes = torch.cat([self.own(strength)[:, None], neighbours], 1)
        edges = nn.functional.pad(mask, (1, 0))[:, None]  # the row's own node alone listens, and not to itself
        bias = nn.functional.pad(weight.clamp(min=1e-6).log(), (1, 0))[:, None, None] * self.gain
        share = weight / weight.sum(1, keepdim=True).clamp(min=1e-6)
        mean = (share[:, None].to(neighbours.dtype) @ neighbours)[:, 0]
        own = self.norm(self.mean(mean) + self.block(nodes, edges, bias)[:, 0])
        return Tokens(self.norm(neighbours), mask, own, weight[..., None])
