"""Groups of neighbouring points, described by a small network each, and groups of these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.types import Tokens
from polymodal.encoders.base import Held
from polymodal.encoders.points import PointsEncoder
from polymodal.nn.check import check_count
from polymodal.nn.points import farthest, near, taken

MIXING = ("max", "attention")
GROUPED = ("centres", "around", "groups", "beside", "whole")  # what `once` adds


class PointsSet(PointsEncoder):
    """PointNet++ (Qi, Yi, Su & Guibas 2017), small: `centres` points far apart, with the `near` nearest of each, give a
    vector each; `tokens` of these centres far apart, with their nearest, a token each.

    A group's vector is h = max_j MLP([x_j - x_i, f_j]) over its points j around the centre i. With `mixing` `attention`
    it is a weighted sum, the weights a vector for each point (Point Transformer, Zhao et al. 2021):
    h = sum_j softmax_j(g(q f_i - k f_j + d)) * (v f_j + d), d = MLP(x_j - x_i). `width` is that of the first groups;
    the second have twice as many. `pooled` is of what is largest in any token, and of how many points there were.
    `where` holds the centres in metres: ahead, to the left and up.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        centres: int = 64,
        near: int = 16,
        tokens: int = 16,
        width: int = 48,
        mixing: str = "max",
        dropout: float = 0.1,
        rotate: float = 10.0,
        scale: float = 0.0,
        jitter: float = 0.005,
    ):
        super().__init__(facts, dim, rotate=rotate, scale=scale, jitter=jitter)
        if mixing not in MIXING:
            raise BadArgument(f"Unknown mixing {mixing!r}.{suggest(mixing, MIXING)}")
        self.centres, self.near, self.tokens = (
            check_count(name, one) for name, one in (("centres", centres), ("near", near), ("tokens", tokens))
        )
        self.width, self.mixing, self.dropout = check_count("width", width), mixing, dropout
        group = _Attention if mixing == "attention" else _Largest
        self.first, self.second = group(self.channels, width), group(width + 3, 2 * width)
        self.last = nn.Sequential(nn.Linear(2 * width + 3, 2 * width), nn.LayerNorm(2 * width), nn.ReLU())
        self.drop = nn.Dropout(dropout)
        self.out, self.whole = nn.Linear(2 * width, dim), nn.Linear(dim + 1, dim)

    def once(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Which points are grouped."""
        places, _, real = self.scaled(inputs)
        centres, whole = farthest(places, real, min(self.centres, places.shape[1]))
        middles = taken(places, centres)
        groups, new = farthest(middles, whole, min(self.tokens, middles.shape[1]))
        around = near(middles, places, real, self.near)
        beside = near(taken(middles, groups), middles, whole, self.near)
        rest = {name: value for name, value in inputs.items() if name != "present"}
        return {**rest, "centres": centres, "around": around, "groups": groups, "beside": beside, "whole": new}

    def hide(self, inputs: Mapping[str, Tensor], hidden: Tensor) -> tuple[dict[str, Tensor], list[Held]]:
        """As of all clouds; groups are made anew of what is left."""
        rest, held = super().hide(inputs, hidden)
        return {name: value for name, value in rest.items() if name not in GROUPED}, held

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        if "centres" not in inputs:
            inputs = self.once(inputs)
        places, features, real = self.scaled(inputs)
        middles, groups, mask = taken(places, inputs["centres"]), inputs["groups"], inputs["whole"]
        x = self.first(torch.cat([places, features], -1), places, real, inputs["centres"], inputs["around"])
        told = torch.ones_like(middles[..., 0], dtype=torch.bool)  # repeated centres stand for the same points
        x = self.second(torch.cat([middles, x], -1), middles, told, groups, inputs["beside"])
        where = taken(middles, groups)
        x = self.out(self.drop(self.last(torch.cat([where, x], -1))))
        largest = x.masked_fill(~mask[..., None], torch.finfo(x.dtype).min).amax(1)
        total = inputs["total"].to(x.dtype).log1p()[:, None] / 10
        return Tokens(x, mask, self.whole(torch.cat([largest, total], 1)), self.metres(where, inputs))

    def recipe(self) -> dict[str, Any]:
        return {"lr": 2e-3, "epochs": 30, "batch": 32, "weight_decay": 0.05}


class _Group(nn.Module):
    """Abstract: x [B, N, C] of points at `places` [B, N, 3] to [B, S, width], a vector a group of points `around`
    [B, S, K] the `centres` [B, S]."""

    def forward(self, x: Tensor, places: Tensor, real: Tensor, centres: Tensor, around: Tensor) -> Tensor:
        away = taken(places, around) - taken(places, centres)[:, :, None]
        there = taken(real[..., None], around)
        return self.mixed(taken(x, centres), taken(x, around), away, there)

    def mixed(self, own: Tensor, others: Tensor, away: Tensor, there: Tensor) -> Tensor:
        """[B, S, width] of a centre's own [B, S, C], its neighbours' [B, S, K, C], how far they are from it
        [B, S, K, 3] and which of them there are [B, S, K, 1]."""
        raise NotImplementedError


class _Largest(_Group):
    def __init__(self, channels: int, width: int):
        super().__init__()
        self.each = nn.Sequential(
            nn.Linear(channels + 3, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )

    def mixed(self, own: Tensor, others: Tensor, away: Tensor, there: Tensor) -> Tensor:
        return self.each(torch.cat([_shown(away), others], -1)).masked_fill(~there, 0.0).amax(2)


class _Attention(_Group):
    def __init__(self, channels: int, width: int):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(channels, width) for _ in range(3))
        self.away = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width))
        self.weigh = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def mixed(self, own: Tensor, others: Tensor, away: Tensor, there: Tensor) -> Tensor:
        off = self.away(_shown(away))
        weight = self.weigh(self.query(own)[:, :, None] - self.key(others) + off)
        weight = weight.masked_fill(~there, -1e4).softmax(2)
        return self.out((weight * (self.value(others) + off)).sum(2))


def _shown(away: Tensor) -> Tensor:
    """Distances within a group are a small part of the cloud's spread: brought to the size of what stands beside."""
    return away * 8
