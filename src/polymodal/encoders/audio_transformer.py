"""A Transformer on patches of log-mel spectrograms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.audio import MOST_TOKENS, SpectrogramEncoder, SpottedPool, coarser
from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.precision import training_precision

HEIGHT = 2  # rows of patches: low and high bands


class AudioTransformer(SpectrogramEncoder):
    """Transformer over overlapping patches of the spectrogram (AST, Gong, Chung & Glass 2021), small and from
    scratch.

    Patches lie in two rows (low and high bands) of at most 16 columns, each patch twice as wide as its step. After
    `layers` blocks of width `width` the rows of a column are joined to one token. `where` is a token's middle in
    seconds; `pooled` is a weighted mean, the weights learned.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        width: int = 96,
        layers: int = 3,
        mels: int = 40,
        shift: float = 0.15,
        mask: float = 0.2,
        mix: float = 0.3,
    ):
        super().__init__(facts, dim, mels=mels, shift=shift, stretch=0.0, warp=0.0, mask=mask, mix=mix)
        self.width, self.layers = width, layers
        step = -(-self.frames // MOST_TOKENS)
        columns = -(-self.frames // step)
        high = -(-mels // HEIGHT)
        # Enough padding that the columns cover every frame and the rows every band.
        self.patch = nn.Conv2d(1, width, (high, 2 * step), stride=(high, step), padding=(0, step))
        self.pad = (0, columns * step - self.frames, 0, HEIGHT * high - mels)
        self.columns = columns
        self.place = nn.Parameter(0.02 * torch.randn(HEIGHT * columns, width))
        self.blocks = nn.ModuleList(TransformerBlock(width, max(1, width // 32), dropout=0.1) for _ in range(layers))
        self.norm = nn.LayerNorm(HEIGHT * width)
        self.out = nn.Linear(HEIGHT * width, dim)
        self.pool = SpottedPool(dim, self.seconds)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        picture, real = self.picture(inputs)
        patches = self.patch(nn.functional.pad(picture, self.pad))[..., : self.columns]
        x = patches.flatten(2).transpose(1, 2) + self.place
        columns = coarser(nn.functional.pad(real, self.pad[:2]), self.columns)
        mask = columns.repeat(1, HEIGHT)
        for block in self.blocks:
            x = block(x, mask)
        x = x.unflatten(1, (HEIGHT, self.columns)).transpose(1, 2).flatten(2)
        return self.pool(self.out(self.norm(x)), columns)

    def recipe(self) -> dict[str, Any]:
        return {"lr": 1e-3, "epochs": 20, "batch": 64, "weight_decay": 0.05, "precision": training_precision()}
