"""A Transformer on patches of series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.series import MOST_TOKENS, SeriesEncoder
from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.layers.segment import segment_mean


class SeriesPatch(SeriesEncoder):
    """Patch Transformer (PatchTST, Nie et al. 2023): patches of one channel are its tokens, all channels share the
    weights.

    Patches overlap by half, at most 16 a channel. `width` and `layers` are the Transformer's; a patch's channels are
    joined by one linear layer at the end. The level of a series is kept (the original removes it, to forecast).
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        width: int = 48,
        layers: int = 2,
        dropout: float = 0.1,
        jitter: float = 0.05,
        scale: float = 0.1,
    ):
        super().__init__(facts, dim, jitter=jitter, scale=scale)
        self.width, self.layers, self.dropout = width, layers, dropout
        self.step = -(-self.length // MOST_TOKENS)
        self.patches = -(-self.length // self.step)
        self.patch = nn.Linear(4 * self.step, width)  # two steps of values, and whether they were measured
        self.place = nn.Parameter(0.02 * torch.randn(self.patches, width))
        self.blocks = nn.ModuleList(
            TransformerBlock(width, max(1, width // 16), dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(self.channels * width, dim)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        x, real = self.prepared(inputs)
        rows, channels = x.shape[0], self.channels
        x = F.pad(x, (0, 0, self.step // 2, (self.patches + 1) * self.step - x.shape[1] - self.step // 2))
        x = x.unfold(1, 2 * self.step, self.step)  # [B, patches, 2 C, 2 steps], values before flags
        x = x.unflatten(2, (2, channels)).permute(0, 3, 1, 2, 4).flatten(3)  # [B, C, patches, 4 steps]
        x = (self.patch(x) + self.place).flatten(0, 1)
        _, mask, _ = segment_mean(real[..., None].float(), real, MOST_TOKENS)
        seen = mask.repeat_interleave(channels, 0)
        for block in self.blocks:
            x = block(x, seen)
        x = self.norm(x).unflatten(0, (rows, channels)).transpose(1, 2).flatten(2)
        return self.tokens(self.out(x), mask)

    def recipe(self) -> dict[str, Any]:
        return {"lr": 1e-3, "epochs": 30, "batch": 64, "weight_decay": 0.01}
