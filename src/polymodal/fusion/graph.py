"""Graph fusion: tokens of all streams are nodes that send one another messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from polymodal.core.types import Tokens
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.layers.graph import GraphBlock
from polymodal.nn.layers.pool import AttentionPool
from polymodal.nn.layers.streams import LineUp


class Graph(Fusion):
    """Every token, and every stream's pooled vector, is a node; `rounds` rounds of messages; an attentive mean of all.

    Edges are learned from the nodes they join (`messages`: "gat", "gatv2" or "gated", see `nn.graph`) plus a learned
    score for each ordered pair of streams and head: messages run within a stream and between streams, and differ. A
    stream of more than `tokens` tokens is cut into that many stretches, each averaged: the cost grows with the square
    of the nodes. Raises `BadArgument` when `dim` is no multiple of `heads`.
    """

    level: ClassVar[str] = "hybrid"
    reads_tokens: ClassVar[bool] = True

    def __init__(
        self, widths: Mapping[str, int], dim: int, *, messages: str = "gatv2", rounds: int = 2,
        tokens: int = 4, heads: int = 4, expansion: float = 1.0, dropout: float = 0.1,
    ):  # fmt: skip
        super().__init__(widths, dim)
        self.messages = messages
        self.rounds = rounds
        self.tokens = tokens
        self.heads = heads
        self.expansion = expansion
        self.dropout = dropout
        check_dropout(dropout)
        self.line = LineUp(list(self.widths.values()), dim, tokens=check_count("tokens", tokens))
        self.blocks = nn.ModuleList(
            GraphBlock(dim, heads, messages=messages, expansion=expansion, dropout=dropout)
            for _ in range(check_count("rounds", rounds))
        )
        self.pairs = nn.Parameter(torch.zeros(heads, len(self.names), len(self.names)))
        self.norm = nn.LayerNorm(dim)
        self.read = AttentionPool(dim)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        x, mask, owner, _ = self.line(list(streams.values()))
        edges = mask[:, None] & mask[:, :, None]
        bias = self.pairs[:, owner[:, None], owner]
        for block in self.blocks:
            x = block(x, edges, bias)
        x = torch.where(mask[..., None], self.norm(x), 0.0)
        return Tokens(x, mask, self.read(x, mask))
