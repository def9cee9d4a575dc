"""Where a forward looks at data to save time or to refuse: a graph (export, compile) cannot, and goes the long way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def observed(fact: Tensor) -> bool:
    """Whether `fact` (one bool) is seen to hold; in a graph nothing is, so that no branch of it hangs on data.

    For what changes no result: to stop early where no row is left, to refuse what cannot be right.
    """
    return not torch.compiler.is_compiling() and bool(fact)


def longest(real: Tensor) -> int:
    """The most real places of a row of `real` [B, L] bool, at least 1; in a graph L, since it has one length."""
    return real.shape[1] if torch.compiler.is_compiling() else max(int(real.sum(1).max()), 1)


def pieces(x: Tensor, rows: int) -> Sequence[Tensor]:
    """`x` some `rows` at a time; in a graph whole, since the number of pieces would hold for one batch alone."""
    return (x,) if torch.compiler.is_compiling() else x.split(rows)
