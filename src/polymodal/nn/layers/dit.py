"""A Transformer over patches of a picture, whose every block is turned by a condition."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.layers.position import sinusoids

PATCH = 4  # pixels of a patch's side
TIMES = 4  # units, for each channel of a U-Net of the same name


class DiT(nn.Module):
    """Pictures [B, C, H, W] to pictures at times of a path, given a condition (Peebles & Xie 2023, adaLN-Zero).

    `shape` is that of a picture. Its patches of 4 × 4 pixels are tokens of 4 · `width` units, which know their place;
    2 · (`depth` + 1) blocks are turned by time and condition [B, `condition`]. Where `context` is the width of the
    condition's tokens, these stand before the patches. Every block starts as the identity, and the last map at zero.
    Otherwise as `UNet`, in whose place it may stand.
    """

    places: Tensor

    def __init__(self, shape: Sequence[int], width: int, *, depth: int, condition: int, context: int = 0):
        super().__init__()
        channels, *sides = shape
        self.sides = sides
        self.grid = [-(-side // PATCH) for side in sides]
        units, heads = TIMES * width, math.gcd(4, width)
        self.wave = 2 * width
        self.turn = nn.Sequential(nn.Linear(self.wave + condition, units), nn.SiLU())
        self.first = nn.Conv2d(channels, units, PATCH, stride=PATCH)
        self.told = nn.Linear(context, units) if context else None
        self.blocks = nn.ModuleList([TurnedBlock(units, heads, units) for _ in range(2 * (depth + 1))])
        self.norm, self.turned = nn.LayerNorm(units, elementwise_affine=False), nn.Linear(units, 2 * units)
        self.last = nn.Linear(units, channels * PATCH * PATCH)
        for still in (self.turned, self.last):
            nn.init.zeros_(still.weight)
            nn.init.zeros_(still.bias)
        down, across = (sinusoids(torch.arange(count), units // 2) for count in self.grid)
        grid = down[:, None].expand(-1, len(across), -1), across[None].expand(len(down), -1, -1)
        self.register_buffer("places", torch.cat(grid, -1).flatten(0, 1), persistent=False)

    def forward(
        self, z: Tensor, t: Tensor, condition: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """`z` [B, C, H, W] at times `t` [B], 0 to 1; `context` [B, T, D] with `mask` [B, T]: tokens to attend to."""
        waves = sinusoids(t.float() * 1000, self.wave).to(condition.dtype)
        turn = self.turn(torch.cat([waves, condition], 1))
        high, wide = ((PATCH * count - side) for count, side in zip(self.grid, self.sides))
        x = self.first(F.pad(z, (0, wide, 0, high))).flatten(2).transpose(1, 2)
        x = x + self.places.to(x.dtype)
        patches, seen = x.shape[1], None
        if self.told is not None and context is not None and mask is not None:
            x = torch.cat([self.told(torch.where(mask[..., None], context, 0.0)), x], 1)
            seen = torch.cat([mask, mask.new_ones(len(mask), patches)], 1)
        for block in self.blocks:
            x = block(x, turn, seen)
        scale, shift = self.turned(turn)[:, None].chunk(2, -1)
        x = self.last(self.norm(x[:, -patches:]) * (1 + scale) + shift)
        x = x.unflatten(1, self.grid).unflatten(-1, (-1, PATCH, PATCH)).permute(0, 3, 1, 4, 2, 5)
        return x.flatten(4).flatten(2, 3)[..., : self.sides[0], : self.sides[1]]


class TurnedBlock(TransformerBlock):
    """A Transformer's block whose two branches are scaled, shifted and weighed by `turn` [B, D], the weights at first
    zero: adaLN-Zero (Peebles & Xie 2023)."""

    def __init__(self, dim: int, heads: int, turn: int):
        super().__init__(dim, heads, expansion=4.0)
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.feed_norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.turn = nn.Linear(turn, 6 * dim)
        nn.init.zeros_(self.turn.weight)
        nn.init.zeros_(self.turn.bias)

    def forward(self, x: Tensor, turn: Tensor, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """`x` [B, L, dim] to [B, L, dim]; places that are not in `mask` [B, L] are not attended to."""
        scale, shift, weight, *others = self.turn(turn)[:, None].chunk(6, -1)
        x = x + weight * self.attention(self.norm(x) * (1 + scale) + shift, mask)
        scale, shift, weight = others
        return x + weight * self.feed(self.feed_norm(x) * (1 + scale) + shift)
