"""Sounds as recognisers want them: one channel at one rate."""

from __future__ import annotations

import numpy as np

from polymodal.data.media.cell import Sound


def at_rate(sound: Sound, rate: int) -> np.ndarray:
    """Mono float32 [n] at `rate` samples a second (soxr)."""
    samples = sound.samples if sound.samples.ndim == 1 else sound.samples.mean(1)
    samples = np.nan_to_num(samples.astype(np.float32))
    if sound.rate != rate:
        import soxr

        found = soxr.resample(samples, sound.rate, rate)
        samples = found if len(found) else samples[:1]  # of a sound, however short, something is left
    return samples.astype(np.float32)
