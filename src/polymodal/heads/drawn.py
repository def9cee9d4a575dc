"""What heads that draw share: noise by rows, and what is drawn as bytes."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, suggest
from polymodal.core.types import Tokens
from polymodal.heads.base import Head
from polymodal.nn.flow import row_noise
from polymodal.targets.base import Target
from polymodal.targets.drawn import DrawnTarget

CHUNK = 128  # rows drawn at a time
EACH = 2  # drawings of an answer: how they differ can then be judged
COPIES = 1 << 20  # drawings of a row, at most


class DrawnHead(Head):
    """Draws fields. An author writes `loss`, `sample` and the shape of the `noise` that it starts from.

    An answer is two fields a row, uint8 [B, 2, C, H, W]. Their noise follows from the option `seed` and the row's
    number (see `number`), whatever rows are beside it.
    """

    answers: ClassVar[tuple[type[Target], ...]] = (DrawnTarget,)
    target: DrawnTarget
    seed: int
    idle: bool = False  # while a caller who draws by itself asks for the other answers: fields are blank then

    @abstractmethod
    def sample(self, tokens: Tokens, noise: Tensor) -> Tensor:
        """Fields [B, C, H, W], as `seen` gives them, from noise [B, *`noise`]; keyword-only arguments are what a user
        may set for a drawing. A row with no token gets what is drawn without a condition."""

    @property
    @abstractmethod
    def noise(self) -> tuple[int, ...]:
        """The shape of a row's noise."""

    @torch.no_grad()
    def answer(self, tokens: Tokens) -> Tensor:
        if self.idle:
            return torch.zeros(len(tokens), EACH, *self.target.shape, dtype=torch.uint8)
        numbers = self.numbered(len(tokens))
        return torch.stack([self.draw(tokens, numbers, copy=k) for k in range(EACH)], 1)

    @torch.no_grad()
    def draw(
        self, tokens: Tokens, numbers: Tensor, *, copy: int = 0, seed: int | None = None, **options: Any
    ) -> Tensor:
        """One field of each row, uint8 [B, C, H, W]. A row with the same of `numbers` [B], the same `copy` of those
        that it may have and the same tokens is always drawn alike.

        Raises `BadArgument` for an option that `sample` has not, or a value out of range.
        """
        able = [n for n, p in inspect.signature(self.sample).parameters.items() if p.kind is p.KEYWORD_ONLY]
        if unknown := [name for name in options if name not in able]:
            near = suggest(unknown[0], [*able, "seed"])
            raise BadArgument(f"Unknown option {unknown[0]!r} of drawing by {type(self).__name__}.{near}")
        middle, spread = self.target.scale
        drawn = [torch.zeros(0, *self.target.shape, dtype=torch.uint8)]
        for rows in torch.arange(len(tokens)).split(CHUNK):
            some = tokens.select(rows.to(tokens.x.device)).cleared()
            each = numbers[rows.to(numbers.device)] * COPIES + copy
            noise = row_noise(each, self.noise, self.seed if seed is None else seed).to(some.x.device)
            x = self.sample(some, noise, **options)
            drawn.append((x * spread + middle).round().clamp(0, 255).to(torch.uint8).cpu())
        return torch.cat(drawn)

    def decode(self, answer: Tensor) -> dict[str, np.ndarray]:
        """{"drawn": [B, 2, H, W, C] uint8}."""
        return {"drawn": answer.cpu().numpy().transpose(0, 1, 3, 4, 2)}

    def seen(self, truth: Tensor) -> Tensor:
        """[B, C, H, W] of encoded rows on the target's `scale`: bytes as floats around 0."""
        middle, spread = self.target.scale
        return self.target.fields(truth).float() / spread - middle / spread
