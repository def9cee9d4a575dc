"""A picture, drawn in one pass by a generator that learns against a critic."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.core.values import check_range
from polymodal.heads.drawn import DrawnHead
from polymodal.nn.flow import row_noise
from polymodal.nn.layers.adversary import Critic, Generator, Standardised
from polymodal.nn.precision import at_least_float32
from polymodal.targets.base import Target
from polymodal.targets.picture import PictureTarget

BETAS = (0.0, 0.99)  # of Adam, for both sides


class Gan(DrawnHead):
    """Draws pictures in one pass: a conditional generative adversarial network (Goodfellow et al. 2014).

    Generator and critic (`nn.layers.adversary`) learn by turns, each by its own hinge loss (Lim & Ye 2017) at its own
    rate (Heusel et al. 2017): the critic at `critic_lr`, all else at the loop's `lr`. What lies below the head learns
    from the generator's loss alone. The loss in use is the energy score of two drawings a row, in pixels, by which the
    best epoch is found. With `augment` the critic sees pictures through random changes, without which it learns few of
    them by heart; of 10,000 and more it may be left away. `latent` is the width of the noise; `channels`, `drop`, `ema`
    and `seed` are as those of `flow`.

    Raises `BadArgument` for a value out of range.
    """

    answers: ClassVar[tuple[type[Target], ...]] = (PictureTarget,)

    def __init__(
        self, width: int, target: PictureTarget, *,
        channels: int = 32, latent: int = 64, drop: float = 0.1, augment: bool = True, critic_lr: float = 4e-4,
        ema: float = 0.99, seed: int = 0,
    ):  # fmt: skip
        super().__init__(width, target)
        check_range("[4, 1024]", channels=channels, latent=latent)
        check_range("[0, 1)", drop=drop, ema=ema)
        check_range("(0, 1]", critic_lr=critic_lr)
        check_range("[0, 4294967295]", seed=seed)
        self.channels, self.latent, self.drop, self.ema, self.seed = channels, latent, drop, ema, seed
        self.augment, self.critic_lr = augment, critic_lr
        self.plain = Standardised(width)
        self.told = nn.Linear(width, 2 * channels)
        self.nothing = nn.Parameter(torch.zeros(2 * channels))
        self.generator = Generator(target.channels, target.size, channels, condition=2 * channels + latent)
        self.critic = Critic(
            target.channels, target.size, channels, condition=width, augment=augment, lr=critic_lr, betas=BETAS
        )  # fmt: skip

    @property
    def noise(self) -> tuple[int, ...]:
        return (self.latent,)

    def recipe(self) -> dict[str, Any]:
        steady = {"weight_decay": 0.0, "clip": 0.0, "schedule": "constant", "warmup": 0.0, "patience": 0}
        return {**super().recipe(), "optimizer": "adam", "lr": 2e-4, "betas": BETAS, "average": self.ema, **steady}

    def loss(self, tokens: Tokens, truth: Tensor) -> Tensor:
        known, x = self.target.known(truth), self.seen(truth)
        share = known / known.sum().clamp(min=1)
        if not self.training:
            each = 2 * self.numbered(len(x))
            noises = (row_noise(each + copy, self.noise, self.seed).to(x.device) for copy in range(2))
            a, b = (self.sample(tokens, noise) for noise in noises)
            missed = (_length(a - x) + _length(b - x)) / 2 - _length(a - b) / 2
            return (missed * share).sum()
        told = tokens.present & (torch.rand(len(x), device=x.device) >= self.drop)
        says = self.plain(tokens.pooled, tokens.present)
        drawn = self._drawn(says, told, torch.randn(len(x), self.latent, device=x.device))
        condition = says.detach()  # or streams would learn to please the critic, whatever is drawn
        self.critic.meet(x, drawn, condition, told, known)
        return -(self.critic(drawn, condition, told) * share).sum()

    def sample(self, tokens: Tokens, noise: Tensor) -> Tensor:
        return self._drawn(self.plain(tokens.pooled, tokens.present), tokens.present, noise)

    def _drawn(self, says: Tensor, told: Tensor, noise: Tensor) -> Tensor:
        condition = torch.where(told[:, None], self.told(says), self.nothing)
        return at_least_float32(self.generator(torch.cat([condition, noise.to(condition.dtype)], 1)))


def _length(x: Tensor) -> Tensor:
    """[B] root mean squares."""
    return (x.square().flatten(1).mean(1) + 1e-12).sqrt()
