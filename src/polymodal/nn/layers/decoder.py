"""Transformers that write words about a context: by cross-attention, or with the context as a prefix."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.nn.check import check_count
from polymodal.nn.layers.attention import Held, attend, prefix_mask
from polymodal.nn.layers.block import DecoderBlock, TransformerBlock
from polymodal.nn.layers.recurrent import RecurrentDecoder
from polymodal.nn.layers.state import Decoder, State, TiedDecoder

__all__ = ["Decoder", "PrefixLM", "RecurrentDecoder", "State", "TransformerDecoder"]


class _Stack(TiedDecoder):
    """What Transformers share: `depth` blocks of `heads` heads, learned places of `longest` words.

    The places of the context's tokens are not told apart: add them to the tokens.
    """

    block: Callable[..., nn.Module]

    def __init__(
        self,
        words: int,
        width: int,
        *,
        context_width: int,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        longest: int = 64,
    ):
        longest = check_count("longest", longest)
        super().__init__(words, width, context_width=context_width, dropout=dropout, longest=longest)
        self.depth, self.heads = check_count("depth", depth), heads
        self.places = nn.Parameter(torch.randn(longest, width) * 0.1)
        self.blocks: Any = nn.ModuleList(type(self).block(width, heads, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    @abstractmethod
    def through(self, x: Tensor, state: State, watched: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """The next embedded words [N, L, width] behind the last block, and what the state holds of words from then on.

        Each block adds to `watched` how much its places attend to the context, [N, L, S].
        """

    def absorb(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        return self._absorbed(ids, state, None)

    def weights(self, ids: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Of the last block, the mean over heads: see `Decoder.weights`. It is attention, and no attribution."""
        watched: list[Tensor] = []
        self._absorbed(ids.flatten(0, -2), self._begun(ids, context, mask), watched)
        return watched[-1].view(*ids.shape, mask.shape[1])

    def _absorbed(self, ids: Tensor, state: State, watched: list[Tensor] | None) -> tuple[Tensor, State]:
        written = state.written + ids.shape[1]
        self._check_length(written)
        x = self.drop(self.embedded(ids) + self.places[state.written : written])
        x, past = self.through(x, state, watched)
        return self.norm(x), State(len(ids), tuple(past), state.seen, written)


class TransformerDecoder(_Stack):
    """The Transformer's decoder (Vaswani et al. 2017): causal self-attention, cross-attention to the context.

    Each block normalises the context on its own; its keys and values are computed once a context.
    """

    block = DecoderBlock

    def start(self, context: Tensor, mask: Tensor) -> State:
        x = self.enter(context)
        seen = [part for block in self.blocks for part in block.hold(x)]
        return State(len(mask), (), (mask, *seen))

    def through(self, x: Tensor, state: State, watched: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        mask, *seen = state.seen
        past: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            before = Held(*state.past[2 * i : 2 * i + 2]) if state.past else None
            x, held = block(x, before, Held(*seen[2 * i : 2 * i + 2]), mask, watched)
            past += held
        return x, past


class PrefixLM(_Stack):
    """One stack of blocks over [context][words]: a prefix language model (Liu et al. 2018; Raffel et al. 2020).

    The context's tokens see one another; words see the context and the words before them (`prefix_mask`). Places of
    words count from the first word, so that padding of the context moves none.
    """

    block = TransformerBlock

    def start(self, context: Tensor, mask: Tensor) -> State:
        x, seen = self.drop(self.enter(context)), [mask]
        for block in self.blocks:
            x, held = block.after(x, None, mask, attend)
            seen += held
        return State(len(mask), (), tuple(seen))

    def through(self, x: Tensor, state: State, watched: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        mask, *seen = state.seen
        times, prefix = state.times, mask.shape[1]
        real = mask.repeat_interleave(times, 0)
        visible = prefix_mask(
            torch.cat([real, real.new_ones(len(x), state.written + x.shape[1])], 1), prefix, x.shape[1]
        )
        past: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            before = Held(*seen[2 * i : 2 * i + 2]).repeated(times)
            before = before.followed_by(Held(*state.past[2 * i : 2 * i + 2])) if state.past else before
            asking = x
            x, held = block.after(x, before, visible, partial(attend, sure=True))
            if watched is not None:
                watched.append(block.attention.weights(block.norm(asking), visible, held).mean(1)[..., :prefix])
            past += [part[:, :, prefix:] for part in held]
        return x, past
