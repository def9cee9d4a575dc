"""Cheap numbers that describe a row whatever its modalities: what a linear model reads to doubt a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xxhash
from PIL import Image

from polymodal.data.media.picture import flat
from polymodal.data.media.prints import plain
from polymodal.data.media.sound import Sound
from polymodal.ops.base import Sketch
from polymodal.ops.rows import Row, Rows

TEXT = 1 << 14  # hashed words and pairs of words
SIDE = 12  # pixels of the small picture
CELLS, EDGES = 4, 8  # cells a side, and directions of edges in each
BANDS, FRAMES = 24, 16
STEP = 0.016  # seconds
_STANDS_OUT = 0.35  # of the way from a sound's background to its loudest moment


def sketch_rows(rows: Rows, columns: Sequence[str], kinds: Mapping[str, str]) -> Sketch:
    """Dense features [N, D] and hashed ones as (row in the batch, feature, value) triples."""
    dense = [np.concatenate([_dense(row, c, kinds[c]) for c in columns] or [np.zeros(0)]) for row in rows]
    triples: list[tuple[int, int, float]] = []
    for i, row in enumerate(rows):
        for place, column in enumerate(columns):
            triples += [(i, place * TEXT + j, v) for j, v in _hashed(row.cells.get(column), kinds[column])]
    entries = np.array(triples, np.float64).reshape(-1, 3)
    width = sum(_width(kinds[c]) for c in columns)
    return {
        "dense": np.array(dense, np.float32).reshape(len(rows), width),
        "at": entries[:, :2].astype(np.int64),
        "value": entries[:, 2].astype(np.float32),
    }


def matrix(parts: Sequence[Sketch], kinds: Sequence[str]) -> Any:
    """One sparse matrix of all rows: dense features standardised, words by tf-idf, each column of equal weight."""
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
    words = sparse.csr_matrix((value, (at[:, 0], at[:, 1])), shape=(len(dense), len(kinds) * TEXT))
    weights = np.concatenate([np.full(w, w**-0.5) for kind in kinds for w in _BLOCKS.get(kind, ())] or [np.zeros(0)])
    blocks = [sparse.csr_matrix(dense * weights)]
    if words.nnz:
        blocks.append(TfidfTransformer(sublinear_tf=True).fit_transform(words))
    return sparse.hstack(blocks, format="csr")


_BLOCKS = {  # widths of the dense features of a cell
    "image": (SIDE * SIDE * 3, CELLS * CELLS * EDGES),
    "audio": (BANDS * FRAMES,),
    "number": (1,),
    "series": (32,),
}


def _width(kind: str) -> int:
    return sum(_BLOCKS.get(kind, ()))


def _dense(row: Row, column: str, kind: str) -> np.ndarray:
    width = _width(kind)
    value: Any = row.amount(column) if kind == "number" else row.get(column)
    if not width or value is None:
        return np.full(width, np.nan)
    if kind == "number":
        return np.array([np.nan if abs(value) > 1e30 else value])  # squared, it stays a number
    if kind == "image":
        whole = flat(value)
        small = whole.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        return np.concatenate([np.asarray(small, np.float64).ravel() / 255, _edges(whole)])
    if kind == "audio":
        return _bands(value)
    series = np.asarray(value, np.float64).reshape(len(value), -1).mean(1)
    return np.interp(np.linspace(0, len(series) - 1, width), np.arange(len(series)), series)


def _edges(picture: Image.Image) -> np.ndarray:
    """How strong the edges of each direction are in each cell, after Dalal & Triggs (2005)."""
    side = 8 * CELLS
    grey = np.asarray(picture.convert("L").resize((side, side), Image.Resampling.BOX), np.float64)
    down, right = np.gradient(grey)
    turn = np.arctan2(down, right) % (2 * np.pi) / (2 * np.pi) * EDGES
    low, share = turn.astype(int), turn - np.floor(turn)
    y, x = np.mgrid[:side, :side] // 8
    histogram = np.zeros((CELLS, CELLS, EDGES))
    strength = np.hypot(down, right)
    np.add.at(histogram, (y, x, low % EDGES), strength * (1 - share))
    np.add.at(histogram, (y, x, (low + 1) % EDGES), strength * share)
    return np.sqrt(histogram / (np.linalg.norm(histogram) + 1e-6)).ravel()


def _bands(sound: Sound) -> np.ndarray:
    """Log energies of `BANDS` triangular mel bands at `FRAMES` moments of what stands out from the background."""
    samples = sound.mono().astype(np.float64)
    step = max(64, round(STEP * sound.rate))
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, 2 * step), 2 * step)[::step]
    power = np.abs(np.fft.rfft(frames * np.hanning(2 * step))) ** 2
    edges = 700 * np.expm1(np.linspace(0, np.log1p(sound.rate / 2 / 700), BANDS + 2))
    at = np.linspace(0, sound.rate / 2, power.shape[1])
    rise = (at - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - at) / np.diff(edges)[1:, None]
    levels = np.log(power @ np.clip(np.minimum(rise, fall), 0, None).T + 1e-6)
    energy = levels.mean(1)
    quiet, loud = np.percentile(energy, 10), energy.max()
    there = np.flatnonzero(energy >= quiet + _STANDS_OUT * (loud - quiet))
    levels = levels[there[0] : there[-1] + 1]
    moments = np.linspace(0, len(levels) - 1, FRAMES)
    return np.concatenate([np.interp(moments, np.arange(len(levels)), band) for band in levels.T])


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
