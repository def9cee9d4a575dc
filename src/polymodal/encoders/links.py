"""Encoder of a row's neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.base import Encoder
from polymodal.nn.graph import GraphBlock


class LinksGraph(Encoder):
    """A graph network one step deep (Veličković et al. 2018; Hamilton, Ying, Leskovec 2017): a row hears its neighbours.

    One token a neighbour, `where` its weight. The pooled vector is the row's own node, a learned vector and how many
    and how strong its neighbours are, after it has heard them (`messages`: "gat", "gatv2" or "gated", see
    `nn.graph`) with the logarithms of the weights, times a learned gain, added to the scores. In training each
    neighbour is hidden with probability `drop`, never a row's last.
    """

    processor = "links"

    def __init__(
        self, facts: Mapping[str, Any], dim: int, *, messages: str = "gat", heads: int = 4, dropout: float = 0.3,
        drop: float = 0.2,
    ):  # fmt: skip
        super().__init__(facts, dim)
        self.messages = messages
        self.heads = heads
        self.dropout = dropout
        self.drop = drop
        self.map = nn.Sequential(nn.Dropout(dropout), nn.Linear(facts["width"], dim))
        self.own = nn.Linear(2, dim)
        self.gain = nn.Parameter(torch.ones(1, heads, 1, 1))
        self.block = GraphBlock(dim, heads, messages=messages, dropout=dropout)
        self.norm = nn.LayerNorm(dim)

    def recipe(self) -> dict[str, Any]:
        return {"epochs": 20, "batch": 128, "lr": 1e-3, "weight_decay": 0.05}

    def augment(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        mask = inputs["mask"]
        keep = mask & (torch.rand(mask.shape, device=mask.device) >= self.drop)
        return {**inputs, "mask": torch.where(keep.any(1, keepdim=True), keep, mask)}

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        mask = inputs["mask"]
        weight = torch.where(mask, inputs["weight"], 0.0)
        neighbours = self.map(torch.where(mask[..., None], inputs["vector"].float(), 0.0))
        strength = torch.stack([mask.sum(1).float(), weight.sum(1)], 1).log1p()
        nodes = torch.cat([self.own(strength)[:, None], neighbours], 1)
        edges = nn.functional.pad(mask, (1, 0))[:, None]  # the row's own node alone listens, and not to itself
        bias = nn.functional.pad(weight.clamp(min=1e-6).log(), (1, 0))[:, None, None] * self.gain
        own = self.norm(self.block(nodes, edges, bias)[:, 0])
        return Tokens(self.norm(neighbours), mask, own, weight[..., None])
