"""FuseMix: new pairs made by mixing the vectors of two pairs, both streams alike."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_range


def fusemix(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], *, alpha: float = 1.0, share: Tensor | None = None
) -> dict[str, Tensor]:
    """λ x + (1 - λ) x' of every stream, FuseMix (Vouitsis, Liu, Gorti, Villecroze, Cresswell et al. 2024).

    Row i of every stream of `first` is one pair (or tuple), row i of `second` another; what both streams share is that
    λ ~ Beta(alpha, alpha) is one number, so that the mixed rows belong together as the given ones do. λ is drawn from
    torch's global generator unless given as `share`. Vectors are those of frozen towers, [B, D].
    """
    check_range("(0, inf)", alpha=alpha)
    if set(first) != set(second):
        raise BadArgument(f"Both batches need the same streams; got {sorted(first)} and {sorted(second)}.")
    if share is None:
        share = torch.distributions.Beta(float(alpha), float(alpha)).sample()
    return {name: share * x + (1 - share) * second[name] for name, x in first.items()}
