"""A Transformer that writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from polymodal.heads.writing import LinedHead
from polymodal.nn.check import check_count
from polymodal.nn.layers.committee import Committee
from polymodal.nn.layers.decoder import Decoder, TransformerDecoder
from polymodal.targets.text import TextTarget

NARROWEST, WIDEST = 64, 256  # units


class Writer(LinedHead):
    """A Transformer decoder (Vaswani et al. 2017) of `depth` blocks with `heads` heads, whose words attend to the words
    before and to all tokens; see `LinedHead` and `WritingHead` for the other options.

    What is None follows the answers. Short ones are chosen more than written: one block, as wide as there are words to
    tell apart, 64 to 256, a dropout of 0.1 and no smoothing. Others: two blocks of 256 units, 0.2 and 0.1.
    `voices` such decoders learn side by side and write as one (`nn.layers.committee.Committee`).
    """

    network: ClassVar[type[Decoder]] = TransformerDecoder

    def __init__(
        self,
        width: int,
        target: TextTarget,
        *,
        units: int | None = None,
        depth: int | None = None,
        heads: int = 4,
        voices: int = 1,
        tokens: int | None = 64,
        dropout: float | None = None,
        smoothing: float | None = None,
        decoding: Mapping[str, Any] | None = None,
    ):
        short = target.short
        wide = min(WIDEST, -(-target.words // NARROWEST) * NARROWEST) if short else WIDEST
        units = wide if units is None else units
        depth = (1 if short else 2) if depth is None else depth
        dropout = (0.1 if short else 0.2) if dropout is None else dropout
        smoothing = (0.0 if short else 0.1) if smoothing is None else smoothing
        super().__init__(
            width, target, units=units, tokens=tokens, dropout=dropout, smoothing=smoothing, decoding=decoding
        )
        self.depth = depth
        self.heads = heads
        self.voices = check_count("voices", voices)
        options = {"context_width": units if self.line else width, "depth": depth, "heads": heads, "dropout": dropout}
        build: Any = self.network
        each = [build(target.words, units, longest=self.most, **options) for _ in range(voices)]
        self.writes: Decoder = Committee(each) if voices > 1 else each[0]
        self.settle()

    @property
    def decoder(self) -> Decoder:
        return self.writes

    def solo(self) -> None:
        if isinstance(self.writes, Committee):
            self.writes = self.writes.members[0]  # type: ignore[assignment]
