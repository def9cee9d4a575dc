"""Small raw cells of every kind, as a table would hold them: what the table of kinds names as `example`.

Each is made from a generator and the row's number; pictures and sounds come as bytes of a PNG and a WAV file.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

WORDS = ["red", "blue", "shoe", "runs", "under", "over", "old", "lamp", "seven", "green", "loud", "quiet"]


def image(draw: np.random.Generator, row: int) -> bytes:
    from PIL import Image

    coarse = draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((24, 24)).save(file, "PNG")
    return file.getvalue()


def audio(draw: np.random.Generator, row: int) -> bytes:
    import soundfile

    time = np.arange(4000 - 200 * (row % 3)) / 8000
    wave = 0.3 * np.sin(2 * np.pi * (200 + 150 * row) * time) + 0.05 * draw.standard_normal(len(time))
    file = io.BytesIO()
    soundfile.write(file, wave.astype(np.float32), 8000, format="WAV")
    return file.getvalue()


def video(draw: np.random.Generator, row: int) -> bytes:
    """An animated picture: a square that moves over a still ground, to the right or down."""
    from PIL import Image

    ground = draw.integers(0, 200, (24, 24, 3), dtype=np.uint8)
    frames = []
    for step in range(4 + row % 3):
        shown = ground.copy()
        shown[(8, 3 * step)[row % 2] :, (3 * step, 8)[row % 2] :][:6, :6] = 255
        frames.append(Image.fromarray(shown))
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], duration=200)
    return file.getvalue()


def volume(draw: np.random.Generator, row: int) -> np.ndarray:
    """A ball or a box in noise, in voxels of one millimetre."""
    values = draw.normal(0, 5, (12 + row % 2, 16, 16)).astype(np.float32)
    place = np.stack(np.meshgrid(*map(np.arange, values.shape), indexing="ij"), -1) - (6, 8, 8)
    far = np.linalg.norm(place, axis=-1) if row % 2 else np.abs(place).max(-1)
    return np.where(far < 4, 100 + values, values)


def points(draw: np.random.Generator, row: int) -> np.ndarray:
    """The surface of a ball or of a box, some metres away, with a fourth value, as lidar has."""
    count = 40 + 5 * (row % 3)
    towards = draw.normal(size=(count, 3))
    towards /= (np.linalg.norm(towards, axis=1) if row % 2 else np.abs(towards).max(1))[:, None]
    return np.c_[towards + np.array([5 + row % 4, 0, 1]), draw.random(count)].astype(np.float32)


def text(draw: np.random.Generator, row: int) -> str:
    return " ".join(draw.choice(WORDS, 3 + row % 4))


def table(draw: np.random.Generator, row: int) -> dict[str, Any]:
    size = round(float(draw.normal(5, 2)), 3)
    colour = ("red", "blue", "green")[row % 3]
    return {"size": size, "weight": None if row == 1 else float(row**2), "colour": None if row == 3 else colour}


def series(draw: np.random.Generator, row: int) -> np.ndarray:
    return draw.standard_normal((24 - row % 4, 2)).cumsum(0).astype(np.float32)


def vector(draw: np.random.Generator, row: int) -> np.ndarray:
    return draw.standard_normal(12).astype(np.float32)


def links(draw: np.random.Generator, row: int) -> dict[str, Any]:
    count = 1 + row % 3
    vectors = draw.standard_normal((count, 6)).astype(np.float16)
    weights = np.sort(draw.random(count).astype(np.float32))[::-1] + 0.1
    return {"ids": [f"r{row}{i}" for i in range(count)], "weights": weights.tolist(), "vectors": vectors}


def entity(draw: np.random.Generator, row: int) -> str:
    """A user."""
    return f"user {row}"
