"""Small cells of every kind, to try processors and encoders on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import UnknownName, suggest
from polymodal.core.registry import Spec, import_path
from polymodal.data.kinds import KINDS, Kind
from polymodal.process import PROCESSORS


def example_cells(kind: str, rows: int = 8) -> list[Any]:
    """`rows` different raw cells as a table would hold them; the same at every call. Raises `UnknownName`.

    Pictures and sounds come as bytes of a PNG and a WAV file.
    """
    if kind not in KINDS or not KINDS[kind].example:
        known = [name for name, one in KINDS.items() if one.example]
        raise UnknownName(f"There are no example cells of the kind {kind!r}.{suggest(kind, known)}")
    return make_cells(KINDS[kind], rows)


def make_cells(kind: Kind, rows: int) -> list[Any]:
    """`rows` raw cells by the kind's `example`."""
    draw = np.random.default_rng(11)
    make = import_path(kind.example)
    return [make(draw, row) for row in range(rows)]


def example_inputs(processor: Spec, rows: int = 8) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Facts and tensors of a processor fitted to example cells of its kind: what `check_encoder` needs."""
    fitted = PROCESSORS.build(processor)
    cells = [fitted.read(cell) for cell in example_cells(fitted.kind, rows)]
    fitted.fit(cells)
    return fitted.facts(), {name: torch.from_numpy(array) for name, array in fitted.process(cells).items()}
