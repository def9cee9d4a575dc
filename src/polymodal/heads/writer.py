"""A Transformer that writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from polymodal.heads.writing import LinedHead
from polymodal.nn.check import check_count
from polymodal.nn.layers.committee import Committee
from polymodal.nn.layers.decoder import Decoder, TransformerDecoder
from polymodal.targets.text import TextTarget


class Writer(LinedHead):
    """A Transformer decoder (Vaswani et al. 2017) of `depth` blocks with `heads` heads, whose words attend to the words
    before and to all tokens; see `LinedHead` and `WritingHead` for the other options.

    `voices` such decoders learn side by side and write as one (`nn.layers.committee.Committee`).
    """

    network: ClassVar[type[Decoder]] = TransformerDecoder

    def __init__(
        self,
        width: int,
        target: TextTarget,
        *,
        units: int = 256,
        depth: int = 2,
        heads: int = 4,
        voices: int = 1,
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
