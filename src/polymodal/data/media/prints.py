"""Cells that are the same, or nearly: equal keys, picture prints, MinHash of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

SIDE = 32  # pixels of the grey picture whose cosine transform is taken
PRINT_DISTANCE = 4  # bits of 64 in which the prints of near duplicates may differ
PICTURE_LIKENESS = 0.98  # correlation of the small grey pictures of near duplicates
TEXT_LIKENESS = 0.8  # share of common five-character pieces in near duplicates
SHORTEST_TEXT = 40  # characters; shorter sentences repeat by nature
_SEEDS, _BANDS = 64, 16
_BITS = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)
_BLOCK = 1 << 22  # pairs compared at once


def clusters(count: int, pairs: np.ndarray) -> list[list[int]]:
    """Sets of two or more of 0..count-1 that the pairs [n, 2] join, directly or through others."""
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = item = parent[parent[item]]
        return item

    for one, other in np.asarray(pairs).reshape(-1, 2).tolist():
        parent[root(other)] = root(one)
    members: dict[int, list[int]] = {}
    for item in sorted(set(np.asarray(pairs).ravel().tolist())):
        members.setdefault(root(item), []).append(item)
    return sorted(found for found in members.values() if len(found) > 1)


def same(keys: Sequence[Any]) -> list[list[int]]:
    """Sets of positions whose keys are equal; None equals nothing."""
    members: dict[Any, list[int]] = {}
    for position, key in enumerate(keys):
        if key is not None:
            members.setdefault(key, []).append(position)
    return [found for found in members.values() if len(found) > 1]


def grey(picture: np.ndarray | Image.Image) -> np.ndarray:
    """A picture (uint8 [H, W] or [H, W, C], or PIL's) as grey uint8 [SIDE, SIDE]."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture)
    small = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(small, dtype=np.uint8)


def near_pictures(pictures: np.ndarray) -> np.ndarray:
    """Pairs [n, 2] of near-duplicate pictures among uint8 [N, SIDE, SIDE], as `grey` makes them.

    Two pictures are near when the signs of their 64 lowest cosine coefficients (about their median; Zauner 2010)
    differ in at most 4 places and the pictures at a quarter of their side correlate above 0.98. Flat pictures are
    near nothing. Prints are compared only within buckets that share one of five parts, which loses no pair
    (pigeonhole).
    """
    prints, vectors, flat = _prints(pictures)
    width = -(-64 // (PRINT_DISTANCE + 1))
    found = []
    for part in range(PRINT_DISTANCE + 1):
        keys = (prints >> np.uint64(part * width)) & np.uint64((1 << width) - 1)
        for rows in _buckets(keys, ~flat):
            found.append(_blockwise(rows, lambda a, b: _distance(prints[a, None], prints[None, b]) <= PRINT_DISTANCE))
    pairs = _unique(found)
    likeness = np.einsum("ij,ij->i", vectors[pairs[:, 0]], vectors[pairs[:, 1]])
    return pairs[likeness > PICTURE_LIKENESS]


def plain(text: str) -> str:
    """Text without case, punctuation and repeated blanks."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def near_texts(texts: Sequence[str]) -> np.ndarray:
    """Pairs [n, 2] of texts that share most of their five-character pieces (MinHash; Broder 1997), by estimate 0.8.

    Case and punctuation do not count. Texts below 40 characters are near nothing. Candidates share a band of four of
    the 64 minima.
    """
    plains = [plain(text) for text in texts]
    long = np.array([len(text) >= SHORTEST_TEXT for text in plains], dtype=bool)
    signatures = np.stack([_minima(text) for text in plains]) if len(plains) else np.zeros((0, _SEEDS), np.uint32)
    found = []
    for band in np.split(signatures, _BANDS, axis=1):
        keys = np.ascontiguousarray(band).view(np.dtype((np.void, band.shape[1] * 4))).ravel()
        for rows in _buckets(keys, long):
            found.append(_blockwise(rows, lambda a, b: _agreement(signatures[a], signatures[b]) >= TEXT_LIKENESS))
    return _unique(found)


def _prints(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint64 print, centred unit vector of the picture at a quarter of its side, and flatness, each [N, ...]."""
    cosine, quarter = _cosine(), SIDE // 4
    low = np.empty((len(pictures), 64), np.float32)
    vectors = np.empty((len(pictures), quarter**2), np.float32)
    for start in range(0, len(pictures), 4096):
        block = pictures[start : start + 4096].astype(np.float32)
        low[start : start + 4096] = (cosine @ block @ cosine.T).reshape(len(block), 64)
        small = block.reshape(-1, quarter, 4, quarter, 4).mean(axis=(2, 4))
        vectors[start : start + 4096] = small.reshape(len(block), -1)
    signs = low > np.median(low[:, 1:], axis=1, keepdims=True)
    prints = np.packbits(signs, axis=1).view(np.uint64).ravel()
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return prints, vectors / np.maximum(norms, 1e-6), norms[:, 0] < quarter


@cache
def _cosine() -> np.ndarray:
    """The eight lowest rows of the cosine transform of length SIDE."""
    return np.cos(np.pi / SIDE * np.outer(np.arange(8), np.arange(SIDE) + 0.5)).astype(np.float32)


@cache
def _multipliers() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 2**63, _SEEDS, dtype=np.uint64) | np.uint64(1)


def _minima(text: str) -> np.ndarray:
    """uint32 [64]: the least hash of the text's five-byte pieces under each of 64 multiplications."""
    raw = np.frombuffer(text.encode("utf-8", "surrogatepass").ljust(5, b" "), dtype=np.uint8).astype(np.uint64)
    pieces = np.zeros(len(raw) - 4, dtype=np.uint64)
    for offset in range(5):
        pieces = (pieces << np.uint64(8)) | raw[offset : len(raw) - 4 + offset]
    mixed = pieces * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    return ((mixed[:, None] * _multipliers()) >> np.uint64(32)).min(axis=0).astype(np.uint32)


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Bits in which 64-bit prints differ."""
    differing = np.bitwise_xor(one, other)
    return _BITS[differing.view(np.uint8).reshape(*differing.shape, 8)].sum(axis=-1)


def _agreement(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[a, b]: the share of equal minima, which estimates the share of common pieces."""
    return (one[:, None] == other[None]).mean(axis=2)


def _buckets(keys: np.ndarray, usable: np.ndarray) -> list[np.ndarray]:
    """Positions that share a key, two or more at a time."""
    rows = np.flatnonzero(usable)
    order = rows[np.argsort(keys[rows], kind="stable")]
    if not len(order):
        return []
    starts = np.flatnonzero(keys[order][1:] != keys[order][:-1]) + 1
    return [bucket for bucket in np.split(order, starts) if len(bucket) > 1]


def _blockwise(rows: np.ndarray, near: Any) -> np.ndarray:
    """Pairs of `rows` for which `near(rows_a, rows_b)` [a, b] holds."""
    step = max(1, _BLOCK // (64 * len(rows)))
    found = []
    for start in range(0, len(rows), step):
        block, rest = rows[start : start + step], rows[start:]
        first, second = np.nonzero(np.triu(near(block, rest), k=1))
        found.append(np.stack([block[first], rest[second]], axis=1))
    return np.concatenate(found)


def _unique(found: Sequence[np.ndarray]) -> np.ndarray:
    if not found:
        return np.zeros((0, 2), dtype=np.int64)
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
