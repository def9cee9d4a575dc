"""Attention over streams."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from polymodal.core.types import Tokens, presence
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_dropout
from polymodal.nn.layers.attention import MultiHeadAttention
from polymodal.nn.layers.block import FeedForward
from polymodal.nn.layers.streams import Project


class Attention(Fusion):
    """The pooled vectors are K tokens; a learned query attends to those that are there (pooling by attention, Lee et
    al. 2019).

    Row by row, each of `heads` heads decides anew how much each stream counts. A feed-forward part of `expansion` ·
    dim units follows. Raises `BadArgument` when `dim` is no multiple of `heads`.
    """

    def __init__(
        self, widths: Mapping[str, int], dim: int, *, heads: int = 4, expansion: float = 2.0, dropout: float = 0.1
    ):
        super().__init__(widths, dim)
        self.heads = heads
        self.expansion = expansion
        self.dropout = dropout
        self.drop = nn.Dropout(check_dropout(dropout))
        self.project = Project(self.widths.values(), dim)
        self.norm = nn.LayerNorm(dim)
        self.stream = nn.Parameter(torch.randn(len(self.names), dim) * 0.1)
        self.query = nn.Parameter(torch.randn(dim))
        self.attention = MultiHeadAttention(dim, heads)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = FeedForward(dim, expansion=expansion, dropout=dropout)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        tokens = self.project([self.drop(s.pooled) for s in streams.values()])
        tokens = self.norm(tokens) + self.stream
        pooled = self.attention(self.query.expand(tokens.shape[0], 1, -1), present, tokens)[:, 0]
        return Tokens.from_vector(pooled + self.feed(self.feed_norm(pooled)), present.any(1))
