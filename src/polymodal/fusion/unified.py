"""One Transformer over the tokens of all streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from polymodal.core.types import Tokens
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.layers.long import check_kind, rule_of, settled
from polymodal.nn.layers.pool import masked_mean
from polymodal.nn.layers.streams import LineUp


class Unified(Fusion):
    """A single-stream Transformer (Chen et al. 2020; Kim et al. 2021): all tokens in one sequence, a class token in
    front.

    Tokens carry their stream and their place, and attend to every real one. In the last of the `layers` only the
    class token does, since nothing else is read from it; its state is the fused vector, and the tokens are those of
    the layer before. With no `layers` tokens stand in one line and nothing mixes them, for heads that do so; the fused
    vector is their mean. A stream of more than `tokens` tokens is cut into that many stretches, each
    averaged.

    For long inputs (a large `tokens`) `attention` may cost in proportion to their number (`nn.long`): "window", where
    a token attends to 64 on either side and to the class token and the streams' pooled vectors, which attend to
    everything; a number, the reach of such a window; or "linear", by kernel feature maps. "auto" is full attention up
    to 512 tokens in all and the window beyond: on one thread of a CPU a training step with the window takes as long as
    one with full attention at about 512 tokens, 0.6 as long at 1024, 0.3 at 2048 and 0.1 at 8192 (benchmarks/long.py).
    Linear attention is quicker still, but it weighs places by another function, so it must be asked for. Raises
    `BadArgument` for any other value, and when `dim` is no multiple of `heads`.
    """

    level: ClassVar[str] = "unified"
    reads_tokens: ClassVar[bool] = True

    def __init__(
        self, widths: Mapping[str, int], dim: int, *, tokens: int = 8, layers: int = 2, heads: int = 4,
        expansion: float = 1.0, attention: str | int = "auto", dropout: float = 0.1,
    ):  # fmt: skip
        super().__init__(widths, dim)
        self.tokens = tokens
        self.layers = layers
        self.heads = heads
        self.expansion = expansion
        self.attention = check_kind(attention)
        self.dropout = dropout
        check_dropout(dropout)
        self.line = LineUp(list(self.widths.values()), dim, tokens=check_count("tokens", tokens))
        if layers == 0:
            return
        self.start = nn.Parameter(torch.randn(dim) * 0.1)
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, heads, expansion=expansion, dropout=dropout)
            for _ in range(check_count("layers", layers))
        )
        self.norm = nn.LayerNorm(dim)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        line = self.line(list(streams.values()))
        if self.layers == 0:
            return Tokens(line.x, line.mask, masked_mean(line.x, line.mask)).cleared()
        attention = settled(self.attention, line.x.shape[1])
        x, mask = line.gathered() if isinstance(attention, int) else (line.x, line.mask)
        rule = rule_of(attention, 1 + len(self.names))
        real = F.pad(mask, (1, 0), value=True)
        x = torch.cat([self.start.to(x.dtype).expand(x.shape[0], 1, -1), x], 1)
        for block in self.blocks[:-1]:
            x = block(x, real, rule=rule)
        answer = self.blocks[-1](x[:, :1], real, x)[:, 0]
        return Tokens(x[:, 1:], mask, self.norm(answer)).cleared()
