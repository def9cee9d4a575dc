"""Columns of points as seen from above, put on a map that convolutions read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.core.values import check_range
from polymodal.encoders.image_resnet import residual
from polymodal.encoders.points import PointsEncoder
from polymodal.nn.check import check_count
from polymodal.nn.points import binned
from polymodal.nn.precision import training_precision

LARGEST_GRID = 4  # tokens a side


class PointsPillars(PointsEncoder):
    """PointPillars (Lang et al. 2019), small: the room that the training clouds fill, seen from above, is cut into
    `cells` x `cells` pillars.

    A pillar's vector is max_j ReLU(LN(W [x_j, x_j - mean, x_j - centre, f_j])) over its points; a residual network
    reads the map of pillars. What lies outside of the room counts to its edge. Tokens are the cells of the last map, at
    most 4 x 4; `pooled` is their mean; `where` holds their centres in metres: ahead, to the left and up.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        cells: int = 32,
        width: int = 32,
        dropout: float = 0.1,
        rotate: float = 10.0,
        scale: float = 0.0,
        jitter: float = 0.005,
    ):
        super().__init__(facts, dim, rotate=rotate, scale=scale, jitter=jitter)
        check_range("[8, 256]", cells=cells)
        self.cells, self.width, self.dropout = cells, check_count("width", width), dropout
        self.each = nn.Sequential(nn.Linear(self.channels + 5, width), nn.LayerNorm(width), nn.ReLU())
        self.stem, self.blocks, last = residual(width + 1, cells, width, None)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(last, dim)

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        places, features, real = self.scaled(inputs)
        low, high = ((end - self.middle) / self.spread for end in (self.low, self.high))
        step = (high - low)[:2] / self.cells
        across = binned((places[..., :2] - low[:2]) / (high - low)[:2], self.cells)
        centre = low[:2] + (across + 0.5) * step
        pillar = across[..., 0] * self.cells + across[..., 1]
        count = self._onto(pillar, real[..., None].to(places.dtype), "sum")
        mean = self._onto(pillar, places * real[..., None], "sum") / count.clamp(min=1)
        own = mean.gather(1, pillar[..., None].expand(-1, -1, 3))
        each = self.each(torch.cat([places, places - own, (places[..., :2] - centre) / step, features], -1))
        largest = self._onto(pillar, each.float() * real[..., None], "amax")
        flat = torch.cat([largest, count.log1p()], -1).transpose(1, 2).unflatten(2, (self.cells, self.cells))
        cells = self.blocks(self.stem(flat.contiguous(memory_format=torch.channels_last)))
        side = min(LARGEST_GRID, cells.shape[-1])
        x = self.out(self.drop(F.adaptive_avg_pool2d(cells, side).flatten(2).transpose(1, 2)))
        at = (torch.arange(side, device=x.device) + 0.5) / side
        where = torch.cat([torch.cartesian_prod(at, at), at.new_full((side * side, 1), 0.5)], 1)
        where = (low + where * (high - low)).expand(x.shape[0], -1, -1)
        return Tokens(x, x.new_ones(x.shape[:2]).bool(), x.mean(1), self.metres(where, inputs))

    def _onto(self, pillar: Tensor, values: Tensor, how: str) -> Tensor:
        """[B, cells * cells, C] of the values [B, N, C] of each pillar's points, their sum or the largest above 0."""
        blank = values.new_zeros(values.shape[0], self.cells**2, values.shape[2])
        return blank.scatter_reduce(1, pillar[..., None].expand_as(values), values, how)

    def recipe(self) -> dict[str, Any]:
        return {"lr": 2e-3, "epochs": 30, "batch": 32, "weight_decay": 0.05, "precision": training_precision()}
