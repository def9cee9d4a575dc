"""A weighted bag of n-grams of a text: hashed, learned end to end, without a recurrent or attention layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polymodal.core.types import Tokens
from polymodal.encoders.base import Encoder
from polymodal.encoders.segments import segment_mask, segment_spans, segments, typing_errors

BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
SALT = 0x632BE59BD9B4E019
HALF, WHOLE = 2**63, 2**64


class NgramHash(nn.Module):
    """Hashes of all n-grams of token ids at once: differences of a running polynomial sum modulo 2**64.

    With `space`, n-grams stay within a word and its two blanks (scikit-learn's "char_wb"); without, they may run on.
    Words and pairs of neighbouring words count as well, whatever their length.
    """

    def __init__(self, longest: int, space: int | None, length: int):
        super().__init__()
        self.longest = longest
        self.space = space
        powers, inverse, step = [1], [1], pow(BASE, -1, WHOLE)
        for _ in range(length):
            powers.append(powers[-1] * BASE % WHOLE)
            inverse.append(inverse[-1] * step % WHOLE)
        self.register_buffer("powers", torch.tensor([_signed(p) for p in powers]), persistent=False)
        self.register_buffer("inverse", torch.tensor([_signed(p) for p in inverse]), persistent=False)
        self.powers: Tensor
        self.inverse: Tensor

    @property
    def width(self) -> int:
        """n-grams that start at one token."""
        return self.longest + 2

    def forward(self, ids: Tensor, edge: Tensor, size: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Hashes int64 [B, L, width] of the n-grams that start at each token, and which of them exist.

        `ids` [B, L]; `edge` [B, L] bool, where a word starts; `size` and `last` [B], the ends of text and last word.
        """
        length = ids.shape[1]
        terms = (ids.long() + 1) * _signed(SALT) * self.powers[:length]
        total = F.pad(terms.cumsum(1), (1, 0))  # wraps around, as a polynomial modulo 2**64 does
        start = torch.arange(length, device=ids.device).expand_as(ids)
        ends = [start + n for n in range(1, self.longest + 1)]
        following = _next_edge(edge, last)
        ends += [following.gather(1, start + 1), following.gather(1, following.gather(1, start + 1).clamp(max=length))]
        end = torch.stack(ends, dim=2)
        exists = (end <= size[:, None, None]) & (end > start[..., None])
        exists[..., -2:] &= edge[..., None]
        exists[..., -1] &= end[..., -1] > end[..., -2]
        if self.space is not None:
            exists[..., : self.longest] &= _within_word(ids == self.space, end[..., : self.longest])
        end = end.clamp(max=length)
        raw = total.gather(1, end.flatten(1)).view_as(end) - total[:, :length, None]
        kind = torch.arange(self.width, device=ids.device).clamp(min=self.longest - 1)  # words differ from n-grams
        return _mix(raw * self.inverse[:length, None] + (kind + end - start[..., None]) * _signed(SALT)), exists


def _within_word(blank: Tensor, end: Tensor) -> Tensor:
    """Whether the run from each place to `end` [B, L, n] has no blank inside and is not a blank alone."""
    length = blank.shape[1]
    blanks = F.pad(blank.long().cumsum(1), (1, 0))
    inner = blanks.gather(1, (end - 1).clamp(0, length).flatten(1)).view_as(end) - blanks[:, 1:, None]
    single = end - torch.arange(length, device=end.device)[:, None] == 1
    return (inner <= 0) & ~(single & blank[..., None])


def _next_edge(edge: Tensor, size: Tensor) -> Tensor:
    """[B, L + 1] int64: the first start of a word at or after each place, or the end of the text."""
    length = edge.shape[1]
    place = torch.arange(length + 1, device=edge.device)
    known = torch.where(F.pad(edge, (0, 1)) & (place < size[:, None]), place, size[:, None].clamp(max=length))
    return known.flip(1).cummin(1).values.flip(1)


def _mix(value: Tensor) -> Tensor:
    """Spread every bit over all bits (the finaliser of splitmix64, with arithmetic shifts)."""
    value = (value ^ (value >> 30)) * _signed(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> 27)) * _signed(0x94D049BB133111EB)
    return value ^ (value >> 31)


def _signed(value: int) -> int:
    return (value + HALF) % WHOLE - HALF


class TextTfidf(Encoder):
    """Bag of hashed n-grams (Weinberger 2009), weighted by tf-idf (Salton & Buckley 1988), each with a learned vector.

    The weights w = (1 + ln tf) (1 + ln((1 + n) / (1 + df))) of a text have unit length; its bag is the w-weighted sum
    of the n-grams' vectors (Joulin 2017), followed by one residual hidden layer. One token for each word, up to
    `tokens`: the part of the bag that starts there.

    Options: `features` slots of the hash table; `longest` n-gram (None: 5 characters or 3 subwords); `hidden` units;
    `dropout`; `noise` share of tokens with a typing error in training; `tokens`.
    """

    processor = "text"

    def __init__(
        self,
        facts: Mapping[str, Any],
        dim: int,
        *,
        features: int = 2**15,
        longest: int | None = None,
        hidden: int = 128,
        dropout: float = 0.2,
        noise: float = 0.05,
        tokens: int = 16,
    ):
        super().__init__(facts, dim)
        self.features = features
        self.longest = longest
        self.hidden = hidden
        self.dropout = dropout
        self.noise = noise
        self.tokens = tokens
        characters = facts["level"] == "characters"
        self.hash = NgramHash(longest or (5 if characters else 3), facts["space"], facts["length"] + 2)
        self.table = nn.Parameter(torch.randn(features, dim) * 0.1)
        self.register_buffer("idf", torch.ones(features))
        self.idf: Tensor
        self.norm = nn.LayerNorm(dim)
        self.deep = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))

    def recipe(self) -> dict[str, Any]:
        return {"epochs": 12, "batch": 64, "lr": 4e-3, "weight_decay": 0.02}

    def fit_statistics(self, inputs: Mapping[str, Tensor]) -> None:
        """Learn the inverse document frequency of every slot."""
        slots, exists = self._slots(inputs)[:2]
        frequency = torch.zeros(self.features, device=slots.device)
        for slot, there in zip(slots, exists):
            frequency[slot[there].unique()] += 1
        self.idf.copy_(((1 + len(slots)) / (1 + frequency)).log() + 1)

    def augment(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return typing_errors(inputs, self.noise) if self.noise else inputs

    def encode(self, inputs: dict[str, Tensor]) -> Tokens:
        slots, exists, owner = self._slots(inputs)
        real = inputs["ids"] != 0
        segment = segments(inputs["word"], real, self.tokens)
        rows = torch.arange(len(slots), device=slots.device)[:, None]
        bag = (rows * self.tokens + segment.gather(1, owner)).flatten()  # in rising order, as places are
        starts = F.pad(bag.bincount(minlength=len(slots) * self.tokens).cumsum(0), (1, 0))[:-1] * slots.shape[2]
        weight = self._weights(slots.flatten(1), exists.flatten(1))
        parts = F.embedding_bag(
            slots.flatten(), self.table, starts, mode="sum", per_sample_weights=weight.flatten().to(self.table.dtype)
        ).view(len(slots), self.tokens, self.dim)
        mask = segment_mask(segment, real, self.tokens)
        where = segment_spans(inputs["spans"], segment, real, self.tokens)
        return Tokens(self._finish(parts), mask, self._finish(parts.sum(1)), where)

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

    def _finish(self, bag: Tensor) -> Tensor:
        normal = self.norm(bag)
        return normal + self.deep(normal)
