"""From tokens of any stream to the few vectors that a language model reads before its words."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument, suggest
from polymodal.nn.check import check_count
from polymodal.nn.layers.block import TransformerBlock


class Projector(nn.Module, ABC):
    """Tokens [B, S, context_width] and their mask to [B, P, width] and [B, P] bool; nothing seen gives nothing."""

    @abstractmethod
    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""

    @abstractmethod
    def shares(self, context: Tensor, mask: Tensor) -> Tensor:
        """How much of each vector came from each token, [B, P, S]: 1 in sum over the tokens where it came from any."""


class ShuffleProjector(Projector):
    """Pixel shuffle, then one linear map (as SmolVLM and nanoVLM): `factor` x `factor` neighbours of a square grid of
    tokens become one vector; with 1 each token does, and the tokens need be no grid.

    Raises `BadArgument` for tokens that are no square grid whose side `factor` divides.
    """

    def __init__(self, context_width: int, width: int, *, factor: int = 1):
        super().__init__()
        self.factor = check_count("factor", factor)
        self.norm = nn.LayerNorm(context_width)
        self.map = nn.Linear(context_width * factor**2, width)

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.where(mask[..., None], self.norm(context), 0.0)
        return self.map(self._gathered(x).flatten(2)), self._gathered(mask[..., None]).flatten(2).any(2)

    def shares(self, context: Tensor, mask: Tensor) -> Tensor:
        each = torch.diag_embed(mask.float())  # [B, S, S]: of each token, where it is
        total = self._gathered(each).sum(2)
        return total / total.sum(-1, keepdim=True).clamp(min=1)

    def _gathered(self, x: Tensor) -> Tensor:
        """[B, S, D] to [B, S / factor², factor², D]."""
        if self.factor == 1:
            return x[:, :, None]
        side = math.isqrt(x.shape[1])
        if side**2 != x.shape[1] or side % self.factor:
            raise BadArgument(
                f"A pixel shuffle by {self.factor} needs a square grid of tokens whose side {self.factor} divides; got "
                f"{x.shape[1]} tokens. Choose the factor 1, another number of tokens, or the perceiver."
            )
        parts = side // self.factor
        grid = x.unflatten(1, (parts, self.factor, parts, self.factor))
        return grid.transpose(2, 3).flatten(3, 4).flatten(1, 2)


class PerceiverProjector(Projector):
    """`latents` learned queries attend to the tokens in `depth` blocks (Perceiver resampler, Alayrac et al. 2022)."""

    def __init__(self, context_width: int, width: int, *, latents: int = 16, depth: int = 2, heads: int = 4):
        super().__init__()
        self.latents = check_count("latents", latents)
        self.depth = check_count("depth", depth)
        dim = -(-context_width // heads) * heads
        self.enter = nn.Sequential(nn.LayerNorm(context_width), nn.Linear(context_width, dim))
        self.queries = nn.Parameter(torch.randn(latents, dim) * 0.5)
        self.blocks: Any = nn.ModuleList(TransformerBlock(dim, heads) for _ in range(depth))
        self.map = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, width))

    def forward(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x, seen = self.queries.expand(len(mask), -1, -1), self.enter(context)
        for block in self.blocks:
            x = block(x, mask, seen)
        return self.map(x), mask.any(1, keepdim=True).expand(-1, self.latents)

    def shares(self, context: Tensor, mask: Tensor) -> Tensor:
        """Of the last block's attention, the mean over its heads."""
        x, seen = self.queries.expand(len(mask), -1, -1), self.enter(context)
        *before, last = self.blocks
        for block in before:
            x = block(x, mask, seen)
        return last.attention.weights(last.norm(x), mask, last.norm(seen)).mean(1)


PROJECTORS = {"shuffle": ShuffleProjector, "perceiver": PerceiverProjector}


def projector(kind: str, context_width: int, width: int, *, factor: int, latents: int) -> Projector:
    """ "shuffle" with its `factor`, or "perceiver" with its `latents`. Raises `BadArgument` for another kind."""
    if kind not in PROJECTORS:
        raise BadArgument(f"Unknown projector {kind!r}.{suggest(kind, PROJECTORS)}")
    if kind == "shuffle":
        return ShuffleProjector(context_width, width, factor=factor)
    return PerceiverProjector(context_width, width, latents=latents)
