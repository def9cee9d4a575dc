"""A weighted bag of n-grams of a text: hashed, learned end to end, without a recurrent or attention layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.types import Tokens
from polymodal.encoders.base import Encoder, Held
from polymodal.encoders.ngrams import Ngrams, tf_idf
from polymodal.encoders.segments import (
    hidden_words,
    segment_mask,
    segment_spans,
    segments,
    trimmed,
    typing_errors,
    without,
    word_parts,
)  # fmt: skip

SCALE = 10.0  # the sum of about a hundred vectors with weights of unit length is a tenth of one vector's length


class TextTfidf(Encoder):
    """Bag of hashed n-grams (Weinberger 2009), weighted by tf-idf (Salton & Buckley 1988), each with a learned vector.

    The weights w = (1 + ln tf) (1 + ln((1 + n) / (1 + df))) of a text have unit length, and the pooled vector is the
    w-weighted sum of the n-grams' vectors: a linear model of low rank (Joulin 2017), which overfits few texts least.
    One token for each word, up to `tokens`: the part of the sum that starts there.

    Options: `features` slots of the hash table; `longest` n-gram (None: 5 characters or 2 subwords); `rare`, least
    number of texts that hold an n-gram (None: 5 for characters, else 2); `noise`, share of characters or subwords with
    a typing error in training (None: 0.2 for characters, else 0.05); `tokens`.
    """

    processor = "text"
    hidden_share = 0.25

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        features: int = 2**14,
        longest: int | None = None,
        rare: int | None = None,
        noise: float | None = None,
        tokens: int = 16,
    ):
        super().__init__(facts, dim)
        self.features = features
        self.longest = longest
        self.rare = rare
        self.noise = noise
        self.tokens = tokens
        self.characters = facts["level"] == "characters"
        self.ngrams = Ngrams(facts, longest or (5 if self.characters else 2))
        self.table = nn.Parameter(torch.randn(features, dim) * 0.01)
        self.register_buffer("idf", torch.ones(features))
        self.idf: Tensor

    def recipe(self) -> dict[str, Any]:
        return {"epochs": 12, "batch": 64, "lr": 2e-3, "weight_decay": 0.02}

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """Learn the inverse document frequency of every slot; what fewer than `rare` texts hold gets weight zero."""
        rare = self.rare if self.rare is not None else 5 if self.characters else 2
        frequency = torch.zeros_like(self.idf)
        for start in range(0, len(inputs["ids"]), 256):
            slots, exists = self._slots({name: value[start : start + 256] for name, value in inputs.items()})[:2]
            for slot, there in zip(slots, exists):
                frequency[slot[there].unique()] += 1
        idf = ((1 + len(inputs["ids"])) / (1 + frequency)).log() + 1
        self.idf.copy_(torch.where(frequency < rare, 0.0, idf))

    def augment(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        noise = self.noise if self.noise is not None else 0.2 if self.characters else 0.05
        return typing_errors(inputs, noise) if noise else inputs

    def hideable(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The words."""
        return word_parts(inputs)

    def hide(self, inputs: Mapping[str, Tensor], hidden: Tensor) -> tuple[dict[str, Tensor], list[Held]]:
        """Hidden words are taken out."""
        gone, held = hidden_words(inputs, hidden)
        return without(inputs, gone), [held]

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        inputs = trimmed(inputs)
        slots, exists, owner = self._slots(inputs)
        real = inputs["ids"] != 0
        segment = segments(inputs["word"], real, self.tokens)
        rows = torch.arange(slots.shape[0], device=slots.device)[:, None]
        bag = (rows * self.tokens + segment.gather(1, owner)).flatten()  # in rising order, as places are
        sizes = bag.new_zeros(slots.shape[0] * self.tokens).index_add(0, bag, torch.ones_like(bag))
        starts = F.pad(sizes.cumsum(0), (1, 0))[:-1] * slots.shape[2]
        weight = tf_idf(slots.flatten(1), exists.flatten(1), self.idf)
        parts = SCALE * F.embedding_bag(
            slots.flatten(), self.table, starts, mode="sum", per_sample_weights=weight.flatten().to(self.table.dtype)
        ).view(slots.shape[0], self.tokens, self.dim)
        mask = segment_mask(segment, real, self.tokens)
        where = segment_spans(inputs["spans"], segment, real, self.tokens)
        return Tokens(parts, mask, parts.sum(1), where)

    def _slots(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Slot and existence [B, P, W] of the n-grams that start at each place, and the token [B, P] it belongs to."""
        hashes, exists, owner = self.ngrams(inputs)
        return hashes % self.features, exists, owner
