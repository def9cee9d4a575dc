"""A picture or a sound, drawn by a rectified flow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.types import Tokens
from polymodal.core.values import check_range
from polymodal.heads.drawn import DrawnHead
from polymodal.nn.flow import SOLVERS, even_times, guided, on_path, random_times, row_noise, walk
from polymodal.nn.layers.dit import DiT
from polymodal.nn.layers.position import sinusoids
from polymodal.nn.layers.unet import UNet
from polymodal.nn.precision import at_least_float32
from polymodal.targets.drawn import DrawnTarget

NETWORKS = ("unet", "dit")
PASSES = {"batch": 64, "steps": 2500, "epochs": 100}  # of a training: what pictures need is told in steps


class Flow(DrawnHead):
    """Draws a picture, or a sound's spectrogram, from noise along a learned velocity: a rectified flow (Liu, Gong & Liu
    2023; Esser et al. 2024).

    The loss is the mean squared error of the velocity, told by a `network` that the pooled tokens turn: `unet`, a U-Net
    of `channels` channels and `depth` halvings, or `dit`, a Transformer of 4 · `channels` units and 2 · (`depth` + 1)
    blocks over patches (`nn.layers.dit`). With `attention` it also attends to all tokens, in their order. In training
    the condition of a share `drop` of the rows is hidden, so that the flow without one is learned too. That one draws
    rows without a token, and `guidance` w leaves it behind: v_u + w (v_c - v_u) (Ho & Salimans 2021; 1: as the
    condition says; more: plainer and more alike, at twice the cost). `steps` of `solver`, euler or heun, lead from
    noise to a drawing. `ema` is the decay of the moving average of the weights that is kept; `seed` that of the noise.

    Raises `BadArgument` for a value out of range.
    """

    def __init__(
        self,
        width: int,
        target: DrawnTarget,
        *,
        network: str = "unet",
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
        if network not in NETWORKS:
            raise BadArgument(f"network is unet or dit; got {network!r}.{suggest(network, NETWORKS)}")
        self.network = network
        self.channels, self.depth, self.attention = channels, depth, attention
        self.drop, self.ema, self.seed = drop, ema, seed
        self.steps, self.solver, self.guidance = steps, solver, guidance
        self.told = nn.Linear(width, 4 * channels)
        self.nothing = nn.Parameter(torch.zeros(4 * channels))
        given: dict[str, Any] = {"depth": depth, "condition": 4 * channels, "context": width if attention else 0}
        self.velocity = (
            UNet(target.shape, channels, **given) if network == "unet" else DiT(target.shape, channels, **given)
        )

    @property
    def reads_tokens(self) -> bool:  # type: ignore[override]
        return self.attention

    @property
    def noise(self) -> tuple[int, ...]:
        return self.target.shape

    def recipe(self) -> dict[str, Any]:
        return {**PASSES, "lr": 1e-3, "average": self.ema, "patience": 20}

    def loss(self, tokens: Tokens, truth: Tensor) -> Tensor:
        """In training at random times and with random noise, in use at those that a row's number says."""
        known, x = self.target.known(truth), self.seen(truth)
        if self.training:
            t, noise = random_times(len(x), x), torch.randn_like(x)
            told = tokens.present & (torch.rand(len(x), device=x.device) >= self.drop)
        else:
            numbers = self.numbered(len(x))
            t, told = even_times(numbers, x), tokens.present
            noise = row_noise(numbers, self.noise, self.seed).to(x.device)
        z, wanted = on_path(x, noise, t)
        missed = at_least_float32(self._field(tokens, z, t, told)) - wanted
        return (missed.square().flatten(1).mean(1) * known).sum() / known.sum().clamp(min=1)

    def sample(
        self, tokens: Tokens, noise: Tensor, *,
        guidance: float | None = None, steps: int | None = None, solver: str | None = None,
    ) -> Tensor:  # fmt: skip
        """Along the velocity; options that are not given are the head's."""
        guidance = self.guidance if guidance is None else guidance
        steps, solver = self.steps if steps is None else steps, solver or self.solver
        check_drawing(steps, solver, guidance)

        def field(z: Tensor, t: Tensor, told: Tensor) -> Tensor:
            return at_least_float32(self._field(tokens, z, t, told & tokens.present))

        return walk(guided(field, guidance), noise, steps=steps, solver=solver)

    def _field(self, tokens: Tokens, z: Tensor, t: Tensor, told: Tensor) -> Tensor:
        condition = torch.where(told[:, None], self.told(tokens.pooled), self.nothing)
        if not self.attention:
            return self.velocity(z, t, condition)
        order = sinusoids(tokens.mask.cumsum(1) - 1, tokens.x.shape[2]).to(tokens.x.dtype)
        return self.velocity(z, t, condition, tokens.x + order, tokens.mask & told[:, None])


def check_drawing(steps: int, solver: str, guidance: float) -> None:
    """Raise `BadArgument` for options of drawing that cannot be."""
    check_range("[1, 1000]", steps=steps)
    check_range("[0, 100]", guidance=guidance)
    if solver not in SOLVERS:
        raise BadArgument(f"Unknown solver {solver!r}.{suggest(solver, SOLVERS)}")
