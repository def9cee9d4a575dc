"""A recurrent network that writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from polymodal.core.values import check_range
from polymodal.heads.writing import LinedHead
from polymodal.nn.layers.recurrent import RecurrentDecoder
from polymodal.nn.layers.state import Decoder
from polymodal.targets.text import TextTarget


class WriterRecurrent(LinedHead):
    """Show, attend and tell (Xu et al. 2015): an LSTM that looks anew at all tokens before each word.

    `evenly` weighs the penalty that asks every token to be looked at once in the course of a text (doubly stochastic
    attention). See `LinedHead` and `WritingHead` for the other options.
    """

    def __init__(
        self,
        width: int,
        target: TextTarget,
        *,
        units: int = 256,
        evenly: float = 0.01,
        tokens: int = 64,
        dropout: float = 0.2,
        smoothing: float = 0.1,
        decoding: Mapping[str, Any] | None = None,
    ):
        super().__init__(
            width, target, units=units, tokens=tokens, dropout=dropout, smoothing=smoothing, decoding=decoding
        )
        check_range("[0, inf)", evenly=evenly)
        self.evenly = evenly
        self.writes = RecurrentDecoder(target.words, units, context_width=units, dropout=dropout)
        self.settle()

    @property
    def decoder(self) -> Decoder:
        return self.writes

    def _more(self) -> Tensor | float:
        return self.evenly * self.writes.penalty()
