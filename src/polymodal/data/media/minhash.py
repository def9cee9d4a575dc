"""MinHash signatures of many texts at once, and the near duplicates among them. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymodal.data.media import clusters

SHINGLE = 5  # bytes: about a word of English; two characters of Chinese
_BLOCK = 1 << 18  # bytes hashed at a time: four bytes of hash for each stay in a core's cache, however many there are
_PAIRS = 1 << 12  # compared at a time, for the same reason


def signatures(texts: Sequence[str], hashes: int = 128, *, seed: int = 0) -> np.ndarray:
    """uint16 [N, hashes]: for each random order of all 5-byte shingles, the low 16 bits of the first that a text has.

    Two texts agree in a share of places that estimates the Jaccard similarity of their shingle sets (Broder 1997);
    16 bits of each minimum suffice (Li & König 2010). A text shorter than a shingle counts as one shingle.
    """
    rng = np.random.default_rng(seed)
    factor = rng.integers(1, 1 << 32, hashes, dtype=np.uint32) | np.uint32(1)
    offset = rng.integers(0, 1 << 32, hashes, dtype=np.uint32)
    minima = np.empty((len(texts), hashes), np.uint16)
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    start = 0
    while start < len(encoded):
        stop, size = start, 0
        while stop < len(encoded) and (stop == start or size < _BLOCK):
            size += max(len(encoded[stop]), SHINGLE)
            stop += 1
        shingles, first = _shingles(encoded[start:stop])
        for i in range(hashes):
            mixed = shingles * factor[i] + offset[i]
            mixed ^= mixed >> np.uint32(15)  # the low bits of a product alone are poor
            mixed *= np.uint32(0x2C1B3C6D)
            minima[start:stop, i] = np.minimum.reduceat(mixed, first)
        start = stop
    return minima


def _shingles(encoded: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """uint32 hashes of every shingle of every text, one text after the other, and where each text's begin."""
    padded = [text.ljust(SHINGLE, b"\0") for text in encoded]
    lengths = np.array([len(text) for text in padded])
    content = np.frombuffer(b"".join(padded), np.uint8).astype(np.uint32)
    rolled = np.zeros(len(content) - SHINGLE + 1, np.uint32)
    for i in range(SHINGLE):
        rolled = rolled * np.uint32(0x01000193) ^ content[i : len(content) - SHINGLE + 1 + i]
    rolled ^= rolled >> np.uint32(16)
    rolled *= np.uint32(0x7FEB352D)
    rolled ^= rolled >> np.uint32(15)
    ends = np.cumsum(lengths)
    inside = np.ones(len(rolled), bool)  # a shingle that begins in one text must not end in the next
    for i in range(1, SHINGLE):
        inside[ends[:-1] - i] = False
    first = np.concatenate([[0], np.cumsum(lengths - SHINGLE + 1)[:-1]])
    return rolled[inside], first


def near_duplicates(found: np.ndarray, threshold: float | np.ndarray, *, rows: int = 4) -> np.ndarray:
    """For each text the number of the first text of its cluster: itself where it is nobody's near duplicate.

    `found` are `signatures`. Texts that agree in `rows` places of a band (locality-sensitive hashing, Indyk & Motwani
    1998) are compared; those that agree in a share of `threshold` places are joined: one number, or one a text [N], of
    which the larger of a pair's two counts. In a bucket each text is compared with the one before and with the first,
    not with all, so that time grows as n log n even where thousands are alike. Likeness is passed on: the ends of a
    chain may have little in common, which `keepers` mends.
    """
    count, hashes = found.shape
    least = np.broadcast_to(np.asarray(threshold, np.float32), count)
    edges = []
    for band in range(0, hashes - rows + 1, rows):
        keys = _packed(found[:, band : band + rows])
        order = np.argsort(keys, kind="stable")
        equal = keys[order[1:]] == keys[order[:-1]]
        begins = np.flatnonzero(np.concatenate([[True], ~equal])) if count else np.zeros(0, np.int64)
        leader = order[np.repeat(begins, np.diff(np.append(begins, count)))]
        near = np.flatnonzero(equal) + 1
        edges += [_alike(found, order[near - 1], order[near], least)]
        far = near[leader[near] != order[near - 1]]
        edges += [_alike(found, leader[far], order[far], least)]
    a, b = np.concatenate(edges, axis=1) if edges else np.zeros((2, 0), np.int64)
    return clusters.joined(a, b, count)


def keepers(found: np.ndarray, threshold: float | np.ndarray, cluster: np.ndarray | None = None) -> np.ndarray:
    """For each text the place of an earlier one that it is itself like and that is kept; else its own.

    `found` and `threshold` as in `near_duplicates`; `cluster` is what it gave, where that is known.
    """
    least = np.broadcast_to(np.asarray(threshold, np.float32), len(found))
    cluster = near_duplicates(found, least) if cluster is None else cluster
    return clusters.keepers(cluster, lambda kept, rest: _enough(found, kept, rest, least))


def _packed(columns: np.ndarray) -> np.ndarray:
    """One number for a few 16-bit numbers: themselves side by side for up to four, else a hash of them."""
    key = np.zeros(len(columns), np.uint64)
    for column in columns.T:
        key = (key * np.uint64(0x100000001B3) if columns.shape[1] > 4 else key << np.uint64(16)) ^ column.astype(
            np.uint64
        )
    return key


def _alike(minima: np.ndarray, a: np.ndarray, b: np.ndarray, least: np.ndarray) -> np.ndarray:
    """[2, E]: those of the pairs whose signatures agree in at least the share of places that both texts ask for."""
    near = _enough(minima, a, b, least)
    return np.stack([a[near], b[near]])


def _enough(minima: np.ndarray, a: np.ndarray, b: np.ndarray, least: np.ndarray) -> np.ndarray:
    """[E] bool: whether the texts of each pair agree in enough places; a text is like itself."""
    near = np.empty(len(a), bool)
    for i in range(0, len(a), _PAIRS):
        one, other = a[i : i + _PAIRS], b[i : i + _PAIRS]
        near[i : i + _PAIRS] = (minima[one] == minima[other]).mean(1) >= np.maximum(least[one], least[other])
    return near
