"""The adversarial game: a linear map tries to make one cloud of points look like another to a discriminator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BATCH = 128  # points of each cloud a step
STEPS = 200  # of the map in an epoch
LOOKS = 2  # steps of the discriminator for each of the map
RATE, DECAY = 1.0, 0.95  # step size of plain gradient descent, and what is left of it after each epoch


@dataclass(frozen=True)
class Game:
    """How it is played: `smoothing` of labels, the share of a point's entries that the discriminator cannot see
    (`hide`), its `hidden` units, the pull towards `orthogonality` after each step, and the number of `epochs`."""

    epochs: int
    hidden: int
    smoothing: float
    hide: float
    orthogonality: float


def play(
    game: Game, source: Tensor, target: Tensor, start: Tensor, judge: Callable[[Tensor], float], draw: torch.Generator
) -> Tensor:
    """The map W [d, d] after whose epoch `judge` gave the most, the start included; x W should lie like the target.

    The discriminator is told the two clouds apart with binary cross-entropy against labels smoothed by s; the map
    descends the same with labels exchanged; after each step W <- (1 + β) W - β W Wᵀ W (Conneau et al. 2018; Cissé et
    al. 2017). `source` [N, d] and `target` [M, d] hold vectors of length one. All randomness comes from `draw`.
    """
    width = source.shape[1]
    scale = width**0.5  # entries of unit size
    referee = _Referee(width, game.hidden, game.hide, draw)
    w = start.clone().requires_grad_()
    seen = torch.optim.SGD(referee.parameters(), lr=RATE / 10)
    moved = torch.optim.SGD([w], lr=RATE)
    labels = torch.cat([torch.full((BATCH,), 1 - game.smoothing), torch.full((BATCH,), game.smoothing)])
    best, kept = judge(start), start
    for _ in range(game.epochs):
        for _ in range(STEPS):
            for _ in range(LOOKS):
                with torch.no_grad():
                    points = torch.cat([_some(source, draw) @ w, _some(target, draw)]) * scale
                _descend(seen, F.binary_cross_entropy_with_logits(referee(points), labels))
            points = torch.cat([_some(source, draw) @ w, _some(target, draw)]) * scale
            _descend(moved, F.binary_cross_entropy_with_logits(referee(points), 1 - labels))
            with torch.no_grad():
                w.copy_((1 + game.orthogonality) * w - game.orthogonality * w @ w.T @ w)
        for optimizer in (seen, moved):
            for group in optimizer.param_groups:
                group["lr"] *= DECAY
        candidate = w.detach().clone()
        if (value := judge(candidate)) > best:
            best, kept = value, candidate
    return kept


class _Referee(nn.Module):
    """Says which cloud a point comes from: [B, d] to [B] logits, two hidden layers, some entries hidden from it."""

    def __init__(self, width: int, hidden: int, hide: float, draw: torch.Generator):
        super().__init__()
        self.hide, self.draw = hide, draw
        sizes = [(width, hidden), (hidden, hidden), (hidden, 1)]
        self.weights = nn.ParameterList(_uniform(size, size[0], draw) for size in sizes)
        self.biases = nn.ParameterList(_uniform((out,), into, draw) for into, out in sizes)

    def forward(self, points: Tensor) -> Tensor:
        seen = torch.rand(points.shape, generator=self.draw) >= self.hide
        x = points * seen / (1 - self.hide)
        for weight, bias in list(zip(self.weights, self.biases))[:-1]:
            x = F.leaky_relu(x @ weight + bias, 0.2)
        return (x @ self.weights[-1] + self.biases[-1])[:, 0]


def _uniform(size: tuple[int, ...], fan: int, draw: torch.Generator) -> nn.Parameter:
    return nn.Parameter((torch.rand(size, generator=draw) * 2 - 1) / fan**0.5)


def _some(points: Tensor, draw: torch.Generator) -> Tensor:
    return points[torch.randint(len(points), (BATCH,), generator=draw)]


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
