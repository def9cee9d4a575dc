"""Sounds as files."""

from __future__ import annotations

import io
import wave

import numpy as np

FULL = 32767  # full scale of sixteen bits


def wav_bytes(samples: np.ndarray, rate: int) -> bytes:
    """A WAV file of 16 bits a sample, of floats [n] or [n, channels]; what is beyond -1 to 1 is clipped."""
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * FULL).round().astype("<i2").tobytes())
    return held.getvalue()
