"""How alike sequences of words are, by their n-grams: which of them says best what the others say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from polymodal.metrics.ngrams import grams

ORDERS = 4  # n-grams of 1 … 4 symbols


def ngram_vectors(texts: Sequence[Sequence[Any]], document: np.ndarray | None = None) -> sparse.csr_matrix:
    """[n, G] vectors whose dot products are likenesses in 0..1: the mean over n = 1 … 4 of the cosine of tf-idf counts.

    This is CIDEr (Vedantam, Zitnick & Parikh 2015) without a factor or a penalty of length. `texts` are sequences of
    words, or of their numbers; `document` [n] says which belong to one thing, by which rarity is counted (default: each
    is its own).
    """
    document = np.arange(len(texts)) if document is None else np.unique(document, return_inverse=True)[1]
    documents = int(document.max(initial=0)) + 1
    blocks = []
    for each in grams(texts, ORDERS):
        held = np.bincount(np.unique(each.owned(document)) % each.kinds, minlength=each.kinds)
        weights = each.count * (np.log(documents) - np.log(np.maximum(held, 1)))[each.gram]
        norm = np.sqrt(np.bincount(each.text, weights**2, len(texts)))[each.text]
        shares = np.divide(weights, norm, out=np.zeros(len(weights)), where=norm > 0)
        blocks.append(sparse.csr_matrix((shares, (each.text, each.gram)), (len(texts), each.kinds)))
    return (sparse.hstack(blocks) / np.sqrt(ORDERS)).tocsr().astype(np.float32)


def medoid(vectors: sparse.csr_matrix) -> int:
    """The row that is most like all others together; the first of several."""
    return int(np.argmax(np.round(vectors @ np.asarray(vectors.sum(0)).ravel(), 6)))
