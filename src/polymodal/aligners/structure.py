"""STRUCTURE: alignment that keeps the neighbourhoods of each stream's own space."""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.core.errors import BadArgument
from polymodal.core.values import check_range
from polymodal.nn.check import check_count
from polymodal.nn.normalize import l2_normalize
from polymodal.nn.precision import autocast_type


def structure(own: Tensor, aligned: Tensor, *, levels: int = 1, temperature: float = 0.05) -> Tensor:
    """How much the neighbourhoods of a batch differ between a stream's `own` space [B, D] and the shared one [B, d].

    R = 1/L Σ_l 1/l · JS(P_l, Q_l), STRUCTURE (Gröger, Wen, Le & Brbić 2025). P = softmax(X Xᵀ / τ) row by row, of
    vectors scaled to length one and centred, says where a random walk goes from each item; P_l = P^l is l steps of it;
    Q is the same in the shared space. JS is the Jensen–Shannon divergence, a mean over rows: 0 when all neighbourhoods
    are kept, at most log 2. Add it, times a weight, to the loss of each stream that has vectors of its own; only
    `aligned` gets gradient. Rows in which the stream is missing must be left out.
    """
    check_count("levels", levels)
    check_range("(0, inf)", temperature=temperature)
    if len(own) != len(aligned):
        raise BadArgument(f"{len(own)} vectors of the stream's own space, {len(aligned)} aligned ones; expected equal.")
    with torch.autocast(autocast_type(aligned), enabled=False):  # small probabilities do not survive bfloat16
        before, after = walk(own.detach(), temperature), walk(aligned, temperature)
        total, p, q = before.new_zeros(()), before, after
        for level in range(1, levels + 1):
            total = total + jensen_shannon(p, q) / level
            if level < levels:
                p, q = p @ before, q @ after
        return total / levels


def walk(vectors: Tensor, temperature: float) -> Tensor:
    """[B, B]: the softmax over each row of the inner products of vectors scaled to length one and centred."""
    vectors = l2_normalize(vectors)
    vectors = vectors - vectors.mean(0)
    return (vectors @ vectors.T / temperature).softmax(1)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """The mean over rows of ½ KL(p | m) + ½ KL(q | m), m = (p + q) / 2; natural logarithms."""
    middle = (p + q) / 2
    least = torch.finfo(p.dtype).tiny  # below it p log p is 0, and its slope would be infinite
    terms = [x * x.clamp(min=least).log() for x in (p, q, middle)]
    return (terms[0] + terms[1] - 2 * terms[2]).sum(1).mean() / 2
