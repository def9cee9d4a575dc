"""Cheap numbers that describe a row whatever its modalities: what a linear model reads to doubt a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xxhash
from PIL import Image

from polymodal.prepare.base import Sketch
from polymodal.prepare.clean.audio import mono
from polymodal.prepare.clean.duplicates import plain
from polymodal.prepare.clean.image import opaque
from polymodal.prepare.clean.table import as_number
from polymodal.prepare.media import Sound
from polymodal.prepare.rows import Rows

TEXT = 1 << 14  # hashed words and pairs of words
SIDE = 12
BANDS, FRAMES = 24, 8


def sketch_rows(rows: Rows, columns: Sequence[str], kinds: Mapping[str, str]) -> Sketch:
    """Dense features [N, D] and hashed ones as (row in the batch, feature, value) triples."""
    dense = [np.concatenate([_dense(row.get(c), kinds[c]) for c in columns] or [np.zeros(0)]) for row in rows]
    triples: list[tuple[int, int, float]] = []
    for i, row in enumerate(rows):
        for place, column in enumerate(columns):
            triples += [(i, place * TEXT + j, v) for j, v in _hashed(row.cells.get(column), kinds[column])]
    found = np.array(triples, np.float64).reshape(-1, 3)
    width = sum(_width(kinds[c]) for c in columns)
    return {
        "dense": np.array(dense, np.float32).reshape(len(rows), width),
        "at": found[:, :2].astype(np.int64),
        "value": found[:, 2].astype(np.float32),
    }


def matrix(parts: Sequence[Sketch], columns: int) -> Any:
    """One sparse matrix of all rows: dense features standardised, words by tf-idf, each block of equal weight."""
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfTransformer

    dense = np.concatenate([p["dense"] for p in parts]).astype(np.float64)
    known = np.isfinite(dense)
    dense = np.where(known, dense, 0.0)
    count = np.maximum(known.sum(0), 1)
    mean = dense.sum(0) / count
    spread = np.sqrt((np.where(known, dense - mean, 0.0) ** 2).sum(0) / count)
    dense = np.where(known, dense - mean, 0.0) / np.where(spread > 1e-9, spread, 1.0)
    starts = np.cumsum([0] + [len(p["dense"]) for p in parts[:-1]])
    at = np.concatenate([p["at"] + [start, 0] for p, start in zip(parts, starts)])
    value = np.concatenate([p["value"] for p in parts])
    words = sparse.csr_matrix((value, (at[:, 0], at[:, 1])), shape=(len(dense), columns * TEXT))
    blocks = [sparse.csr_matrix(dense / np.sqrt(max(dense.shape[1], 1)))]
    if words.nnz:
        blocks.append(TfidfTransformer(sublinear_tf=True).fit_transform(words))
    return sparse.hstack(blocks, format="csr")


def _width(kind: str) -> int:
    return {"image": SIDE * SIDE * 3, "audio": BANDS * FRAMES, "number": 1, "series": 32}.get(kind, 0)


def _dense(value: Any, kind: str) -> np.ndarray:
    width = _width(kind)
    if not width or value is None:
        return np.full(width, np.nan)
    if kind == "number":
        number = as_number(value)
        return np.array([np.nan if number is None else number])
    if kind == "image":
        small = opaque(value).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        return np.asarray(small, np.float64).ravel() / 255
    if kind == "audio":
        return _bands(value)
    flat = np.asarray(value, np.float64).reshape(len(value), -1).mean(1)
    return np.interp(np.linspace(0, len(flat) - 1, width), np.arange(len(flat)), flat)


def _bands(sound: Sound) -> np.ndarray:
    """Log energies of `BANDS` bands, even on a mel-like scale, in `FRAMES` equal stretches of the sound's loud part."""
    samples = mono(sound).astype(np.float64)
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max(initial=0))
    samples = samples[loud[0] : loud[-1] + 1] if len(loud) else samples
    stretches = np.array_split(np.pad(samples, (0, max(0, FRAMES * 64 - len(samples)))), FRAMES)
    edges = 700 * np.expm1(np.linspace(0, np.log1p(sound.rate / 2 / 700), BANDS + 1))
    found = []
    for stretch in stretches:
        power = np.abs(np.fft.rfft(stretch * np.hanning(len(stretch)))) ** 2
        place = np.clip((edges / (sound.rate / 2) * (len(power) - 1)).round().astype(int), 0, len(power) - 1)
        sums = np.concatenate([[0.0], np.cumsum(power)])
        found.append(np.log((sums[np.maximum(place[1:], place[:-1] + 1)] - sums[place[:-1]]) / len(stretch) + 1e-8))
    return np.concatenate(found)


def _hashed(value: Any, kind: str) -> list[tuple[int, float]]:
    if value is None or kind not in ("text", "category"):
        return []
    words = plain(str(value)).split() if kind == "text" else [str(value)]
    pairs = [f"{a} {b}" for a, b in zip(words, words[1:])]  # noqa: RUF007 - both lists are short
    counts: dict[int, float] = {}
    for word in (*words, *pairs):
        place = xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass")) % TEXT
        counts[place] = counts.get(place, 0.0) + 1.0
    return list(counts.items())
