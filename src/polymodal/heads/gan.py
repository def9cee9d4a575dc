"""A picture, drawn in one pass by a generator that plays against a critic."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from polymodal.core.types import Tokens
from polymodal.core.values import check_range
from polymodal.heads.flow import PASSES
from polymodal.heads.picture import PictureHead
from polymodal.nn.flow import row_noise
from polymodal.nn.layers.adversary import Critic, Generator, augmented
from polymodal.nn.precision import at_least_float32
from polymodal.targets.picture import PictureTarget


class Gan(PictureHead):
    """Draws pictures in one pass: a conditional generative adversarial network (Goodfellow et al. 2014).

    Hinge losses (Lim & Ye 2017); a critic of spectral norm 1 that knows the condition by projection (Miyato & Koyama
    2018) and sees all pictures through random changes (DiffAugment; Zhao et al. 2020). Both learn in one step: the
    generator by a critic whose weights it does not move, the critic by pictures that do not move the generator, so the
    loss of training is the sum of two that oppose each other. In use it is the energy score of two drawings a row, in
    pixels, by which the best epoch is found. `latent` is the width of the noise; `channels`, `drop`, `ema` and `seed`
    are as those of `flow`.

    Raises `BadArgument` for a value out of range.
    """

    settles: ClassVar[bool] = False

    def __init__(
        self, width: int, target: PictureTarget, *,
        channels: int = 32, latent: int = 64, drop: float = 0.1, ema: float = 0.99, seed: int = 0,
    ):  # fmt: skip
        super().__init__(width, target)
        check_range("[4, 1024]", channels=channels, latent=latent)
        check_range("[0, 1)", drop=drop, ema=ema)
        check_range("[0, 4294967295]", seed=seed)
        self.channels, self.latent, self.drop, self.ema, self.seed = channels, latent, drop, ema, seed
        self.told = nn.Linear(width, 2 * channels)
        self.nothing = nn.Parameter(torch.zeros(2 * channels))
        self.generator = Generator(target.channels, target.size, channels, condition=2 * channels + latent)
        self.critic = Critic(target.channels, target.size, channels, condition=2 * channels)

    @property
    def noise(self) -> tuple[int, ...]:
        return (self.latent,)

    def recipe(self) -> dict[str, Any]:
        steady = {"weight_decay": 0.0, "clip": 0.0, "schedule": "constant", "warmup": 0.0, "patience": 0}
        return {**PASSES, "optimizer": "adam", "lr": 4e-4, "average": self.ema, **steady}

    def loss(self, tokens: Tokens, truth: Tensor) -> Tensor:
        known, x = self.target.known(truth), self.pictures(truth)
        share = known / known.sum().clamp(min=1)
        if not self.training:
            a, b = (self.sample(tokens, self._fixed(len(x), k).to(x.device)) for k in range(2))
            missed = (_length(a - x) + _length(b - x)) / 2 - _length(a - b) / 2
            return (missed * share).sum()
        condition = self._condition(tokens, tokens.present & (torch.rand(len(x), device=x.device) >= self.drop))
        drawn = self.generator(torch.cat([condition, torch.randn(len(x), self.latent, device=x.device)], 1))
        fixed = {name: value.detach() for name, value in self.critic.named_parameters()}
        aside = condition.detach()
        liked = functional_call(self.critic, fixed, (augmented(drawn), aside))
        real, false = (self.critic(augmented(some), aside) for some in (x, drawn.detach()))
        each = at_least_float32(F.relu(1 - real) + F.relu(1 + false) - liked)
        return (each * share).sum()

    def sample(self, tokens: Tokens, noise: Tensor) -> Tensor:
        return at_least_float32(self.generator(torch.cat([self._condition(tokens, tokens.present), noise], 1)))

    def _fixed(self, rows: int, copy: int) -> Tensor:
        return row_noise([2 * row + copy for row in range(rows)], self.noise, self.seed)

    def _condition(self, tokens: Tokens, told: Tensor) -> Tensor:
        return torch.where(told[:, None], self.told(tokens.pooled), self.nothing)


def _length(x: Tensor) -> Tensor:
    """[B] root mean squares."""
    return (x.square().flatten(1).mean(1) + 1e-12).sqrt()
