"""The plain fusions of pooled vectors: concatenation, mean, weighted sum, perceptron."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from polymodal.core.types import Tokens, presence
from polymodal.fusion.base import Fusion
from polymodal.nn.check import check_count, check_dropout
from polymodal.nn.layers.pool import masked_mean
from polymodal.nn.layers.streams import Join, Project
from polymodal.nn.simplex import Alpha, Simplex, simplex_grid


class Concat(Fusion):
    """All pooled vectors side by side, then one linear map: W [x_1; …; x_K] + b.

    An absent stream adds a learned vector, so that absence differs from a vector of zeros. The baseline that every
    other fusion must beat.
    """

    def __init__(self, widths: Mapping[str, int], dim: int, *, dropout: float = 0.1):
        super().__init__(widths, dim)
        self.dropout = dropout
        self.join = Join(list(self.widths.values()), dim, dropout=check_dropout(dropout))

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        return Tokens.from_vector(self.join([s.pooled for s in streams.values()], present), present.any(1))


class Mean(Fusion):
    """The mean of the streams that are there, each through a linear map of its own."""

    def __init__(self, widths: Mapping[str, int], dim: int, *, dropout: float = 0.1):
        super().__init__(widths, dim)
        self.dropout = dropout
        self.drop = nn.Dropout(check_dropout(dropout))
        self.project = Project(self.widths.values(), dim)

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        vectors = self.project([self.drop(s.pooled) for s in streams.values()])
        return Tokens.from_vector(masked_mean(vectors, present), present.any(1))


class Weighted(Fusion):
    """α·a + (1 - α)·b for any number of streams, each through a linear map of its own.

    The weights lie on the simplex and are renormalised over the streams that a row has. `alpha` is "learned", "cv"
    (settled by cross-validation over `cv_grid` before the part is built), one number for two streams, a list in the
    order of the sorted names, or a dict by name. Raises `BadArgument` for weights that are negative or do not add up
    to 1.
    """

    def __init__(self, widths: Mapping[str, int], dim: int, *, alpha: Alpha = "learned", dropout: float = 0.1):
        super().__init__(widths, dim)
        self.alpha = alpha
        self.dropout = dropout
        self.drop = nn.Dropout(check_dropout(dropout))
        self.project = Project(self.widths.values(), dim)
        self.weights = Simplex(self.names, alpha)

    @staticmethod
    def cv_grid(widths: Mapping[str, int]) -> list[dict[str, Any]]:
        """The options that a cross-validation should try for `alpha="cv"`."""
        return [{"alpha": dict(zip(sorted(widths), weights))} for weights in simplex_grid(len(widths))]

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        vectors = self.project([self.drop(s.pooled) for s in streams.values()])
        weights = self.weights(present).to(vectors.dtype)
        return Tokens.from_vector((weights[:, None] @ vectors)[:, 0], present.any(1))


class Mlp(Fusion):
    """All pooled vectors side by side, then a perceptron of `layers` hidden layers of `hidden` GELU units."""

    def __init__(
        self, widths: Mapping[str, int], dim: int, *, hidden: int = 128, layers: int = 1, dropout: float = 0.2
    ):
        super().__init__(widths, dim)
        self.hidden = hidden
        self.layers = layers
        self.dropout = dropout
        check_count("hidden", hidden)
        self.join = Join(list(self.widths.values()), hidden, dropout=check_dropout(dropout))
        rest: list[nn.Module] = [nn.GELU(), nn.Dropout(dropout)]
        for _ in range(check_count("layers", layers) - 1):
            rest += [nn.Linear(hidden, hidden), nn.GELU(), nn.Dropout(dropout)]
        self.rest = nn.Sequential(*rest, nn.Linear(hidden, dim))

    def fuse(self, streams: dict[str, Tokens]) -> Tokens:
        present = presence(streams.values())
        first = self.join([s.pooled for s in streams.values()], present)
        return Tokens.from_vector(self.rest(first), present.any(1))
