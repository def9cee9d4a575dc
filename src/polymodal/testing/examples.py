"""Small cells of every kind, to try processors and encoders on."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import UnknownName, suggest
from polymodal.core.registry import Spec
from polymodal.process import PROCESSORS

WORDS = ["red", "blue", "shoe", "runs", "under", "over", "old", "lamp", "seven", "green", "loud", "quiet"]


def example_cells(kind: str, rows: int = 8) -> list[Any]:
    """`rows` different raw cells as a table would hold them; the same at every call. Raises `UnknownName`.

    Pictures and sounds come as bytes of a PNG and a WAV file.
    """
    if kind not in _MAKERS:
        raise UnknownName(f"There are no example cells of the kind {kind!r}.{suggest(kind, _MAKERS)}")
    draw = np.random.default_rng(11)
    return [_MAKERS[kind](draw, row) for row in range(rows)]


def example_inputs(processor: Spec, rows: int = 8) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Facts and tensors of a processor fitted to example cells of its kind: what `check_encoder` needs."""
    fitted = PROCESSORS.build(processor)
    cells = [fitted.read(cell) for cell in example_cells(fitted.kind, rows)]
    fitted.fit(cells)
    return fitted.facts(), {name: torch.from_numpy(array) for name, array in fitted.process(cells).items()}


def _image(draw: np.random.Generator, row: int) -> bytes:
    from PIL import Image

    coarse = draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((24, 24)).save(file, "PNG")
    return file.getvalue()


def _audio(draw: np.random.Generator, row: int) -> bytes:
    import soundfile

    time = np.arange(4000 - 200 * (row % 3)) / 8000
    wave = 0.3 * np.sin(2 * np.pi * (200 + 150 * row) * time) + 0.05 * draw.standard_normal(len(time))
    file = io.BytesIO()
    soundfile.write(file, wave.astype(np.float32), 8000, format="WAV")
    return file.getvalue()


def _text(draw: np.random.Generator, row: int) -> str:
    return " ".join(draw.choice(WORDS, 3 + row % 4))


def _table(draw: np.random.Generator, row: int) -> dict[str, Any]:
    size = round(float(draw.normal(5, 2)), 3)
    colour = ("red", "blue", "green")[row % 3]
    return {"size": size, "weight": None if row == 1 else float(row**2), "colour": None if row == 3 else colour}


def _series(draw: np.random.Generator, row: int) -> np.ndarray:
    return draw.standard_normal((24 - row % 4, 2)).cumsum(0).astype(np.float32)


def _vector(draw: np.random.Generator, row: int) -> np.ndarray:
    return draw.standard_normal(12).astype(np.float32)


def _links(draw: np.random.Generator, row: int) -> dict[str, Any]:
    count = 1 + row % 3
    vectors = draw.standard_normal((count, 6)).astype(np.float16)
    weights = np.sort(draw.random(count).astype(np.float32))[::-1] + 0.1
    return {"ids": [f"r{row}{i}" for i in range(count)], "weights": weights.tolist(), "vectors": vectors}


_MAKERS: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "image": _image, "audio": _audio, "text": _text, "table": _table, "series": _series, "vector": _vector,
    "links": _links,
}  # fmt: skip
