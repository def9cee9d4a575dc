"""Attention of every stream to every stream, one vector each."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens, presence
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_dropout
from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.layers.pool import masked_mean
from polymodal.nn.layers.streams import Project


class KxK(Fusion):
    """A weight for every ordered pair of modalities: stream i hears stream j as much as α_ij says.

    h_i = W_i x_i + e_i, and per head α_ij = softmax_j(q(h_i) · k(h_j) / √d) over the streams j that are there, i itself
    among them: scaled dot-product attention (Vaswani et al. 2017) over K tokens. Stream i becomes
    h_i + Σ_j α_ij v(h_j), a feed-forward part of `expansion` · dim units follows, and the result is the mean over the
    streams i that are there. `weights` shows the K × K table of each row. Raises `BadArgument` when `dim` is no
    multiple of `heads`.
    """

    def __init__(
        self, widths: Mapping[str, int], dim: int, *, heads: int = 4, expansion: float = 1.0, dropout: float = 0.1
    ):
        super().__init__(widths, dim)
        self.heads = heads
        self.expansion = expansion
        self.dropout = dropout
        self.drop = nn.Dropout(check_dropout(dropout))
        self.project = Project(self.widths.values(), dim)
        self.stream = nn.Parameter(torch.randn(len(self.names), dim) * 0.1)
        self.block = TransformerBlock(dim, heads, expansion=expansion, dropout=dropout)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        heard = self.block(self._tokens(streams), present)
        return Tokens.from_vector(masked_mean(heard, present), present.any(1))

    def weights(self, streams: Mapping[str, Tokens]) -> Tensor:
        """α, [B, heads, K, K] in the order of `self.names`: a row adds up to 1 over the streams present."""
        given = {name: streams[name].cleared() for name in self.names}
        return self.block.attention.weights(self.block.norm(self._tokens(given)), presence(given.values()))

    def _tokens(self, streams: Mapping[str, Tokens]) -> Tensor:
        return self.project([self.drop(s.pooled) for s in streams.values()]) + self.stream
