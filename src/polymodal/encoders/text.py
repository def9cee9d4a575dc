"""Text encoders that read in order: a bidirectional LSTM and a Transformer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.core.types import Tokens
from polymodal.encoders.base import Encoder, Held
from polymodal.encoders.segments import (
    hidden_words,
    pool_segments,
    segment_spans,
    segments,
    trimmed,
    typing_errors,
    word_parts,
)  # fmt: skip
from polymodal.nn.layers.block import TransformerBlock
from polymodal.nn.layers.pool import AttentionPool
from polymodal.nn.layers.position import index_features


class TextReader(Encoder):
    """What both share: embedded ids are read into states; states are pooled to a token a word and to one vector.

    An author writes `read`. `noise` is the share of characters or subwords with a typing error in training.
    """

    processor = "text"
    hidden_share = 0.25

    def __init__(self, facts: Mapping[str, Any], dim: int, width: int, noise: float, tokens: int, dropout: float):
        super().__init__(facts, dim)
        self.noise = noise
        self.tokens = tokens
        self.dropout = dropout
        self.embed = nn.Embedding(facts["vocabulary"], width, padding_idx=0)
        nn.init.normal_(self.embed.weight[1:], std=width**-0.5)
        self.pool = AttentionPool(dim)
        self.norm = nn.LayerNorm(dim)
        self.drop = nn.Dropout(dropout)

    @abstractmethod
    def read(self, x: Tensor, real: Tensor) -> Tensor:
        """[B, L, width] embeddings and [B, L] bool to states [B, L, dim]; padding must not touch real places."""

    def augment(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return typing_errors(inputs, self.noise) if self.noise else inputs

    def hideable(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The words."""
        return word_parts(inputs)

    def hide(self, inputs: Mapping[str, Tensor], hidden: Tensor) -> tuple[dict[str, Tensor], list[Held]]:
        """Places of hidden words stay, and hold nothing."""
        gone, held = hidden_words(inputs, hidden)
        return {**inputs, "hidden": gone}, [held]

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        inputs = trimmed(inputs)
        real = inputs["ids"] != 0
        x = self.embed(inputs["ids"].long())
        if "hidden" in inputs:
            x = x.masked_fill(inputs["hidden"][..., None], 0.0)
        states = self.norm(self.read(self.drop(x), real))
        segment = segments(inputs["word"], real, self.tokens)
        x, mask = pool_segments(states, segment, real, self.tokens)
        where = segment_spans(inputs["spans"], segment, real, self.tokens)
        return Tokens(x, mask, self.pool(states, real), where)


class TextBiLSTM(TextReader):
    """Embedding, bidirectional LSTM (Graves & Schmidhuber 2005), attention pooling. A token a word, up to `tokens`.

    Options: `width` of the embedding; `hidden` units a direction; `layers`; `dropout`; `noise`; `tokens`.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        width: int = 64,
        hidden: int = 64,
        layers: int = 1,
        dropout: float = 0.2,
        noise: float = 0.1,
        tokens: int = 16,
    ):
        super().__init__(facts, dim, width, noise, tokens, dropout)
        self.width = width
        self.hidden = hidden
        self.layers = layers
        self.lstm = nn.LSTM(
            width, hidden, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
        )
        self.out = nn.Linear(2 * hidden, dim)

    def recipe(self) -> dict[str, Any]:
        return {"epochs": 10, "batch": 64, "lr": 3e-3, "weight_decay": 0.02}

    def read(self, x: Tensor, real: Tensor) -> Tensor:
        lengths = real.sum(1).clamp(min=1)
        if torch.compiler.is_exporting():
            return self.out(_read_padded(self.lstm, x, lengths))
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])
        return self.out(self.drop(states))


def _read_padded(lstm: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """What the LSTM makes of packed sequences, without packing them: a graph has one length.

    Backwards is forwards over the row's real places turned round. Padding holds anything.
    """
    place = torch.arange(x.shape[1], device=x.device)
    turned = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)[..., None]
    for layer in range(lstm.num_layers):
        ways = []
        for backwards in (False, True):
            given = x.gather(1, turned.expand_as(x)) if backwards else x
            zero = x.new_zeros(1, x.shape[0], lstm.hidden_size)
            weights: list[Tensor] = [*lstm.all_weights[2 * layer + backwards]]
            states = torch.lstm(given, (zero, zero), weights, True, 1, 0.0, False, False, True)[0]
            ways.append(states.gather(1, turned.expand_as(states)) if backwards else states)
        x = torch.cat(ways, 2)
    return x


class TextTransformer(TextReader):
    """Embedding, a convolution for letters or words that stand together, Transformer blocks (Vaswani et al. 2017).

    Attention pooling; a token a word, up to `tokens`. Options: `layers`; `heads`; `kernel` of the convolution (odd);
    `dropout`; `noise`; `tokens`.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        layers: int = 2,
        heads: int = 4,
        kernel: int = 5,
        dropout: float = 0.2,
        noise: float = 0.1,
        tokens: int = 16,
    ):
        super().__init__(facts, dim, dim, noise, tokens, dropout)
        self.layers = layers
        self.heads = heads
        self.kernel = kernel
        self.local = nn.Conv1d(dim, dim, kernel, padding=kernel // 2)
        self.blocks = nn.ModuleList(TransformerBlock(dim, heads, dropout=dropout) for _ in range(layers))

    def recipe(self) -> dict[str, Any]:
        return {"epochs": 10, "batch": 64, "lr": 2e-3, "weight_decay": 0.02}

    def read(self, x: Tensor, real: Tensor) -> Tensor:
        x = x * real[..., None]
        x = x + nn.functional.gelu(self.local(x.transpose(1, 2))).transpose(1, 2)
        x = x + index_features(x.shape[1], self.dim, x.device).to(x.dtype)
        for block in self.blocks:
            x = block(x, real)
        return x
