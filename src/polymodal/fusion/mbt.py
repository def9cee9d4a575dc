"""Multimodal bottleneck Transformer: streams exchange only through a few tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.types import Tokens, presence
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.layers.streams import Join, LineUp


class Mbt(Fusion):
    """MBT (Nagrani et al. 2021): each stream has a Transformer of its own; they meet in `bottlenecks` shared tokens.

    In every layer stream k attends to itself and to the shared tokens S, [Z_kˡ⁺¹; S_k] = block_k([Z_kˡ; Sˡ]), and
    Sˡ⁺¹ is the mean of S_k over the streams that are there. So what passes between streams must fit into those few
    tokens, and it reaches the others a layer later: with `layers=1` nothing is exchanged before the end. Each stream's
    pooled vector leads its tokens and is read after the last layer, where the paper has a class token; they are joined
    by a linear map.

    All streams are computed at once, padded to the longest. A stream of more than `tokens` tokens is cut into that many
    stretches, each averaged. Raises `BadArgument` when `dim` is no multiple of `heads`.
    """

    level: ClassVar[str] = "hybrid"
    reads_tokens: ClassVar[bool] = True

    def __init__(
        self, widths: Mapping[str, int], dim: int, *, bottlenecks: int = 4, tokens: int = 8, layers: int = 2,
        heads: int = 4, expansion: float = 1.0, dropout: float = 0.1,
    ):  # fmt: skip
        super().__init__(widths, dim)
        self.bottlenecks = bottlenecks
        self.tokens = tokens
        self.layers = layers
        self.heads = heads
        self.expansion = expansion
        self.dropout = dropout
        check_dropout(dropout)
        self.line = LineUp(list(self.widths.values()), dim, tokens=check_count("tokens", tokens))
        self.start = nn.Parameter(torch.randn(check_count("bottlenecks", bottlenecks), dim) * 0.1)
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, heads, expansion=expansion, dropout=dropout, groups=len(self.names))
            for _ in range(check_count("layers", layers))
        )
        self.norm = nn.LayerNorm(dim)
        self.join = Join([dim] * len(self.names), dim, dropout=dropout)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        x, mask = self.line(list(streams.values())).stacked()
        count, rows, length, _ = x.shape
        there = present.T[..., None, None]  # [K, B, 1, 1]
        real = F.pad(mask, (0, self.bottlenecks), value=True).flatten(0, 1)
        shared = self.start.to(x.dtype).expand(rows, -1, -1)

        def with_shared(own: Tensor) -> Tensor:
            return torch.cat([own, shared.expand(count, -1, -1, -1)], 2).flatten(0, 1)

        for block in self.blocks[:-1]:
            told = block(with_shared(x), real).view(count, rows, length + self.bottlenecks, -1)
            x, shared = told[:, :, :length], torch.where(there, told[:, :, length:], 0.0).sum(0)
            shared = shared / there.sum(0).clamp(min=1)
        whole = with_shared(x)
        led = self.norm(self.blocks[-1](whole[:, :1], real, whole)).view(count, rows, -1)
        led = torch.where(there[:, :, 0], led, 0.0)
        return Tokens.from_vector(self.join(led.unbind(0), present), present.any(1))
