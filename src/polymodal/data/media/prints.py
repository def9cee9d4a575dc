"""What is nearly the same: one print of a picture and one of a text, for `inspect` and `prepare` alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from polymodal.data.media.picture import flat, open_picture, upright

SIDE = 32  # pixels of the grey picture whose cosine transform is taken
RADIUS = 5  # bits of 64 in which the hashes of near duplicates may differ
LIKENESS = 0.8  # share of common five-byte pieces in texts that are near duplicates
LONGEST = 100_000  # letters of a text that are compared: a book's first chapters tell its copies
_BETWEEN = re.compile(r"[\W_]+")
FLAT = 1.0  # spread of the small grey picture below which there is nothing to compare


def same(keys: Sequence[Any]) -> list[list[int]]:
    """Sets of positions whose keys are equal; None equals nothing."""
    members: dict[Any, list[int]] = {}
    for position, key in enumerate(keys):
        if key is not None:
            members.setdefault(key, []).append(position)
    return [places for places in members.values() if len(places) > 1]


def sets(keepers: np.ndarray) -> list[list[int]]:
    """Sets of two or more positions: each that is kept, with those that it is kept for."""
    return same(keepers.tolist())


def small_grey(picture: Path | bytes | np.ndarray | Image.Image) -> np.ndarray:
    """A picture, decoded or not, as grey uint8 [SIDE, SIDE]; a JPEG is decoded no larger than that needs.

    Raises `BadCell`.
    """

    def smaller(image: Image.Image) -> Image.Image:
        image = image.convert("L") if image.mode == "RGB" else image
        return image.resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)

    image = picture if isinstance(picture, Image.Image) else open_picture(picture, (SIDE, SIDE))
    return np.asarray(flat(upright(image), smaller).convert("L"), dtype=np.uint8)


def perceptual_hash(small: np.ndarray) -> np.ndarray:
    """uint64 [N] of uint8 [N, SIDE, SIDE], as `small_grey` makes them (Zauner 2010, pHash).

    64 bits: which of the 8 x 8 lowest cosine frequencies are above their median.
    """
    cosine = _cosine()
    low = np.empty((len(small), 64), np.float32)
    for start in range(0, len(small), 4096):
        block = small[start : start + 4096].astype(np.float32)
        low[start : start + 4096] = (cosine @ block @ cosine.T).reshape(len(block), 64)
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def comparable(small: np.ndarray) -> np.ndarray:
    """[N] bool: which small grey pictures are of more than one shade."""
    return small.reshape(len(small), SIDE * SIDE).std(1) >= FLAT


def plain(text: str) -> str:
    """Small letters and digits with one space between words, of the first `LONGEST` letters: what two copies share."""
    return _BETWEEN.sub(" ", unicodedata.normalize("NFKC", text[:LONGEST]).casefold()).strip()


@cache
def _cosine() -> np.ndarray:
    """The eight lowest rows of the cosine transform of length SIDE."""
    return np.cos(np.pi / SIDE * np.outer(np.arange(8), np.arange(SIDE) + 0.5)).astype(np.float32)
