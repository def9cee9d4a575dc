"""A character n-gram model of the data themselves: how expected is a text, given all the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from polymodal.ops.base import Sketch

_PRIME = np.uint64(0x100000001B3)
_START = 2  # a code that no text contains: control characters end here


def count(texts: Sequence[str], order: int) -> Sketch:
    """Counts of every n-gram up to `order`, with its context: arrays `gram1`, `context1`, `count1`, …"""
    sketch: Sketch = {}
    each = [grams(text, order) for text in texts]
    for k in range(1, order + 1):
        gram = np.concatenate([g[k - 1][0] for g in each]) if each else np.zeros(0, np.uint64)
        context = np.concatenate([g[k - 1][1] for g in each]) if each else np.zeros(0, np.uint64)
        unique, first, counts = np.unique(gram, return_index=True, return_counts=True)
        sketch |= {f"gram{k}": unique, f"context{k}": context[first], f"count{k}": counts}
    return sketch


def grams(text: str, order: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each length 1..order the 64-bit hashes of the n-gram that ends at each letter, and of its context."""
    codes = np.frombuffer(text.casefold().encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    padded = np.concatenate([np.full(order, _START, np.uint64), codes])
    hashes = [np.full(len(padded) + 1, 0x9E3779B97F4A7C15, np.uint64)]  # of the empty n-gram, before each place
    for k in range(1, order + 1):
        longer = np.zeros_like(hashes[0])
        longer[k:] = (hashes[-1][k - 1 : -1] ^ (padded[k - 1 :] + np.uint64(k))) * _PRIME
        longer ^= longer >> np.uint64(29)
        hashes.append(longer)
    ends = slice(order + 1, len(padded) + 1)
    return [(hashes[k][ends], hashes[k - 1][order : len(padded)]) for k in range(1, order + 1)]


def merge(sketches: Iterable[Sketch], order: int) -> Sketch:
    """One model from the counts of all batches; `total` and `kinds`: how often, and by how many letters, a context is
    followed."""
    parts = list(sketches)
    state: Sketch = {}
    for k in range(1, order + 1):
        gram, inverse = np.unique(np.concatenate([p[f"gram{k}"] for p in parts]), return_inverse=True)
        counts = np.bincount(inverse, np.concatenate([p[f"count{k}"] for p in parts]), len(gram)).astype(np.int64)
        context = np.zeros(len(gram), np.uint64)
        context[inverse] = np.concatenate([p[f"context{k}"] for p in parts])
        before, back = np.unique(context, return_inverse=True)
        state |= {
            f"gram{k}": gram,
            f"count{k}": counts,
            f"context{k}": before,
            f"total{k}": np.bincount(back, counts, len(before)).astype(np.int64),
            f"kinds{k}": np.bincount(back, minlength=len(before)).astype(np.int64),
        }
    return state


def surprise(text: str, state: Sketch, order: int) -> float:
    """Mean surprise of the text's letters in nats, under all other texts: its own counts are taken away first.

    Interpolated Witten–Bell smoothing (Witten & Bell 1991): P(c | h) = (n(hc) + t(h) P(c | h')) / (n(h) + t(h)).
    """
    each = grams(text, order)
    if not len(each[0][0]):
        return 0.0
    letters = max(len(state["gram1"]), 1)
    probability = np.full(len(each[0][0]), 1.0 / (letters + 1))
    for k, (gram, context) in enumerate(each, start=1):
        own, own_of = _own(gram)
        seen = _find(state[f"gram{k}"], state[f"count{k}"], gram) - own[own_of]
        mine, mine_of = _own(context)
        total = _find(state[f"context{k}"], state[f"total{k}"], context) - mine[mine_of]
        alone = (seen == 0).astype(np.int64)  # nobody else goes on like this: one kind fewer
        kinds = np.maximum(_find(state[f"context{k}"], state[f"kinds{k}"], context) - alone, 0)
        known = total > 0
        probability = np.where(
            known, (np.maximum(seen, 0) + kinds * probability) / np.maximum(total + kinds, 1), probability
        )
    return float(-np.log(np.maximum(probability, 1e-12)).mean())


def _own(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return counts, inverse


def _find(keys: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The value of each key asked for; 0 where there is none."""
    if not len(keys):
        return np.zeros(len(asked), np.int64)
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, values[at], 0)
