"""What can be written without a look: the same words for every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from polymodal.core.types import Output, Tokens
from polymodal.heads.base import Head
from polymodal.models.base import BASELINE, Answer, texts_among
from polymodal.nn.layers.named import Named


class Blind(Answer):
    """The head of a target, trained as ever, that is never shown a stream: a language model of the answers.

    A baseline: who is not better than it has not seen anything. It has one voice, however many the head has. Beside
    words it answers targets of any kind so.
    """

    level: ClassVar[str] = BASELINE
    trains_together: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("text",)

    def __init__(self, widths: Mapping[str, int], targets: Sequence[Any], parts: Any):
        super().__init__()
        self.width = parts.dim
        heads = {t.name: parts.build_head(parts.dim, t) for t in targets}
        for name in texts_among("blind", targets):
            heads[name].solo()
        self.heads = Named(heads)

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        rows = len(next(iter(streams.values())))
        if self.training:
            return Output(streams, self._nothing(rows), {})
        said = {name: head(self._nothing(rows if head.samples else 1)) for name, head in self.heads.items()}  # type: ignore[operator,union-attr]
        return Output(streams, None, {name: told.expand(rows, *told.shape[1:]).clone() for name, told in said.items()})

    def number(self, rows: Tensor) -> None:
        for head in self.heads.values():
            head.number(rows)  # type: ignore[operator]

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rows = len(next(iter(output.streams.values())))
        return {name: self.head(name).loss(self._nothing(rows), targets[name]) for name in self.heads}

    def head(self, target: str) -> Head:
        return self.heads[target]  # type: ignore[return-value]

    def _nothing(self, rows: int) -> Tokens:
        zero = next(self.parameters()).new_zeros(rows, self.width)
        return Tokens.of_pooled(zero, torch.zeros(rows, 1, dtype=torch.bool, device=zero.device))
