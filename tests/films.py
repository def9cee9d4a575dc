"""Films made for tests: forms, lengths, clocks, and how they are turned."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import numpy as np


def film(
    frames: int = 50, rate: int | Fraction = 10, *, size: tuple[int, int] = (64, 48), form: str = "mp4",
    codec: str = "libx264", gop: int = 12, sound: bool = False,
) -> bytes:  # fmt: skip
    """Frame i of n is green by i / n, from the middle on red as well; blue in the left upper corner. Its sound is a
    tone that is higher with every second."""
    import av

    stream = io.BytesIO()
    with av.open(stream, "w", format=form) as held:
        shown = held.add_stream(codec, rate=rate)
        shown.width, shown.height = size
        shown.pix_fmt, shown.gop_size = "yuv420p", gop
        heard = held.add_stream("aac", rate=16_000, layout="mono") if sound else None
        for number in range(frames):
            pixels = np.zeros((size[1], size[0], 3), np.uint8)
            pixels[:] = 255 * (number >= frames // 2), 255 * number // frames, 0
            pixels[:8, :8] = 0, 0, 255
            held.mux(shown.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        held.mux(shown.encode())
        if heard is not None:
            seconds = np.arange(int(16_000 * frames / rate)) / 16_000
            wave = 0.3 * np.sin(2 * np.pi * (300 + 5 * (seconds // 1)) * seconds)
            for start in range(0, len(wave) - 1024, 1024):
                part = av.AudioFrame.from_ndarray(
                    wave[None, start : start + 1024].astype(np.float32), "fltp", layout="mono"
                )
                part.sample_rate, part.pts = 16_000, start
                held.mux(heard.encode(part))
            held.mux(heard.encode())
    return stream.getvalue()


def turned(content: bytes, high: int) -> bytes:
    """The same MP4 as a telephone writes it that was held upright: to be turned by a quarter, clockwise."""
    place = content.find(b"tkhd") + 44
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, high << 16, 0, 1 << 30)
    return content[:place] + matrix + content[place + 36 :]
