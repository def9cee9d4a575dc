"""Small decoders whose words hang on all that they read, and decoders whose probabilities are written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from polymodal.nn.layers.committee import Committee
from polymodal.nn.layers.decoder import Decoder, PrefixLM, RecurrentDecoder, State, TransformerDecoder
from polymodal.nn.layers.state import BEGIN, END, UNKNOWN

WORDS, FOUR = 11, 8  # ids of a vocabulary; of one with four words
WIDTH, CONTEXT = 16, 6


class Pair(Committee):
    """Two Transformers that write as one."""

    def __init__(self, words: int, width: int, **options):
        super().__init__([TransformerDecoder(words, width, **options) for _ in range(2)])


every_decoder = pytest.mark.parametrize(
    "kind", [TransformerDecoder, PrefixLM, RecurrentDecoder, Pair], ids=lambda kind: kind.__name__
)


def members(decoder: Decoder) -> list[Decoder]:
    """The decoders within."""
    return list(getattr(decoder, "members", [decoder]))


def built(kind: Callable[..., Decoder], words: int = WORDS, spread: float = 1.0, **options) -> Decoder:
    """A decoder whose embeddings are larger than training begins with."""
    decoder = kind(words, WIDTH, context_width=CONTEXT, **options).eval()
    for one in members(decoder):
        torch.nn.init.normal_(one.embedding.weight, std=spread)
    return decoder


def lively(kind: Callable[..., Decoder]) -> Decoder:
    """A decoder that writes other words of other contexts, and ends."""
    decoder = built(kind, spread=0.4)
    for layer in decoder.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=2 * layer.in_features**-0.5)
    for one in members(decoder):
        torch.nn.init.constant_(one.bias[END], 3.5)
    return decoder


def example(rows: int = 4, length: int = 5, tokens: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, a context and its mask; the last row sees nothing."""
    ids = torch.randint(4, WORDS, (rows, length))
    ids[:, 0] = BEGIN
    mask = torch.rand(rows, tokens) < 0.6
    mask[:, 0], mask[-1] = True, False
    return ids, torch.randn(rows, tokens, CONTEXT).masked_fill(~mask[..., None], 0.0), mask


class Fixed(Decoder):
    """The next word's scores are the context's first token, whatever was written."""

    def __init__(self, words: int = FOUR):
        super().__init__(words, context_width=words)

    def start(self, context: Tensor, mask: Tensor) -> State:
        return State(len(mask), (), (context[:, 0],))

    def absorb(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        scores = state.seen[0].repeat_interleave(state.times, 0)[:, None].expand(-1, ids.shape[1], -1)
        return scores, State(len(ids), (), state.seen, state.written + ids.shape[1])

    def scores(self, x: Tensor) -> Tensor:
        return x

    def weights(self, ids: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        return torch.zeros(*ids.shape, mask.shape[1])


class Chain(Fixed):
    """The next word hangs on the last one alone: `ways[word][next]` is its probability.

    What is left of 1 goes to UNKNOWN, which nobody writes.
    """

    def __init__(self, ways: Mapping[int, Mapping[int, float]], words: int = FOUR):
        super().__init__(words)
        self.table = torch.full((words, words), 1e-9)
        for word, nexts in ways.items():
            for other, p in nexts.items():
                self.table[word, other] = p
            self.table[word, UNKNOWN] = max(1 - sum(nexts.values()), 1e-9)

    def absorb(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        return self.table.log()[ids], State(len(ids), (), state.seen, state.written + ids.shape[1])
