"""A small convolutional U-Net whose every block is turned by a condition."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.nn.layers.attention import MultiHeadAttention
from polymodal.nn.layers.position import index_features, sinusoids

GROUPS = 8  # of normalised channels, at most
LEAST_SIDE = 4  # pixels; below, no level halves any more
ATTENDED = 256  # places, at most, that attend to one another
WIDEST = 2  # times the width of the full side


class UNet(nn.Module):
    """Fields [B, C, H, W] to such at times of a path, given a condition (Ronneberger et al. 2015).

    `shape` is C, H and W; `width` channels at the full sides, twice as many at each of `depth` halvings, as far as
    these allow. Blocks are residual, with group normalisation (Wu & He 2018) turned by time and condition
    [B, `condition`]: FiLM (Perez et al. 2018). In the middle, places attend to one another and, where `context` is the
    width of the condition's tokens, to these. The last map starts at zero.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, *, depth: int, condition: int, context: int = 0):
        super().__init__()
        channels, sides = shape[0], [shape[1:]]
        while len(sides) <= depth and min(sides[-1]) // 2 >= LEAST_SIDE:
            sides.append((-(-sides[-1][0] // 2), -(-sides[-1][1] // 2)))
        widths = [width * min(2**level, WIDEST) for level in range(len(sides))]
        self.wave = 2 * width
        self.turn = nn.Sequential(nn.Linear(self.wave + condition, 4 * width), nn.SiLU())
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.down, self.shrink, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        held = width
        for own in widths:
            self.down.append(Block(held, own, 4 * width))
            held = own
        for own in widths[:-1]:
            self.shrink.append(nn.Conv2d(own, own, 3, stride=2, padding=1))
        self.middle = nn.ModuleList([Block(held, held, 4 * width), Block(held, held, 4 * width)])
        self.look = Look(held, context, within=math.prod(sides[-1]) <= ATTENDED)
        for own in reversed(widths):
            self.up.append(Block(held + own, own, 4 * width))
            held = own
        self.last = nn.Sequential(norm(width), nn.SiLU(), nn.Conv2d(width, channels, 3, padding=1))
        nn.init.zeros_(self.last[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.last[-1].bias)  # type: ignore[arg-type]

    def forward(
        self, z: Tensor, t: Tensor, condition: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """`z` [B, C, H, W] at times `t` [B], 0 to 1; `context` [B, T, D] with `mask` [B, T]: tokens to attend to."""
        waves = sinusoids(t.float() * 1000, self.wave).to(condition.dtype)
        turn = self.turn(torch.cat([waves, condition], 1))
        x, kept = self.first(z), []
        for level, block in enumerate(self.down):
            x = block(x, turn)
            kept.append(x)
            x = self.shrink[level](x) if level < len(self.shrink) else x
        x = self.middle[1](self.look(self.middle[0](x, turn), context, mask), turn)
        for block, beside in zip(self.up, reversed(kept)):
            if x.shape[-2:] != beside.shape[-2:]:
                x = F.interpolate(x, beside.shape[-2:], mode="nearest")
            x = block(torch.cat([x, beside], 1), turn)
        return self.last(x)


class Block(nn.Module):
    """Two convolutions behind group normalisations, the second of them turned by `turn` [B, D]; residual.

    With `still` the second starts at zero.
    """

    def __init__(self, given: int, width: int, turn: int, *, still: bool = True):
        super().__init__()
        self.norms = nn.ModuleList([norm(given), norm(width)])
        self.maps = nn.ModuleList([nn.Conv2d(given, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)])
        self.film = nn.Linear(turn, 2 * width)
        self.straight = nn.Conv2d(given, width, 1) if given != width else nn.Identity()
        if still:
            nn.init.zeros_(self.maps[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor, turn: Tensor) -> Tensor:
        """[B, `given`, H, W] to [B, `width`, H, W]."""
        scale, shift = self.film(turn)[..., None, None].chunk(2, 1)
        h = self.maps[0](F.silu(self.norms[0](x)))
        h = self.maps[1](F.silu(self.norms[1](h) * (1 + scale) + shift))
        return self.straight(x) + h


class Look(nn.Module):
    """Places of a map [B, D, H, W] attend to one another (`within`), then to tokens of width `context` (0: to none), by
    what they hold and where they are, so that the order of words can say what belongs where."""

    def __init__(self, width: int, context: int, *, within: bool):
        super().__init__()
        heads = math.gcd(4, width)
        self.norm = nn.LayerNorm(width)
        self.within = MultiHeadAttention(width, heads) if within else None
        self.outward = MultiHeadAttention(width, heads, context_dim=context) if context else None

    def forward(self, x: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        places = x.flatten(2).transpose(1, 2)
        if self.within is not None:
            places = places + self.within(self.norm(places))
        if self.outward is not None and context is not None:
            high, wide, half = *x.shape[2:], x.shape[1] // 2
            rows, columns = index_features(high, half, x.device), index_features(wide, x.shape[1] - half, x.device)
            where = torch.cat([rows.repeat_interleave(wide, 0), columns.repeat(high, 1)], 1).to(places.dtype)
            places = places + self.outward(self.norm(places) + where, mask, context)
        return places.transpose(1, 2).reshape(x.shape)


def norm(width: int) -> nn.GroupNorm:
    """Group normalisation of at most `GROUPS` groups."""
    return nn.GroupNorm(math.gcd(GROUPS, width), width)
