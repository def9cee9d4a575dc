"""A Transformer that reads and writes in one stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.heads.writing import LinedHead
from polymodal.nn.layers.decoder import Decoder, PrefixLM
from polymodal.targets.text import TextTarget


class WriterUnified(LinedHead):
    """A prefix language model (Liu et al. 2018; Raffel et al. 2020): one stack of `depth` blocks with `heads` heads
    over [tokens][answer]. Tokens see one another, words all tokens and the words before; only words cost.

    With `tokens` None, tokens are taken as they come: who made them has told their streams and places apart already.
    See `LinedHead` and `WritingHead` for the other options.
    """

    def __init__(
        self,
        width: int,
        target: TextTarget,
        *,
        units: int = 256,
        depth: int = 2,
        heads: int = 4,
        tokens: int | None = 64,
        dropout: float = 0.2,
        smoothing: float = 0.1,
        decoding: Mapping[str, Any] | None = None,
    ):
        super().__init__(
            width, target, units=units, tokens=tokens, dropout=dropout, smoothing=smoothing, decoding=decoding
        )
        self.depth = depth
        self.heads = heads
        context = units if self.line else width
        self.writes = PrefixLM(
            target.words, units, context_width=context, depth=depth, heads=heads, dropout=dropout, longest=self.most
        )
        self.settle()

    @property
    def decoder(self) -> Decoder:
        return self.writes
