"""Weights of K streams that are not negative and add up to one: the seed formula α·a + (1 - α)·b for any K."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument, suggest
from polymodal.nn.layers.pool import masked_softmax

Alpha = str | float | Sequence[float] | Mapping[str, float]
STEPS = {2: 10, 3: 4, 4: 3}  # how finely `simplex_grid` divides each weight, by the number of streams; else 2


class Simplex(nn.Module):
    """Weights of the streams `names`, renormalised over those present in a row.

    `alpha` is "learned" (a softmax, starting equal), one number for two streams (the first by name gets `alpha`, the
    other 1 - `alpha`), a list in the order of the sorted names, or a dict by name; they must add up to 1. Where the
    streams present have no weight at all, they count equally.

    Raises `BadArgument` for weights that are not on the simplex, and for "cv", which a cross-validation must settle
    first.
    """

    def __init__(self, names: Sequence[str], alpha: Alpha):
        super().__init__()
        self.logits: nn.Parameter | None = None
        self.fixed: Tensor | None
        self.register_buffer("fixed", None, persistent=False)
        if isinstance(alpha, str):
            _check_word(alpha)
            self.logits = nn.Parameter(torch.zeros(len(names)))
        else:
            self.fixed = torch.tensor(_weights(names, alpha))

    def forward(self, present: Tensor) -> Tensor:
        """[B, K] bool to [B, K] weights: zero where absent, adding up to 1, or to 0 where no stream is present."""
        if self.logits is not None:
            return masked_softmax(self.logits.expand(present.shape), present)
        assert self.fixed is not None
        weight = self.fixed * present
        total = weight.sum(1, keepdim=True)
        weight = torch.where(total > 0, weight, present.to(weight.dtype))
        return weight / weight.sum(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)


def simplex_grid(streams: int) -> list[list[float]]:
    """Weights to try in a cross-validation: a lattice on the simplex, corners and equal weights included.

    11 points for two streams, 16 for three, 21 for four; K corners, K (K - 1) / 2 middles and the centre beyond.
    """
    steps = STEPS.get(streams, 2)
    points = [[part / steps for part in parts] for parts in _compositions(steps, streams)]
    equal = [1 / streams] * streams
    return points if equal in points else [*points, equal]


def _compositions(total: int, parts: int) -> list[list[int]]:
    """All ways to write `total` as an ordered sum of `parts` whole numbers from 0 (stars and bars)."""
    bars = combinations(range(total + parts - 1), parts - 1)
    ends = [(-1, *bar, total + parts - 1) for bar in bars]
    return [[right - left - 1 for left, right in pairwise(end)] for end in ends]


def _check_word(alpha: str) -> None:
    if alpha == "cv":
        raise BadArgument(
            "alpha='cv' must be settled by cross-validation before the part is built: try each of `cv_grid(widths)` "
            "and build with the best."
        )
    if alpha != "learned":
        raise BadArgument(f"alpha is 'learned', 'cv', or weights; got {alpha!r}.{suggest(alpha, ('learned', 'cv'))}")


def _weights(names: Sequence[str], alpha: float | Sequence[float] | Mapping[str, float]) -> list[float]:
    if isinstance(alpha, Mapping):
        for name in alpha:
            if name not in names:
                raise BadArgument(f"alpha names the stream {name!r}, which is not here.{suggest(name, names)}")
        absent = [name for name in names if name not in alpha]
        if absent:
            raise BadArgument(f"alpha lacks the streams {absent}; give each of {list(names)} a weight.")
        weights = [float(alpha[name]) for name in names]
    elif isinstance(alpha, int | float):
        if len(names) != 2:
            raise BadArgument(f"alpha as one number is for two streams, not {len(names)}: {list(names)}; give a dict.")
        weights = [float(alpha), 1 - float(alpha)]
    else:
        weights = [float(weight) for weight in alpha]
        if len(weights) != len(names):
            raise BadArgument(f"alpha has {len(weights)} weights for {len(names)} streams: {list(names)}.")
    if min(weights) < 0 or abs(sum(weights) - 1) > 1e-4:
        raise BadArgument(f"The weights in alpha must be at least 0 and add up to 1; got {dict(zip(names, weights))}.")
    return weights
