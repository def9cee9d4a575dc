"""A Transformer that reads and writes in one stack."""

from __future__ import annotations

from typing import ClassVar

from polymodal.heads.writer import Writer
from polymodal.nn.layers.decoder import Decoder, PrefixLM


class WriterUnified(Writer):
    """A prefix language model (Liu et al. 2018; Raffel et al. 2020): one stack of `depth` blocks with `heads` heads
    over [tokens][answer]. Tokens see one another, words all tokens and the words before; only words cost.

    Its options are those of `Writer`. With `tokens` None, tokens are taken as they come: who made them has told their
    streams and places apart already.
    """

    network: ClassVar[type[Decoder]] = PrefixLM
