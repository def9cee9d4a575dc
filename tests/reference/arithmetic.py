"""What several formulas need, in NumPy."""

from __future__ import annotations

import numpy as np
from scipy.special import erf

from reference.parity import Arrays


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def linear(x: np.ndarray, p: Arrays, name: str) -> np.ndarray:
    """The `nn.Linear` called `name` in a state dict."""
    return x @ p[f"{name}.weight"].T + p.get(f"{name}.bias", 0.0)


def norm(x: np.ndarray, p: Arrays, name: str) -> np.ndarray:
    """The `nn.LayerNorm` called `name` in a state dict."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]


def attend(query: np.ndarray, key: np.ndarray, value: np.ndarray, seen: np.ndarray, heads: int) -> np.ndarray:
    """Attention of one row, query by query and head by head: [L, D], [S, D], [S, D] and who may be read [L, S] bool."""
    out = np.zeros_like(query)
    size = query.shape[1] // heads
    for place in range(len(query)):
        there = np.flatnonzero(seen[place])
        for part in (slice(h * size, (h + 1) * size) for h in range(heads)):
            if len(there):
                shares = softmax(key[there, part] @ query[place, part] / np.sqrt(size))
                out[place, part] = shares @ value[there, part]
    return out


def attention(x: np.ndarray, context: np.ndarray, seen: np.ndarray, p: Arrays, name: str, heads: int) -> np.ndarray:
    """`nn.attention.MultiHeadAttention` of one row, [L, D] and [S, D] to [L, D]."""
    key, value = np.split(linear(context, p, f"{name}.key_value"), 2, axis=-1)
    return linear(attend(linear(x, p, f"{name}.query"), key, value, seen, heads), p, f"{name}.out")


def feed_forward(x: np.ndarray, p: Arrays, name: str) -> np.ndarray:
    """`nn.block.FeedForward`."""
    return linear(gelu(linear(x, p, f"{name}.0")), p, f"{name}.3")


def block(x: np.ndarray, context: np.ndarray, seen: np.ndarray, p: Arrays, name: str, heads: int) -> np.ndarray:
    """`nn.block.TransformerBlock` of one row, without dropout."""
    x = x + attention(norm(x, p, f"{name}.norm"), norm(context, p, f"{name}.norm"), seen, p, f"{name}.attention", heads)
    return x + feed_forward(norm(x, p, f"{name}.feed_norm"), p, f"{name}.feed")
