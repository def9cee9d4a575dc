"""Rectified flow: a straight path from noise to data, and how it is walked (Liu, Gong & Liu 2023).

z_t = (1 - t) x + t e with data x (t = 0) and noise e (t = 1). A network learns the velocity e - x of z_t; drawing goes
from t = 1 to t = 0 along it. Times of training are σ(N(0, 1)), which dwell where the velocity is hard to tell (Esser et
al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

GOLDEN = (5**0.5 - 1) / 2
SOLVERS = ("euler", "heun")
# Of a batch z [B, …] at times t [B], with the rows `told` [B] bool that are given their condition: velocities [B, …].
Field = Callable[[Tensor, Tensor, Tensor], Tensor]


def on_path(x: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """z_t [B, …] at times t [B] between data and noise, and its velocity."""
    t = t.view(-1, *[1] * (x.ndim - 1)).to(x.dtype)
    return (1 - t) * x + t * noise, noise - x


def random_times(count: int, like: Tensor) -> Tensor:
    """Times [count] of training, by torch's own generator, where `like` is."""
    return torch.randn(count, device=like.device).sigmoid()


def even_times(numbers: Tensor, like: Tensor) -> Tensor:
    """Times of the same distribution by which rows are judged, always the same by their `numbers` [B]; those of rows
    that follow one another are spread evenly.

    That of row i is the quantile of the fractional part of (i + 1) times the golden ratio.
    """
    place = (numbers.to("cpu", torch.float64) + 1) * GOLDEN % 1
    return torch.special.ndtri(place).sigmoid().float().to(like.device)


def row_seed(number: int, seed: int) -> int:
    """The seed of what is drawn for the row of this number."""
    return (seed * 1_000_003 + number) % 2**63


def row_noise(numbers: Sequence[int] | Tensor, shape: Sequence[int], seed: int) -> Tensor:
    """Normal noise [B, *shape], a row each from a generator of its own: by `seed` and the row's number, whatever rows
    are beside it."""
    each = [torch.Generator().manual_seed(row_seed(int(number), seed)) for number in numbers]
    if not each:
        return torch.zeros(0, *shape)
    return torch.stack([torch.randn(*shape, generator=one) for one in each])


def guided(field: Field, guidance: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Velocities by classifier-free guidance: v_u + w (v_c - v_u), w = `guidance` (Ho & Salimans 2021).

    0 is the flow without a condition, 1 that of the condition; more makes what the condition asks for plainer and what
    is drawn more alike. Other values than 0 and 1 take two passes.
    """

    def velocity(z: Tensor, t: Tensor) -> Tensor:
        told = torch.ones(len(z), dtype=torch.bool, device=z.device)
        if guidance in (0, 1):
            return field(z, t, told if guidance else ~told)
        return torch.lerp(field(z, t, ~told), field(z, t, told), guidance)

    return velocity


def walk(velocity: Callable[[Tensor, Tensor], Tensor], noise: Tensor, *, steps: int, solver: str) -> Tensor:
    """From noise [B, …] to data in even `steps`: Euler's, or Heun's (1900), of which each takes two velocities."""
    z, times = noise, torch.linspace(1, 0, steps + 1).tolist()
    for start, end in pairwise(times):
        first = velocity(z, z.new_full((z.shape[0],), start))
        ahead = z + (end - start) * first
        if solver == "heun" and end > 0:
            second = velocity(ahead, z.new_full((z.shape[0],), end))
            ahead = z + (end - start) * (first + second) / 2
        z = ahead
    return z
