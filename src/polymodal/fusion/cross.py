"""Cross-attention between the streams' token sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from polymodal.core.types import Tokens, presence
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.layers.streams import Join, LineUp


class Cross(Fusion):
    """Every token of every stream attends to the tokens of all other streams.

    A simplification of Lu et al. (2019) and Tsai et al. (2019): one set of weights serves all pairs of streams, which
    are told apart by learned stream vectors, so that the cost grows with the tokens and not with the pairs. Each
    stream's enriched pooled vector and the mean of its enriched tokens are then joined by a linear map. A stream
    alone in its row has nothing to attend to. A stream of more than `tokens` tokens is cut into that many stretches,
    each averaged: the cost is nearly all in the tokens. Raises `BadArgument` when `dim` is no multiple of `heads`.
    """

    level: ClassVar[str] = "hybrid"
    reads_tokens: ClassVar[bool] = True

    def __init__(
        self, widths: Mapping[str, int], dim: int, *, tokens: int = 8, layers: int = 1, heads: int = 4,
        expansion: float = 1.0, dropout: float = 0.1,
    ):  # fmt: skip
        super().__init__(widths, dim)
        self.tokens = tokens
        self.layers = layers
        self.heads = heads
        self.expansion = expansion
        self.dropout = dropout
        check_dropout(dropout)
        self.line = LineUp(list(self.widths.values()), dim, tokens=check_count("tokens", tokens))
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, heads, expansion=expansion, dropout=dropout)
            for _ in range(check_count("layers", layers))
        )
        self.norm = nn.LayerNorm(dim)
        self.join = Join([2 * dim] * len(self.names), dim, dropout=dropout)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        given = list(streams.values())
        present = presence(given)
        x, mask, owner, starts = self.line(given)
        others = mask[:, None] & (owner[:, None] != owner)
        for block in self.blocks:
            x = block(x, others)
        x = torch.where(mask[..., None], self.norm(x), 0.0)
        belongs = (owner == torch.arange(len(given), device=x.device)[:, None]).to(x.dtype)
        count = belongs @ mask.to(x.dtype).unsqueeze(-1)
        means = (belongs @ x) / count.clamp(min=1)
        vectors = torch.cat([x[:, torch.tensor(starts, device=x.device)], means], -1)
        return Tokens(x, mask, self.join(vectors.unbind(1), present))
