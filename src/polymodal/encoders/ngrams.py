"""N-grams of token ids as numbers, and their tf-idf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
SALT = 0x632BE59BD9B4E019
HALF, WHOLE = 2**63, 2**64


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


class Ngrams(nn.Module):
    """The n-grams of texts as a text processor makes them (`facts`): of 1 to `longest` characters or subwords, words,
    pairs of words and, among characters, words without a letter, in this order (`NgramHash`)."""

    def __init__(self, facts: Mapping[str, Any], longest: int):
        super().__init__()
        self.hash = NgramHash(longest, facts["space"], facts["length"] + 2)

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Hash and existence [B, P, W] of the n-grams that start at each place, and the token [B, P] it belongs to.

        Characters get a blank before and after the text, so that its first and last word look like the others.
        """
        ids = inputs["ids"].long()
        size = (ids != 0).sum(1)
        place = torch.arange(ids.shape[1], device=ids.device)
        if self.hash.space is None:
            word = inputs["word"]
            edge = F.pad(word[:, 1:] != word[:, :-1], (1, 0), value=True)
            return *self.hash(ids, edge, size, size), place.expand_as(ids)
        padded = F.pad(ids, (1, 1)).scatter(1, size[:, None] + 1, self.hash.space)
        padded[:, 0] = self.hash.space
        owner = F.pad(place, (1, 1), value=0).expand_as(padded).clone()
        owner[:, -1] = place[-1]
        return *self.hash(padded, padded == self.hash.space, size + 2, size + 1), owner


def tf_idf(slots: Tensor, exists: Tensor, idf: Tensor) -> Tensor:
    """(1 + ln tf) idf of each occurrence [B, N] of `slots` of `idf` [S]: a term's weight is shared by its occurrences;
    rows have unit length."""
    marked = torch.where(exists, slots, len(idf))
    ordered, order = marked.sort(1)
    changed = F.pad(ordered[:, 1:] != ordered[:, :-1], (1, 0))
    run = changed.long().cumsum(1)
    counts = torch.zeros_like(ordered).scatter_add(1, run, torch.ones_like(run)).gather(1, run)
    count = torch.empty_like(counts).scatter(1, order, counts).to(idf)
    term = (1 + count.log()) * idf[slots] * exists
    length = (term.square() / count).sum(1, keepdim=True).sqrt()
    return term / count / length.clamp(min=1e-6)
