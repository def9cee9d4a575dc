"""How alike sequences of words are, by their n-grams: which of them says best what the others say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import sparse

from polymodal.metrics.ngrams import looked_up

ORDERS = 4  # n-grams of 1 … 4 symbols
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd: an n-gram is one number by it, and no two of a corpus are likely the same


class Likeness:
    """Texts as vectors whose dot products are likenesses in 0..1: the mean of the cosines of tf-idf counts of 1- to
    4-grams.

    This is CIDEr (Vedantam, Zitnick & Parikh 2015) without a factor or a penalty of length. How rare an n-gram is, is
    read from `texts`, sequences of whole numbers; `document` [n] says which belong to one thing (default: each is its
    own). What none of them has is as rare as what one has, and no vector has it but in its length.
    """

    def __init__(self, texts: Sequence[Sequence[int]], document: np.ndarray | None = None):
        document = np.arange(len(texts)) if document is None else np.unique(document, return_inverse=True)[1]
        documents = int(document.max(initial=0)) + 1
        self.longest = np.log(documents)
        self.kinds: list[tuple[np.ndarray, np.ndarray]] = []  # of each length, ascending, and how rare each is
        for text, gram, _ in _grams(texts):
            kinds, place = np.unique(gram, return_inverse=True)
            held = np.bincount(np.unique(document[text] * max(len(kinds), 1) + place) % max(len(kinds), 1))
            self.kinds.append((kinds, self.longest - np.log(held) if len(kinds) else np.zeros(0)))

    def vectors(self, texts: Sequence[Sequence[int]]) -> sparse.csr_matrix:
        """[n, G] float32 of n texts."""
        blocks = []
        for (kinds, rarity), (text, gram, count) in zip(self.kinds, _grams(texts)):
            place = np.searchsorted(kinds, gram)
            known = np.flatnonzero(kinds[place.clip(max=len(kinds) - 1)] == gram) if len(kinds) else place[:0]
            weights = count * self.longest
            weights[known] = count[known] * rarity[place[known]]
            norm = np.sqrt(np.bincount(text, weights**2, len(texts)))[text]
            shares = np.divide(weights, norm, out=np.zeros(len(weights)), where=norm > 0)[known]
            blocks.append(sparse.csr_matrix((shares, (text[known], place[known])), (len(texts), len(kinds))))
        return (sparse.hstack(blocks) / np.sqrt(ORDERS)).tocsr().astype(np.float32)


def _grams(texts: Sequence[Sequence[int]]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of the n-grams of 1, 2, … numbers: the text of each [K], ascending, which it is, and how often."""
    length = np.fromiter(map(len, texts), np.int64, len(texts))
    owner = np.repeat(np.arange(len(texts)), length)
    symbol = np.fromiter((one for text in texts for one in text), np.int64, len(owner)).astype(np.uint64) + np.uint64(1)
    gram = symbol
    for n in range(1, ORDERS + 1):
        if n > 1:
            gram = gram[:-1] * SPREAD + symbol[n - 1 :]
        whole = owner[n - 1 :] == owner[: len(owner) - n + 1]
        some, text = gram[whole], owner[n - 1 :][whole]
        order = np.lexsort((some, text))
        some, text = some[order], text[order]
        new = np.ones(len(some), bool)
        new[1:] = (some[1:] != some[:-1]) | (text[1:] != text[:-1])
        first = np.flatnonzero(new)
        yield text[first], some[first], np.diff(np.append(first, len(some)))


def medoid(vectors: sparse.csr_matrix) -> int:
    """The row that is most like all others together; the first of several."""
    return int(np.argmax(np.round(vectors @ np.asarray(vectors.sum(0)).ravel(), 6)))


def likeness_to(vectors: sparse.csr_matrix, owner: np.ndarray, profiles: sparse.csr_matrix) -> np.ndarray:
    """[n] the dot product of each vector [n, G] and of the profile [N, G] of its `owner` [n], one of N."""
    profiles.sort_indices()
    text, row = (np.repeat(np.arange(len(one.indptr) - 1), np.diff(one.indptr)) for one in (vectors, profiles))
    kinds = profiles.shape[1]
    both = looked_up(row * kinds + profiles.indices, profiles.data, owner[text] * kinds + vectors.indices)
    return np.bincount(text, vectors.data * both, len(owner))
