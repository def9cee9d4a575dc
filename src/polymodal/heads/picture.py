"""What heads that draw pictures share: noise by rows, and pictures as bytes."""

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
from polymodal.targets.picture import PictureTarget

CHUNK = 128  # pictures drawn at a time
EACH = 2  # pictures of an answer: how they differ can then be judged
COPIES = 1 << 20  # pictures of a row, at most
HALF = 127.5  # of the values of a pixel


class PictureHead(Head):
    """Draws pictures. An author writes `loss`, `sample` and the shape of the `noise` that it starts from.

    An answer is two pictures a row, uint8 [B, 2, C, S, S]. Their noise follows from the option `seed` and the row's
    number (see `number`), whatever rows are beside it.
    """

    answers: ClassVar[tuple[type[Target], ...]] = (PictureTarget,)
    target: PictureTarget
    seed: int

    @abstractmethod
    def sample(self, tokens: Tokens, noise: Tensor) -> Tensor:
        """Pictures [B, C, S, S] in -1 … 1 from noise [B, *`noise`]; keyword-only arguments are what a user may set
        for a drawing. A row with no token gets what is drawn without a condition."""

    @property
    @abstractmethod
    def noise(self) -> tuple[int, ...]:
        """The shape of a row's noise."""

    @torch.no_grad()
    def answer(self, tokens: Tokens) -> Tensor:
        numbers = self.numbered(len(tokens))
        return torch.stack([self.draw(tokens, numbers, copy=k) for k in range(EACH)], 1)

    @torch.no_grad()
    def draw(
        self, tokens: Tokens, numbers: Tensor, *, copy: int = 0, seed: int | None = None, **options: Any
    ) -> Tensor:
        """One picture of each row, uint8 [B, C, S, S]. A row with the same of `numbers` [B], the same `copy` of those
        that it may have and the same tokens is always drawn alike.

        Raises `BadArgument` for an option that `sample` has not, or a value out of range.
        """
        able = [n for n, p in inspect.signature(self.sample).parameters.items() if p.kind is p.KEYWORD_ONLY]
        if unknown := [name for name in options if name not in able]:
            near = suggest(unknown[0], [*able, "seed"])
            raise BadArgument(f"Unknown option {unknown[0]!r} of drawing by {type(self).__name__}.{near}")
        drawn = [torch.zeros(0, *self.target.shape, dtype=torch.uint8)]
        for rows in torch.arange(len(tokens)).split(CHUNK):
            some = tokens.select(rows.to(tokens.x.device)).cleared()
            each = numbers[rows.to(numbers.device)] * COPIES + copy
            noise = row_noise(each, self.noise, self.seed if seed is None else seed).to(some.x.device)
            x = self.sample(some, noise, **options)
            drawn.append(((x + 1) * HALF).round().clamp(0, 255).to(torch.uint8).cpu())
        return torch.cat(drawn)

    def decode(self, answer: Tensor) -> dict[str, np.ndarray]:
        """{"drawn": [B, 2, S, S, C] uint8}."""
        return {"drawn": answer.cpu().numpy().transpose(0, 1, 3, 4, 2)}

    def pictures(self, truth: Tensor) -> Tensor:
        """[B, C, S, S] in -1 … 1 of encoded rows; -1 where none is known."""
        return self.target.pixels(truth).float() / HALF - 1
