"""Embeddings of scalar features (Gorishniy, Rubachev & Babenko 2022): one vector for each number of a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument, suggest

EMBEDDINGS = ("piecewise", "periodic", "linear")


class FeatureLinear(nn.Module):
    """A linear map of its own for each feature: [B, C, K] to [B, C, D]."""

    def __init__(self, features: int, inputs: int, dim: int):
        super().__init__()
        bound = 1 / math.sqrt(max(inputs, 1))
        self.weight = nn.Parameter(torch.empty(features, inputs, dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(features, dim).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bck,ckd->bcd", x, self.weight) + self.bias


class PiecewiseLinear(nn.Module):
    """Each number as the share of each bin that lies below it: [B, C] to [B, C, bins].

    With edges b_0 < … < b_T, component t is (x - b_{t-1}) / (b_t - b_{t-1}) clipped to 0..1; the first may fall below 0
    and the last rise above 1. Features with fewer bins have zeros behind.
    """

    def __init__(self, edges: Sequence[Sequence[float]]):
        super().__init__()
        bins = max(len(feature) - 1 for feature in edges)
        start, width = torch.zeros(len(edges), bins), torch.full((len(edges), bins), float("inf"))
        low, high = torch.zeros(len(edges), bins), torch.ones(len(edges), bins)
        for i, feature in enumerate(edges):
            points = torch.tensor(feature, dtype=torch.float32)
            last = len(points) - 1
            start[i, :last], width[i, :last] = points[:-1], (points[1:] - points[:-1]).clamp(min=1e-6)
            low[i, 0], high[i, last - 1] = -float("inf"), float("inf")
        self.bins = bins
        for name, value in (("start", start), ("width", width), ("low", low), ("high", high)):
            self.register_buffer(name, value, persistent=False)
        self.start: Tensor
        self.width: Tensor
        self.low: Tensor
        self.high: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp((x[..., None] - self.start) / self.width, self.low, self.high)


class Periodic(nn.Module):
    """Sines and cosines of learned frequencies, drawn from N(0, `spread`²): [B, C] to [B, C, 2 · frequencies]."""

    def __init__(self, features: int, frequencies: int, spread: float):
        super().__init__()
        self.frequency = nn.Parameter(torch.randn(features, frequencies) * spread)

    def forward(self, x: Tensor) -> Tensor:
        angle = 2 * math.pi * x[..., None] * self.frequency
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class NumberEmbedding(nn.Module):
    """[B, C] standardised numbers and [B, C] bool known to [B, C, dim]; a missing number has a learned vector.

    `kind` is "piecewise" (bins, then a linear map: Q-L), "periodic" (sines, a linear map, ReLU: PLR) or "linear".
    """

    def __init__(self, edges: Sequence[Sequence[float]], dim: int, *, kind: str = "piecewise", spread: float = 0.1):
        super().__init__()
        if kind not in EMBEDDINGS:
            raise BadArgument(f"Unknown embedding of numbers {kind!r}.{suggest(kind, EMBEDDINGS)}")
        features = len(edges)
        self.kind = kind
        self.spread = spread
        if kind == "piecewise":
            self.code: nn.Module = PiecewiseLinear(edges)
            self.map = FeatureLinear(features, self.code.bins, dim)
        elif kind == "periodic":
            self.code = Periodic(features, 16, spread)
            self.map = FeatureLinear(features, 32, dim)
        else:
            self.code = nn.Identity()
            self.map = FeatureLinear(features, 1, dim)
        self.missing = nn.Parameter(torch.randn(features, dim) * 0.1)

    def forward(self, numbers: Tensor, known: Tensor) -> Tensor:
        code = numbers[..., None] if self.kind == "linear" else self.code(numbers)
        x = self.map(code)
        x = x.relu() if self.kind == "periodic" else x
        return torch.where(known[..., None], x, self.missing.to(x.dtype))


class CategoryEmbedding(nn.Module):
    """[B, K] ids to [B, K, dim], a table of its own for each of the K columns with `sizes` ids."""

    def __init__(self, sizes: Sequence[int], dim: int):
        super().__init__()
        self.table = nn.Embedding(sum(sizes), dim)
        nn.init.normal_(self.table.weight, std=1 / math.sqrt(dim))
        offsets = torch.tensor([0, *sizes[:-1]]).cumsum(0)
        self.register_buffer("offsets", offsets, persistent=False)
        self.offsets: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        return self.table(ids.long() + self.offsets)
