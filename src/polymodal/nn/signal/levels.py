"""Spectrograms as bytes: 80 dB in steps of about a third of one, and 0 behind the end of a sound.

The gap between nothing and the quietest sound lets a length be read off a spectrogram, also off one that was drawn.
"""

from __future__ import annotations

import numpy as np

RANGE = 80.0  # dB below the loudest, of which quieter sound is silence
SILENT, LOUD = 32, 255  # the bytes of silence and of the loudest
STEP = RANGE / (LOUD - SILENT)  # dB


def levels_of(decibels: np.ndarray, top: float) -> np.ndarray:
    """uint8 of loudness, `top` the loudest."""
    return (LOUD + (decibels - top) / STEP).round().clip(SILENT, LOUD).astype(np.uint8)


def decibels_of(levels: np.ndarray, top: float) -> np.ndarray:
    """float32, inverse of `levels_of`; what is behind the end is silence."""
    return top + (np.maximum(levels, SILENT).astype(np.float32) - LOUD) * np.float32(STEP)


def lengths(levels: np.ndarray) -> np.ndarray:
    """[N] how many frames of spectrograms [N, M, T] are sound, at least 1: where silence or sound before and nothing
    after fit best, by the median band of each frame, which what is drawn unclearly around 0 does not lift."""
    loud = np.median(levels, axis=1).clip(0, SILENT)
    return (loud - SILENT / 2).cumsum(1).argmax(1) + 1
