"""Products between streams: tensor fusion and its low-rank form."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from polymodal.core.errors import BadArgument
from polymodal.core.types import Tokens, presence
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.layers.bilinear import low_rank_factors, low_rank_product, outer_product, with_one
from polymodal.nn.layers.streams import Join, Project

LARGEST = 2048  # entries of the outer product: beyond it, it is slower and overfits sooner than its low-rank form
WIDEST = 16  # of a stream in the outer product, when chosen


class Tensor(Fusion):
    """Tensor fusion (Zadeh et al. 2017): the outer product of all streams, each with a 1 appended, then a linear map.

    Holds every product of one entry each of any subset of the streams. Each stream is first brought to `width`
    entries by a linear map and tanh; None takes the most (at most 16) for which (width + 1)^K stays within 2,048.
    So narrow a stream loses much of what it says on its own; unlike in the paper, a linear map of the vectors at
    their full width is therefore added. Raises `BadArgument` when no width fits: use `lowrank` then.
    """

    def __init__(self, widths: Mapping[str, int], dim: int, *, width: int | None = None, dropout: float = 0.1):
        super().__init__(widths, dim)
        self.width = width
        self.dropout = dropout
        entries = _entries(len(self.names), width)
        self.join = Join(list(self.widths.values()), dim, dropout=check_dropout(dropout))
        self.project = Project(self.widths.values(), entries)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear((entries + 1) ** len(self.names), dim, bias=False)
        # A tanh of a unit stream has a mean square of about 1/4: so that the result starts at unit scale.
        nn.init.normal_(self.out.weight, std=(1 + entries / 4) ** (-len(self.names) / 2))

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        pooled = [s.pooled for s in streams.values()]
        vectors = self.project([self.drop(vector) for vector in pooled]).tanh() * present[..., None]
        product = outer_product([with_one(vector) for vector in vectors.unbind(1)])
        return Tokens.from_vector(self.join(pooled, present) + self.out(product), present.any(1))


def _entries(streams: int, width: int | None) -> int:
    """The width of a stream within the outer product."""
    most = max((w for w in range(1, WIDEST + 1) if (w + 1) ** streams <= LARGEST), default=0)
    if not most:
        raise BadArgument(f"An outer product of {streams} streams is too large at any width; use the fusion 'lowrank'.")
    if width is None:
        return most
    if (check_count("width", width) + 1) ** streams > LARGEST:
        raise BadArgument(
            f"An outer product of {streams} streams of width {width} has {(width + 1) ** streams} entries; allowed are "
            f"{LARGEST}. Use a width of at most {most}, or the fusion 'lowrank'."
        )
    return width


class LowRank(Fusion):
    """Low-rank tensor fusion (Liu et al. 2018): Σ_r Π_k W_k^r [x_k; 1] + b, products over streams taken entry by entry.

    Tensor fusion whose weight tensor has rank `rank`, so that the cost grows with the number of streams and not as a
    power of it. The factors start such that the result is near linear in each stream and holds all products.
    """

    def __init__(self, widths: Mapping[str, int], dim: int, *, rank: int = 4, dropout: float = 0.1):
        super().__init__(widths, dim)
        self.rank = rank
        self.dropout = dropout
        self.drop = nn.Dropout(check_dropout(dropout))
        self.factors = low_rank_factors(self.widths.values(), check_count("rank", rank), dim)
        self.bias = nn.Parameter(torch.zeros(dim))

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        vectors = [with_one(self.drop(s.pooled)) for s in streams.values()]
        return Tokens.from_vector(low_rank_product(vectors, list(self.factors)) + self.bias, present.any(1))
