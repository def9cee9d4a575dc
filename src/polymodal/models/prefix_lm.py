"""One Transformer over the tokens of all streams and the words of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from polymodal.fusion import FUSIONS
from polymodal.heads import HEADS
from polymodal.heads.base import Head
from polymodal.heads.writing import WritingHead
from polymodal.models.base import Joint, texts_among
from polymodal.nn.check import check_count


class PrefixAnswer(Joint):
    """The unified Transformer as a language model (Liu et al. 2018; Wang et al. 2022, SimVLM): one stack of `depth`
    blocks, `units` wide, with `attention_heads` heads, over [photo's tokens][question's tokens] … [answer], in which
    streams first meet and which writes too.

    Tokens carry their stream and their place; of a stream at most `tokens` are kept apart (see `Unified`). Smoothing
    and decoding are those of the target's head, where that writes. Targets beside words are answered by their own
    heads from the mean of all tokens.
    """

    level: ClassVar[str] = "unified"
    needs: ClassVar[tuple[str, ...]] = ("text",)
    reads_tokens: ClassVar[bool] = True

    def __init__(
        self, widths: Mapping[str, int], targets: Sequence[Any], parts: Any,
        *, units: int = 128, depth: int = 3, attention_heads: int = 4, tokens: int = 64, dropout: float = 0.1,
    ):  # fmt: skip
        fusion = {"name": "unified", "layers": 0, "tokens": tokens}
        stack = {"units": units, "depth": depth, "heads": attention_heads, "tokens": None, "dropout": dropout}

        texts = texts_among("prefix_lm", targets)

        def head(target: Any) -> Head:
            if target.name not in texts:
                return parts.build_head(units, target)  # type: ignore[no-any-return]
            own = parts.heads.planned(target)  # without its weights, which may be a whole language model's
            kept = {name: vars(own)[name] for name in ("smoothing", "decoding")} if isinstance(own, WritingHead) else {}
            return HEADS.build({"name": "writer_unified", **stack, **kept}, units, target)

        super().__init__(
            FUSIONS.build(fusion, widths, check_count("units", units)),
            {target.name: head(target) for target in targets},
        )
        self.units, self.depth, self.attention_heads = units, depth, attention_heads
        self.tokens, self.dropout = tokens, dropout
