"""Attention over long sequences, place by place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from polymodal.nn.layers.long import linear_attend, window_attend
from reference.arithmetic import softmax
from reference.parity import Arrays, Pair, parity

ROWS, HEADS, LENGTH, SIZE = 2, 2, 7, 3
MASK = np.array([[1, 1, 1, 0, 1, 1, 0], [0, 1, 1, 1, 1, 0, 1]], dtype=bool)
Shares = Callable[[np.ndarray, np.ndarray, int, np.ndarray], np.ndarray]  # of query, keys, place, real places


def pair(ours: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], shares: Shares) -> Pair:
    """A rule of attention whose `shares` say how much a query at a place takes from each."""
    draw = np.random.default_rng(4)

    def theirs(values: Arrays) -> np.ndarray:
        out = np.zeros((ROWS, HEADS, LENGTH, SIZE))
        for b, h, i in np.ndindex(ROWS, HEADS, LENGTH):
            out[b, h, i] = shares(values["query"][b, h, i], values["key"][b, h], i, MASK[b]) @ values["value"][b, h]
        return out

    return Pair(
        lambda v: ours(v["query"], v["key"], v["value"], torch.from_numpy(MASK)),
        theirs,
        {name: draw.normal(size=(ROWS, HEADS, LENGTH, SIZE)) for name in ("query", "key", "value")},
    )


@parity("attention", "window", source="Beltagy, Peters, Cohan 2020")
def window() -> Pair:
    def shares(query: np.ndarray, keys: np.ndarray, place: int, real: np.ndarray) -> np.ndarray:
        at = np.arange(LENGTH)
        near = (abs(at - place) <= 2) | (at == 0) | (place == 0)  # the first place is global
        out = np.zeros(LENGTH)
        out[near & real] = softmax(keys[near & real] @ query / np.sqrt(SIZE))
        return out

    return pair(lambda q, k, v, mask: window_attend(q, k, v, mask, window=2, leaders=1), shares)


@parity("attention", "linear", source="Katharopoulos, Vyas, Pappas, Fleuret 2020")
def linear() -> Pair:
    def feature(x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))

    def shares(query: np.ndarray, keys: np.ndarray, place: int, real: np.ndarray) -> np.ndarray:
        near = feature(keys) @ feature(query) * real
        return near / near.sum()

    return pair(linear_attend, shares)
