"""A weighted bag of n-grams of a text: hashed, learned end to end, without a recurrent or attention layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.types import Tokens
from polymodal.encoders.base import Encoder
from polymodal.encoders.segments import segment_mask, segment_spans, segments, trimmed, typing_errors

BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
SALT = 0x632BE59BD9B4E019
HALF, WHOLE = 2**63, 2**64
SCALE = 10.0  # the sum of about a hundred vectors with weights of unit length is a tenth of one vector's length


class NgramHash(nn.Module):
    """Hashes of all n-grams of token ids at once: differences of a running polynomial sum modulo 2**64.

    Besides n-grams of 1 to `longest` tokens: words, pairs of neighbouring words and, among characters, words without
    one of their characters. Two words one edit apart share such a form (Garbe 2012), so a misspelling meets its word.
    With `space`, the blank's id among characters, n-grams stay within a word and its two blanks.
    """

    def __init__(self, longest: int, space: int | None, length: int):
        super().__init__()
        self.longest = longest
        self.space = space
        powers, inverse, step = [1], [1], pow(BASE, -1, WHOLE)
        for _ in range(length + 1):
            powers.append(powers[-1] * BASE % WHOLE)
            inverse.append(inverse[-1] * step % WHOLE)
        self.register_buffer("powers", torch.tensor([_signed(p) for p in powers]), persistent=False)
        self.register_buffer("inverse", torch.tensor([_signed(p) for p in inverse]), persistent=False)
        self.powers: Tensor
        self.inverse: Tensor

    def forward(self, ids: Tensor, edge: Tensor, size: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Hashes int64 [B, L, W] of what starts at (or lacks) each token, and which of them exist.

        `ids` [B, L]; `edge` [B, L] bool, where a word starts; `size` and `last` [B], the ends of text and last word.
        """
        length = ids.shape[1]
        # Products and sums wrap around, as a polynomial modulo 2**64 does.
        total = F.pad(((ids.long() + 1) * _signed(SALT) * self.powers[:length]).cumsum(1), (1, 0))
        start = torch.arange(length, device=ids.device)
        end = (start[:, None] + torch.arange(1, self.longest + 1, device=ids.device)).expand(ids.shape[0], -1, -1)
        grams = self._run(total, start.expand_as(ids)[..., None], end) + torch.arange(self.longest, device=ids.device)
        exists = end <= size[:, None, None]
        if self.space is not None:
            exists = exists & _within_word(ids == self.space, end)
        words, there = self._words(total, edge, last)
        return _mix(torch.cat([grams, words + self.longest], dim=2)), torch.cat([exists, there], dim=2)

    def _words(self, total: Tensor, edge: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """The word and the pair of words that start at each token, and the token's word without it: [B, L, 2 or 3]."""
        length = edge.shape[1]
        place = torch.arange(length + 1, device=edge.device)
        starts = torch.where(F.pad(edge, (0, 1)) & (place < last[:, None]), place, last[:, None])
        following = starts.flip(1).cummin(1).values.flip(1)[:, 1:]  # where the next word starts, or the last one ends
        after = F.pad(following, (0, 1)).gather(1, following.clamp(max=length - 1))
        begin = place[:length].expand_as(edge)
        runs = self._run(total, begin[..., None], torch.stack([following, after], dim=2))
        inside = begin < last[:, None]
        exists = torch.stack([edge & inside, edge & inside & (after > following)], dim=2)
        if self.space is None:
            return runs, exists
        own = torch.where(edge, begin, 0).cummax(1).values
        left = self._run(total, own[..., None], begin[..., None])
        right = self._run(total, begin[..., None] + 1, following[..., None])
        lacking = left + right * self.powers.take((begin - own)[..., None])
        return torch.cat([runs, lacking], dim=2), torch.cat([exists, (inside & ~edge)[..., None]], dim=2)

    def _run(self, total: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """The polynomial of the tokens from `start` to before `end`, as if they stood at the beginning."""
        length = total.shape[1] - 1

        def at(places: Tensor) -> Tensor:
            return total.gather(1, places.clamp(max=length).flatten(1)).view_as(places)

        return (at(end) - at(start)) * self.inverse.take(start.clamp(max=length))


def _within_word(blank: Tensor, end: Tensor) -> Tensor:
    """Whether the run from each place to `end` [B, L, n] has no blank inside and is not a blank alone."""
    length = blank.shape[1]
    blanks = F.pad(blank.long().cumsum(1), (1, 0))
    inner = blanks.gather(1, (end - 1).clamp(0, length).flatten(1)).view_as(end) - blanks[:, 1:, None]
    single = end - torch.arange(length, device=end.device)[:, None] == 1
    return (inner <= 0) & ~(single & blank[..., None])


def _mix(value: Tensor) -> Tensor:
    """Spread every bit over all bits (the finaliser of splitmix64, with arithmetic shifts)."""
    value = (value ^ (value >> 30)) * _signed(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> 27)) * _signed(0x94D049BB133111EB)
    return value ^ (value >> 31)


def _signed(value: int) -> int:
    return (value + HALF) % WHOLE - HALF


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
        self.hash = NgramHash(longest or (5 if self.characters else 2), facts["space"], facts["length"] + 2)
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

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        inputs = trimmed(inputs)
        slots, exists, owner = self._slots(inputs)
        real = inputs["ids"] != 0
        segment = segments(inputs["word"], real, self.tokens)
        rows = torch.arange(slots.shape[0], device=slots.device)[:, None]
        bag = (rows * self.tokens + segment.gather(1, owner)).flatten()  # in rising order, as places are
        sizes = bag.new_zeros(slots.shape[0] * self.tokens).index_add(0, bag, torch.ones_like(bag))
        starts = F.pad(sizes.cumsum(0), (1, 0))[:-1] * slots.shape[2]
        weight = self._weights(slots.flatten(1), exists.flatten(1))
        parts = SCALE * F.embedding_bag(
            slots.flatten(), self.table, starts, mode="sum", per_sample_weights=weight.flatten().to(self.table.dtype)
        ).view(slots.shape[0], self.tokens, self.dim)
        mask = segment_mask(segment, real, self.tokens)
        where = segment_spans(inputs["spans"], segment, real, self.tokens)
        return Tokens(parts, mask, parts.sum(1), where)

    def _slots(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Slot and existence [B, P, W] of the n-grams that start at each place, and the token [B, P] it belongs to.

        Characters get a blank before and after the text, so that its first and last word look like the others.
        """
        ids = inputs["ids"].long()
        size = (ids != 0).sum(1)
        place = torch.arange(ids.shape[1], device=ids.device)
        if self.hash.space is None:
            word = inputs["word"]
            edge = F.pad(word[:, 1:] != word[:, :-1], (1, 0), value=True)
            hashes, exists = self.hash(ids, edge, size, size)
            owner = place.expand_as(ids)
        else:
            padded = F.pad(ids, (1, 1)).scatter(1, size[:, None] + 1, self.hash.space)
            padded[:, 0] = self.hash.space
            hashes, exists = self.hash(padded, padded == self.hash.space, size + 2, size + 1)
            owner = F.pad(place, (1, 1), value=0).expand_as(padded).clone()
            owner[:, -1] = place[-1]
        return hashes % self.features, exists, owner

    def _weights(self, slots: Tensor, exists: Tensor) -> Tensor:
        """tf-idf of each occurrence [B, N]: a term's weight is shared by its occurrences; rows have unit length."""
        marked = torch.where(exists, slots, self.features)
        ordered, order = marked.sort(1)
        changed = F.pad(ordered[:, 1:] != ordered[:, :-1], (1, 0))
        run = changed.long().cumsum(1)
        counts = torch.zeros_like(ordered).scatter_add(1, run, torch.ones_like(run)).gather(1, run)
        count = torch.empty_like(counts).scatter(1, order, counts).to(self.idf)
        term = (1 + count.log()) * self.idf[slots] * exists
        length = (term.square() / count).sum(1, keepdim=True).sqrt()
        return term / count / length.clamp(min=1e-6)
