"""What stands between stored tokens and an answer: an adapter a stream, and an aligner."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polymodal.aligners.base import Aligner
from polymodal.core.types import Output, Tokens
from polymodal.heads.base import Head
from polymodal.models.base import Answer, Labelled
from polymodal.nn.layers.adapter import Adapter
from polymodal.nn.layers.named import Named


class Adapted(Answer):
    """encode → adapt → align → answer.

    Each stream goes through a small residual adapter of its own, the identity at the start: the end of its tower, which
    gives objectives something to balance where encoders are stored. An `aligner` then brings all streams into one
    space; its own losses, times `weight`, are added. Aligned vectors have length one and are multiplied by √dim, so
    that the answer sees entries of unit scale, as from an encoder.
    """

    def __init__(self, answer: Answer, widths: Mapping[str, int], aligner: Aligner | None = None, weight: float = 0.1):
        super().__init__()
        self.answer = answer
        self.adapters = Named({name: Adapter(width) for name, width in widths.items()})
        self.aligner = aligner
        self.weight = weight

    def forward(self, streams: Mapping[str, Tokens]) -> Output:
        return self.join(self.prepare(streams))

    def prepare(self, streams: Mapping[str, Tokens]) -> dict[str, Tokens]:
        adapted = {name: _adapted(streams[name], adapter) for name, adapter in self.adapters.items()}
        if self.aligner is None:
            return adapted
        return {name: _scaled(tokens, self.aligner.dim**0.5) for name, tokens in self.aligner(adapted).items()}

    def join(self, prepared: Mapping[str, Tokens]) -> Output:
        return self.answer(prepared)

    def losses(self, output: Output, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        losses = self.answer.losses(output, targets)
        if self.aligner is not None and self.aligner.learns == "gradient":
            losses |= self._alignment(output.streams)
        return losses

    def _alignment(self, streams: Mapping[str, Tokens]) -> dict[str, Tensor]:
        """The aligner's losses: the streams of one row belong together, those of different rows do not."""
        assert self.aligner is not None
        vectors, rows = {}, {}
        for name, tokens in streams.items():
            present = tokens.present.nonzero()[:, 0]
            vectors[name] = _scaled(tokens.select(present), self.aligner.dim**-0.5)
            rows[name] = present[:, None]
        if min(len(r) for r in rows.values()) < 2:  # nothing to tell apart
            return {}
        return {f"align/{name}": self.weight * loss for name, loss in self.aligner.loss(vectors, rows).items()}

    def head(self, target: str) -> Head:
        return self.answer.head(target)

    def see(self, rows: Tensor) -> None:
        self.answer.see(rows)

    def judged(self, streams: Mapping[str, Tokens], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.answer.judged(self.prepare(streams), targets)

    def fused(self, streams: Mapping[str, Tokens]) -> Tokens:
        return self.answer.fused(self.prepare(streams))

    def number(self, rows: Tensor) -> None:
        self.answer.number(rows)

    def finalize(self, train: Labelled, valid: Labelled, seed: int) -> None:
        seen, held = (Labelled(self.prepare(part.streams), part.targets) for part in (train, valid))
        self.answer.finalize(seen, held, seed)

    def towers(self) -> dict[str, list[nn.Parameter]]:
        return {name: list(adapter.parameters()) for name, adapter in self.adapters.items()}


def _adapted(tokens: Tokens, adapter: nn.Module) -> Tokens:
    """The stream through its adapter; a pooled vector that is the only token goes through once."""
    clean = tokens.cleared()
    pooled = adapter(clean.pooled)
    if clean.single:
        return Tokens.of_pooled(pooled, clean.mask, clean.where)
    return Tokens(adapter(clean.x), clean.mask, pooled, clean.where)


def _scaled(tokens: Tokens, factor: float) -> Tokens:
    return tokens.changed(x=torch.mul(tokens.x, factor), pooled=tokens.pooled * factor)
