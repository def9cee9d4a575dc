"""Perceiver resampling: a fixed number of learned latents reads all tokens of all streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from polymodal.core.types import Tokens
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.layers.streams import LineUp


class Perceiver(Fusion):
    """A Perceiver (Jaegle et al. 2021): `latents` learned vectors attend to every token, then to one another.

    Each of `layers` does both, with weights of its own: Z ← read(Z, context=X), Z ← think(Z), a Transformer block each;
    X stays as it came. The latents are the result's tokens and their mean is the fused vector; as a resampler
    (Alayrac et al. 2022) it thus gives any number of tokens of any streams as the same few. The cost is linear in the
    number of tokens. A stream of more than `tokens` tokens is cut into that many stretches, each averaged. Raises
    `BadArgument` when `dim` is no multiple of `heads`.
    """

    level: ClassVar[str] = "unified"
    reads_tokens: ClassVar[bool] = True

    def __init__(
        self, widths: Mapping[str, int], dim: int, *, latents: int = 4, tokens: int = 64, layers: int = 1,
        heads: int = 4, expansion: float = 1.0, dropout: float = 0.1,
    ):  # fmt: skip
        super().__init__(widths, dim)
        self.latents = latents
        self.tokens = tokens
        self.layers = layers
        self.heads = heads
        self.expansion = expansion
        self.dropout = dropout
        check_dropout(dropout)
        self.line = LineUp(list(self.widths.values()), dim, tokens=check_count("tokens", tokens))
        self.start = nn.Parameter(torch.randn(check_count("latents", latents), dim))
        self.reads, self.thinks = (
            nn.ModuleList(
                TransformerBlock(dim, heads, expansion=expansion, dropout=dropout)
                for _ in range(check_count("layers", layers))
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(dim)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        line = self.line(list(streams.values()))
        z = self.start.to(line.x.dtype).expand(line.x.shape[0], -1, -1)
        for read, think in zip(self.reads, self.thinks):
            z = think(read(z, line.mask, line.x))
        z = self.norm(z)
        there = line.mask.any(1, keepdim=True).expand(-1, self.latents)
        return Tokens(z, there, z.mean(1)).cleared()
