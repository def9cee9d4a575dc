"""Multimodal Transformer: one cross-modal Transformer for every ordered pair of streams."""

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


class MulT(Fusion):
    """MulT (Tsai et al. 2019): for every target i and source j ≠ i a Transformer of its own, i ← j.

    Its queries are the tokens of i as they develop, its keys and values those of j as they came:
    Z_ij⁰ = Z_i, Z_ijˡ = block(Z_ijˡ⁻¹, context=Z_j). What a target heard from all sources, side by side
    [Z_i1; …; Z_iK], goes through a Transformer of self-attention (K - 1) · dim wide; the targets' vectors are joined
    by a linear map. `layers` are those of each Transformer. A source that is absent is not heard; an absent target
    is replaced by a learned vector. Here each stream's pooled vector leads its tokens and is what is read at the end,
    where the paper reads the last token.

    All pairs are computed at once, padded to the longest stream. A stream of more than `tokens` tokens is cut into that
    many stretches, each averaged. Raises `BadArgument` when `dim` is no multiple of `heads`.
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
        count = len(self.names)
        pairs = [(i, j) for i in range(count) for j in range(count) if j != i]
        for name, numbers in (("targets", [i for i, _ in pairs]), ("sources", [j for _, j in pairs])):
            self.register_buffer(name, torch.tensor(numbers, dtype=torch.int64), persistent=False)
        heard = max(1, count - 1)  # sources of a target; a stream alone attends to itself only
        self.line = LineUp(list(self.widths.values()), dim, tokens=check_count("tokens", tokens))
        self.crossing = nn.ModuleList(
            TransformerBlock(dim, heads, expansion=expansion, dropout=dropout, groups=len(pairs))
            for _ in range(check_count("layers", layers) if pairs else 0)
        )
        self.own = nn.ModuleList(
            TransformerBlock(heard * dim, heard * heads, expansion=expansion, dropout=dropout, groups=count)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(heard * dim)
        self.join = Join([heard * dim] * count, dim, dropout=dropout)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        x, mask = self.line(list(streams.values())).stacked()
        count, rows, length, _ = x.shape
        if self.crossing:
            heard, context = x[self.targets].flatten(0, 1), x[self.sources].flatten(0, 1)
            real = mask[self.sources].flatten(0, 1)
            for block in self.crossing:
                heard = block(heard, real, context)
            x = heard.view(count, count - 1, rows, length, -1).permute(0, 2, 3, 1, 4)
        x, real = x.reshape(count * rows, length, -1), mask.flatten(0, 1)
        for block in self.own[:-1]:
            x = block(x, real)
        led = self.norm(self.own[-1](x[:, :1], real, x)).view(count, rows, -1)
        led = torch.where(present.T[..., None], led, 0.0)
        return Tokens.from_vector(self.join(led.unbind(0), present), present.any(1))
