"""LinUCB: a linear model of the reward of each arm, and optimism about what is not known yet."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinUCB(nn.Module):
    """Disjoint linear models with upper confidence bounds (Li, Chu, Langford, Schapire 2010, algorithm 1).

    Arm a expects θ_aᵀ x with θ_a = A_a⁻¹ b_a and is chosen by θ_aᵀ x + alpha √(xᵀ A_a⁻¹ x). With `discount` below 1 the
    past fades at every update, in all arms alike, so that a change of the best arm is noticed (Russac, Vernade, Cappé
    2019, without their second matrix): what is remembered is worth 1 / (1 - discount) rows. Everything is float64, a
    function of the updates alone; equal bounds go to the first arm.

    Buffers: `gram` [M, d, d] (A - ridge I), `moment` [M, d] (b).
    """

    gram: Tensor
    moment: Tensor

    def __init__(self, arms: int, width: int, *, alpha: float = 0.5, discount: float = 1.0, ridge: float = 1.0):
        super().__init__()
        self.alpha = alpha
        self.discount = discount
        self.ridge = ridge
        self.register_buffer("gram", torch.zeros(arms, width, width, dtype=torch.float64))
        self.register_buffer("moment", torch.zeros(arms, width, dtype=torch.float64))

    def bounds(self, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """[B, d] contexts to the expected reward of each arm [B, M] and how far it may be off [B, M]."""
        x = contexts.double()
        a = self.gram + self.ridge * torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
        weights = torch.linalg.solve(a, self.moment[..., None])[..., 0]  # [M, d]
        spread = torch.linalg.solve(a, x.T.expand(a.shape[0], -1, -1))  # [M, d, B]
        return x @ weights.T, torch.einsum("bd,mdb->bm", x, spread).clamp(min=0).sqrt()

    def choose(self, contexts: Tensor) -> Tensor:
        """[B] the arm of each context [B, d]."""
        mean, off = self.bounds(contexts)
        return (mean + self.alpha * off).argmax(1)

    def update(self, contexts: Tensor, arms: Tensor, rewards: Tensor, weight: float = 1.0) -> None:
        """Learn from rewards [B] of `arms` [B] in contexts [B, d], one after another; each counts `weight` rows."""
        for x, arm, reward in zip(contexts.double(), arms.tolist(), rewards.double()):
            if self.discount < 1:
                self.gram *= self.discount
                self.moment *= self.discount
            self.gram[arm] += weight * torch.outer(x, x)
            self.moment[arm] += weight * reward * x

    def learn_all(self, contexts: Tensor, rewards: Tensor, weight: float) -> None:
        """Start from contexts [B, d] of which every arm's reward is known, [B, M]; each counts `weight` rows."""
        x = contexts.double()
        self.gram.copy_(weight * (x.T @ x).expand_as(self.gram))
        self.moment.copy_(weight * (rewards.double().T @ x))
