"""Subjective logic on Dirichlet distributions: evidence, its combination, its loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOST = 40.0  # of the logarithm of combined evidence, so that its exponential stays finite in float32


def log_joined(evidence: Tensor, present: Tensor) -> Tensor:
    """Evidence [B, K, C] of K sources, at least 0, and [B, K] bool to L [B, C]: combined evidence is C (exp(L) - 1).

    With belief b = e / S, uncertainty u = C / S and S = Σ_c e_c + C, the reduced rule of Dempster multiplies the
    commonalities b_c + u of all sources and renormalises. Since (b_c + u) / u = 1 + e_c / C, the combined evidence is
    C (Π_k (1 + e_kc / C) - 1), whatever the order; a source without evidence changes nothing.
    """
    return (torch.log1p(evidence / evidence.shape[-1]) * present[..., None]).sum(1)


def joined_evidence(log_joined: Tensor) -> Tensor:
    """Combined evidence [B, C] from what the function `log_joined` gives."""
    return log_joined.shape[-1] * torch.expm1(log_joined.clamp(max=MOST))


def log_mean(log_joined: Tensor) -> Tensor:
    """The logarithm of the mean of the Dirichlet distribution with that combined evidence, [B, C], without overflow.

    p_c = (e_c + 1) / S, in proportion to exp(L_c) - 1 + 1 / C.
    """
    classes = log_joined.shape[-1]
    return (log_joined + torch.log1p(-(1 - 1 / classes) * torch.exp(-log_joined))).log_softmax(-1)


def evidential_loss(evidence: Tensor, truth: Tensor, annealed: float) -> Tensor:
    """Mean over rows of E[cross-entropy] under Dir(e + 1), plus `annealed` times the evidence for wrong classes.

    Row by row: ψ(S) - ψ(α_y) + annealed · KL(Dir(α~) ‖ Dir(1)), where α~ is α with the true class set to 1 (Sensoy,
    Kaplan, Kandemir 2018; Han et al. 2021). `evidence` [n, C], `truth` [n] class numbers; n may be 0.
    """
    alpha = evidence + 1
    own = alpha.gather(1, truth[:, None])
    likely = torch.digamma(alpha.sum(1, keepdim=True)) - torch.digamma(own)
    wrong = alpha.scatter(1, truth[:, None], 1.0)
    total = wrong.sum(1, keepdim=True)
    spread = (
        torch.lgamma(total) - math.lgamma(alpha.shape[1]) - torch.lgamma(wrong).sum(1, keepdim=True)
        + ((wrong - 1) * (torch.digamma(wrong) - torch.digamma(total))).sum(1, keepdim=True)
    )  # fmt: skip
    return (likely + annealed * spread).sum() / max(1, len(truth))
