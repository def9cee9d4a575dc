"""A picture, drawn by a rectified flow."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.types import Tokens
from polymodal.core.values import check_range
from polymodal.heads.base import Head
from polymodal.nn.flow import SOLVERS, even_times, guided, on_path, random_times, row_noise, walk
from polymodal.nn.layers.unet import UNet
from polymodal.nn.precision import at_least_float32
from polymodal.targets.base import Target
from polymodal.targets.picture import PictureTarget

CHUNK = 128  # pictures drawn at a time
EACH = 2  # pictures of an answer: how they differ can then be judged
COPIES = 1 << 20  # pictures of a row, at most
HALF = 127.5  # of the values of a pixel
BATCH, STEPS, MOST_EPOCHS = 64, 2500, 100  # of a training


class Flow(Head):
    """Draws pictures from noise along a learned velocity: a rectified flow (Liu, Gong & Liu 2023; Esser et al. 2024).

    The loss is the mean squared error of the velocity, told by a U-Net of `channels` channels and `depth` halvings that
    the pooled tokens turn; with `attention` it also attends to all of them. In training the condition of a share `drop`
    of the rows is hidden, so that the flow without one is learned too. That one draws rows without a token, and
    `guidance` w leaves it behind: v_u + w (v_c - v_u) (Ho & Salimans 2021; 1: as the condition says; more: plainer and
    more alike, at twice the cost). `steps` of `solver`, euler or heun, lead from noise to a picture. `ema` is the decay
    of the moving average of the weights that is kept.

    An answer is two pictures a row, uint8 [B, 2, C, S, S]. Their noise follows from `seed` and the row's number (see
    `number`), whatever rows are beside it. Raises `BadArgument` for a value out of range.
    """

    answers: ClassVar[tuple[type[Target], ...]] = (PictureTarget,)
    target: PictureTarget

    def __init__(
        self,
        width: int,
        target: PictureTarget,
        *,
        channels: int = 32,
        depth: int = 2,
        attention: bool = False,
        drop: float = 0.1,
        steps: int = 20,
        solver: str = "euler",
        guidance: float = 1.5,
        ema: float = 0.99,
        seed: int = 0,
    ):
        super().__init__(width, target)
        check_range("[4, 1024]", channels=channels)
        check_range("[0, 5]", depth=depth)
        check_range("[0, 1)", drop=drop, ema=ema)
        check_range("[0, 4294967295]", seed=seed)
        check_drawing(steps, solver, guidance)
        self.channels, self.depth, self.attention = channels, depth, attention
        self.drop, self.ema, self.seed = drop, ema, seed
        self.steps, self.solver, self.guidance = steps, solver, guidance
        self.told = nn.Linear(width, 4 * channels)
        self.nothing = nn.Parameter(torch.zeros(4 * channels))
        self.velocity = UNet(
            target.channels, target.size, channels, depth=depth, condition=4 * channels,
            context=width if attention else 0,
        )  # fmt: skip
        self._numbers: Tensor | None = None

    def recipe(self, rows: int) -> dict[str, Any]:
        epochs = min(MOST_EPOCHS, max(2, round(STEPS * BATCH / rows)))
        return {"epochs": epochs, "batch": BATCH, "lr": 1e-3, "average": self.ema, "patience": 20}

    def number(self, rows: Tensor) -> None:
        self._numbers = rows

    def loss(self, tokens: Tokens, truth: Tensor) -> Tensor:
        """In training at random times and with random noise, in use at times and noise that are always the same."""
        known = self.target.known(truth)
        x = self.target.pixels(truth).float() / HALF - 1
        if self.training:
            t, noise = random_times(len(x), x), torch.randn_like(x)
            told = tokens.present & (torch.rand(len(x), device=x.device) >= self.drop)
        else:
            t = even_times(len(x), x)
            noise, told = row_noise(range(len(x)), x.shape[1:], self.seed).to(x.device), tokens.present
        z, wanted = on_path(x, noise, t)
        missed = at_least_float32(self._field(tokens, z, t, told)) - wanted
        return (missed.square().flatten(1).mean(1) * known).sum() / known.sum().clamp(min=1)

    @torch.no_grad()
    def answer(self, tokens: Tokens) -> Tensor:
        given, self._numbers = self._numbers, None
        numbers = torch.arange(len(tokens)) if given is None or len(given) != len(tokens) else given
        return torch.stack([self.draw(tokens, numbers, copy=k) for k in range(EACH)], 1)

    @torch.no_grad()
    def draw(
        self, tokens: Tokens, numbers: Tensor, *, copy: int = 0,
        guidance: float | None = None, steps: int | None = None, solver: str | None = None, seed: int | None = None,
    ) -> Tensor:  # fmt: skip
        """One picture of each row, uint8 [B, C, S, S]. A row with the same of `numbers` [B], the same `copy` of those
        that it may have and the same tokens is always drawn alike.

        Other options than those of the head may be given. Raises `BadArgument` for a value out of range.
        """
        guidance = self.guidance if guidance is None else guidance
        steps, solver = self.steps if steps is None else steps, solver or self.solver
        check_drawing(steps, solver, guidance)
        shape = self.target.channels, self.target.size, self.target.size
        drawn = [torch.zeros(0, *shape, dtype=torch.uint8)]
        for rows in torch.arange(len(tokens)).split(CHUNK):
            some = tokens.select(rows.to(tokens.x.device)).cleared()
            each = numbers[rows.to(numbers.device)] * COPIES + copy
            noise = row_noise(each, shape, self.seed if seed is None else seed)

            def field(z: Tensor, t: Tensor, told: Tensor, some: Tokens = some) -> Tensor:
                return at_least_float32(self._field(some, z, t, told & some.present))

            x = walk(guided(field, guidance), noise.to(some.x.device), steps=steps, solver=solver)
            drawn.append(((x + 1) * HALF).round().clamp(0, 255).to(torch.uint8).cpu())
        return torch.cat(drawn)

    def decode(self, answer: Tensor) -> dict[str, np.ndarray]:
        """{"drawn": [B, 2, S, S, C] uint8}."""
        return {"drawn": answer.cpu().numpy().transpose(0, 1, 3, 4, 2)}

    def _field(self, tokens: Tokens, z: Tensor, t: Tensor, told: Tensor) -> Tensor:
        condition = torch.where(told[:, None], self.told(tokens.pooled), self.nothing)
        if not self.attention:
            return self.velocity(z, t, condition)
        return self.velocity(z, t, condition, tokens.x, tokens.mask & told[:, None])


def check_drawing(steps: int, solver: str, guidance: float) -> None:
    """Raise `BadArgument` for options of drawing that cannot be."""
    check_range("[1, 1000]", steps=steps)
    check_range("[0, 100]", guidance=guidance)
    if solver not in SOLVERS:
        raise BadArgument(f"Unknown solver {solver!r}.{suggest(solver, SOLVERS)}")
