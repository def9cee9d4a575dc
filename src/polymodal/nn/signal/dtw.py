"""Two sequences bent onto each other: dynamic time warping and its soft form, a batch at once, by anti-diagonals.

The cells (i, j) of one anti-diagonal i + j = s depend only on the two before it, so N + M - 1 steps of vector
arithmetic fill the whole table, for every row of the batch together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from polymodal.core.errors import BadArgument


def pair_costs(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances [B, N, M] of vectors [B, N, D] and [B, M, D]."""
    cross = a @ b.transpose(1, 2)
    return (a.square().sum(2)[:, :, None] + b.square().sum(2)[:, None] - 2 * cross).clamp(min=0)


def dtw(cost: Tensor, n: Tensor | None = None, m: Tensor | None = None, *, window: int | None = None) -> tuple[
    Tensor, Tensor
]:  # fmt: skip
    """The cheapest monotone path through `cost` [B, N, M], steps (1,0), (0,1), (1,1) of weight 1 (Sakoe & Chiba 1978).

    Returns its cost [B] and `path` [B, N, M] bool. `n` and `m` [B] are lengths, from 1; the path ends at (n-1, m-1).
    `window` w allows only |i - j| ≤ w. Of equally cheap steps the diagonal one is taken. The gradient of
    the total is the path. Raises `BadArgument` when the window is narrower than a row's lengths differ.
    """
    n, m = _lengths(cost, n, m)
    total = _accumulate(_banded(cost.detach(), n, m, window), 0.0)
    path = torch.zeros(cost.shape, dtype=torch.bool, device=cost.device)
    rows = torch.arange(len(cost), device=cost.device)
    i, j = n - 1, m - 1
    path[rows, i, j] = True
    for _ in range(cost.shape[1] + cost.shape[2] - 2):  # table cell (i + 1, j + 1) belongs to cost cell (i, j)
        before = torch.stack([total[rows, i, j], total[rows, i, j + 1], total[rows, i + 1, j]])
        step = before.argmin(0)
        moving = (i > 0) | (j > 0)
        i = torch.where(moving & (step != 2), i - 1, i)
        j = torch.where(moving & (step != 1), j - 1, j)
        path[rows, i, j] = True
    return torch.where(path, cost, cost.new_zeros(())).sum((1, 2)), path


def soft_dtw(cost: Tensor, n: Tensor | None = None, m: Tensor | None = None, *, gamma: float = 1.0,
             window: int | None = None) -> Tensor:  # fmt: skip
    """-gamma · log Σ over paths of exp(-cost of path / gamma), [B] (Cuturi & Blondel 2017), with its exact gradient.

    Arguments as `dtw`, which it becomes as gamma goes to 0. The gradient with respect to `cost` is the expected path.
    Raises `BadArgument` unless gamma is positive.
    """
    if not gamma > 0:
        raise BadArgument(f"gamma must be positive; got {gamma}. The limit 0 is dtw.")
    n, m = _lengths(cost, n, m)
    return _SoftDtw.apply(_banded(cost, n, m, window), n, m, gamma)  # type: ignore[no-any-return]


class _SoftDtw(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cost: Tensor, n: Tensor, m: Tensor, gamma: float) -> Tensor:
        with torch.autocast(cost.device.type, enabled=False):
            exact = cost.to(torch.promote_types(cost.dtype, torch.float32))
            total = _accumulate(exact, gamma)
        ctx.save_for_backward(exact, total, n, m)
        ctx.gamma = gamma
        return total[torch.arange(len(cost), device=cost.device), n, m].to(cost.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """E(i, j) = Σ over its three successors of E(succ) · exp((R(succ) - cost(succ) - R(i, j)) / gamma)."""
        cost, total, n, m = ctx.saved_tensors
        rows, size, width = len(cost), cost.shape[1], cost.shape[2]
        share = cost.new_zeros(rows, size + 1, width + 1)  # E, one longer at the end, where nothing comes from
        share[torch.arange(rows, device=cost.device), n - 1, m - 1] = 1.0
        inner = total[:, 1:, 1:]
        flow = inner - cost  # the soft minimum over the predecessors of each cell
        for s in range(size + width - 3, -1, -1):
            i, j = _diagonal(s, size, width, cost.device)
            here, mine = inner[:, i, j], share[:, i, j]
            for di, dj in ((1, 1), (1, 0), (0, 1)):
                a, b = (i + di).clamp(max=size - 1), (j + dj).clamp(max=width - 1)
                weight = ((flow[:, a, b] - here) / ctx.gamma).exp()
                weight = torch.where((here < torch.inf) & (flow[:, a, b] < torch.inf), weight, 0.0)
                mine = mine + share[:, i + di, j + dj] * weight
            share[:, i, j] = mine
        return (share[:, :-1, :-1] * gradient[:, None, None]).to(gradient.dtype), None, None, None


def _accumulate(cost: Tensor, gamma: float) -> Tensor:
    """[B, N + 1, M + 1]: the cheapest (gamma 0) or soft-cheapest way to each cell; cell (0, 0) is the start."""
    rows, size, width = cost.shape
    total = cost.new_full((rows, size + 1, width + 1), torch.inf)
    total[:, 0, 0] = 0.0
    for s in range(size + width - 1):
        i, j = _diagonal(s, size, width, cost.device)
        before = torch.stack([total[:, i, j], total[:, i, j + 1], total[:, i + 1, j]])
        least = before.amin(0)
        if gamma:
            rest = torch.where(least < torch.inf, (least - before) / gamma, 0.0).exp().sum(0).log()
            least = least - gamma * rest
        total[:, i + 1, j + 1] = cost[:, i, j] + least
    return total


def _diagonal(s: int, size: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The cells (i, j) with i + j = s."""
    i = torch.arange(max(0, s - width + 1), min(size, s + 1), device=device)
    return i, s - i


def _lengths(cost: Tensor, n: Tensor | None, m: Tensor | None) -> tuple[Tensor, Tensor]:
    if cost.ndim != 3:
        raise BadArgument(f"Costs are [B, N, M]; got {tuple(cost.shape)}. For one pair give cost[None].")
    found = []
    for name, given, most in (("n", n, cost.shape[1]), ("m", m, cost.shape[2])):
        lengths = torch.full((len(cost),), most, device=cost.device) if given is None else given.long()
        if lengths.shape != (len(cost),) or not bool(((lengths >= 1) & (lengths <= most)).all()):
            raise BadArgument(
                f"{name} gives each of {len(cost)} rows a length from 1 to {most}; got {lengths.tolist()}."
            )
        found.append(lengths)
    return found[0], found[1]


def _banded(cost: Tensor, n: Tensor, m: Tensor, window: int | None) -> Tensor:
    """Infinite outside the window."""
    if window is None:
        return cost
    apart = int((n - m).abs().max())
    if window < apart:
        raise BadArgument(
            f"window={window} lets no path through: a row's lengths differ by {apart}. Give at least that."
        )
    i, j = torch.arange(cost.shape[1], device=cost.device), torch.arange(cost.shape[2], device=cost.device)
    return cost.masked_fill((i[:, None] - j[None]).abs() > window, torch.inf)
