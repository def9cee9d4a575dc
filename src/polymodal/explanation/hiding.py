"""Cells with one part hidden after the other: what an answer loses tells where it came from (Zeiler & Fergus 2014)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np

from polymodal.core.scripts import CHARACTER, UNSPACED
from polymodal.data.cells import Cells
from polymodal.data.media.cloud import Cloud
from polymodal.data.media.film import Film
from polymodal.data.media.sound import Sound
from polymodal.data.media.volume import Volume

SIDE = 7  # parts along each side of a picture
STRETCHES = 16  # of a sound, a film or a series
BLOCKS = (4, 4, 4)  # of a scan: of slices, rows and columns; of a cloud: ahead, to the left and up
WORDS = 48  # of a text; of longer ones neighbouring words are hidden together
WORD = re.compile(rf"{CHARACTER}|[^\s{UNSPACED}]+")  # or sign

Parts = tuple[Sequence[Any], np.ndarray]  # cells as decoded, each with a part hidden, and where the parts lie [T, K]


def of_picture(picture: np.ndarray) -> Parts:
    """uint8 [H, W, C]: cells of a grid in the picture's mean colour; row and column of their centres, in 0..1."""
    rows, columns = (_edges(size, SIDE) for size in picture.shape[:2])
    colour = picture.reshape(-1, picture.shape[2]).mean(0).round().astype(np.uint8)
    parts, where = [], []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            changed = picture.copy()
            changed[top:bottom, left:right] = colour
            parts.append(changed)
            where.append([(top + bottom) / 2 / len(picture), (left + right) / 2 / picture.shape[1]])
    return parts, np.array(where)


def of_sound(sound: Sound) -> Parts:
    """Stretches silenced; their centres in seconds."""
    edges = _edges(len(sound.samples), STRETCHES)
    parts = []
    for start, end in pairwise(edges):
        samples = sound.samples.copy()
        samples[start:end] = 0
        parts.append(replace(sound, samples=samples))
    return parts, _centres(edges)[:, None] / sound.rate


def of_film(film: Film) -> Parts:
    """Frames taken out, neighbours together; the middle of their times in seconds. None where there is but one."""
    if len(film.frames) < 2:
        return [], np.zeros((0, 1))
    parts, where = [], []
    for start, end in pairwise(_edges(len(film.frames), STRETCHES)):
        left = np.r_[:start, end : len(film.frames)]
        parts.append(replace(film, frames=film.frames[left], times=film.times[left]))
        where.append([film.times[start:end].mean()])
    return parts, np.array(where)


def of_scan(scan: Volume) -> Parts:
    """Blocks of a grid in the scan's lowest value; slice, row and column of their centres, in 0..1."""
    edges = [_edges(size, most) for size, most in zip(scan.values.shape, BLOCKS)]
    low = scan.values.max() if scan.inverted else scan.values.min()
    blocks = list(product(*map(pairwise, edges)))

    def hidden(number: int) -> Volume:  # made when it is asked for: all together would be a gigabyte
        values = scan.values.copy()
        values[tuple(slice(*ends) for ends in blocks[number])] = low
        return replace(scan, values=values)

    return Cells(len(blocks), hidden), np.array(blocks).mean(2) / scan.values.shape


def of_cloud(cloud: Cloud) -> Parts:
    """Points of blocks of its own box taken out; where these lay on average, in metres. None where all lie in one."""
    low, size = cloud.places.min(0), np.maximum(np.ptp(cloud.places, axis=0), 1e-6)
    across = ((cloud.places - low) / size * BLOCKS).astype(int).clip(0, np.array(BLOCKS) - 1)
    blocks, number = np.unique(across @ (16, 4, 1), return_inverse=True)
    if len(blocks) < 2:
        return [], np.zeros((0, 3))
    where = [cloud.places[number == at].mean(0) for at in range(len(blocks))]
    return [cloud.keep(number != at) for at in range(len(blocks))], np.array(where)


def of_series(series: np.ndarray) -> Parts:
    """[T, C]: stretches not measured; their centres in steps."""
    edges = _edges(len(series), STRETCHES)
    parts = []
    for start, end in pairwise(edges):
        changed = series.copy()
        changed[start:end] = np.nan
        parts.append(changed)
    return parts, _centres(edges)[:, None]


def of_text(text: str) -> Parts:
    """Words taken out, of Chinese and Japanese signs; their spans of characters. None where there is but one."""
    spans = [match.span() for match in WORD.finditer(text)]
    if len(spans) < 2:
        return [], np.zeros((0, 2))
    edges = _edges(len(spans), WORDS)
    whole = [(spans[start][0], spans[end - 1][1]) for start, end in pairwise(edges)]
    return [text[:start] + text[end:] for start, end in whole], np.array(whole)


HIDING: dict[str, Callable[[Any], Parts]] = {
    "image": of_picture, "audio": of_sound, "video": of_film, "volume": of_scan, "points": of_cloud,
    "series": of_series, "text": of_text,
}  # fmt: skip


def _edges(size: int, parts: int) -> list[int]:
    """Ends of at most `parts` stretches of nearly equal length, none empty."""
    return np.linspace(0, size, min(size, parts) + 1).round().astype(int).tolist()


def _centres(edges: list[int]) -> np.ndarray:
    return (np.array(edges[:-1]) + edges[1:]) / 2
