"""Vectors of fixed width, made elsewhere: features of a network, a spectrum, a face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadCell
from polymodal.core.values import check_range
from polymodal.data.media.array import read_array
from polymodal.process.base import Processor
from polymodal.process.scale import Scaler


class VectorProcessor(Processor):
    """Standardises vectors. `process` gives `vector` float32 [N, W], zero (the mean) where a component is missing.

    W is `width`, or the commonest width in training. With `standardize` False only missing components are filled, for
    vectors whose lengths and angles mean something (embeddings of a shared space).
    """

    kind = "vector"

    def __init__(self, *, width: int | None = None, standardize: bool = True):
        check_range("[1, inf)", width=width)
        self.width = width
        self.standardize = standardize
        self.width_ = width
        self.scaler_: Scaler | None = None

    def read(self, cell: Any) -> np.ndarray:
        """float32 [W] of a list, an array, or the path of one (.npy, .csv). Raises `BadCell` for a wrong width or a
        cell without a list of finite numbers."""
        if isinstance(cell, Path):
            cell = read_array(cell)
        try:
            vector = np.asarray(cell, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise BadCell(f"the cell is not a list of numbers ({error})") from error
        if vector.ndim > 1:
            vector = vector.squeeze()
        if vector.ndim != 1 or not len(vector):
            raise BadCell(f"a vector has one axis; this array has the shape {np.shape(cell)}")
        if not np.isfinite(vector).any():
            raise BadCell("the vector holds no finite number")
        if self.width_ is not None and len(vector) != self.width_:
            raise BadCell(f"the vector has {len(vector)} numbers; {self.width_} are expected")
        return vector

    def fit(self, cells: Iterable[np.ndarray]) -> None:
        """Learn the width, and the mean and spread of each component."""
        vectors = list(cells)
        if not vectors:
            raise BadArgument("A vector processor needs at least one training vector.")
        widths = Counter(map(len, vectors))
        self.width_ = self.width or max(widths, key=lambda width: (widths[width], width))
        fitting = [vector for vector in vectors if len(vector) == self.width_]
        self.scaler_ = Scaler.fit(np.stack(fitting).astype(np.float64))

    def process(self, cells: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """`vector`; raises `BadCell` for a vector of another width, which `read` refuses once fitted."""
        scaler = self.fitted(self.scaler_)
        for vector in cells:
            if len(vector) != self.width_:
                raise BadCell(f"the vector has {len(vector)} numbers; {self.width_} are expected")
        values = np.stack(cells).astype(np.float64) if len(cells) else np.zeros((0, self.width_ or 0))
        scaled, known = scaler.apply(values)
        if self.standardize:
            return {"vector": scaled}
        return {"vector": np.where(known, values, scaler.mean).astype(np.float32)}

    def facts(self) -> dict[str, Any]:
        """`width`: W."""
        self.fitted(self.scaler_)
        return {"width": self.width_}

    def state(self) -> dict[str, Any]:
        return {"width": self.width_, "scaler": self.fitted(self.scaler_).state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.width_ = state["width"]
        self.scaler_ = Scaler.from_state(state["scaler"])

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Mixed with noise of the same spread: at level 1, noise alone."""
        vector = inputs["vector"]
        noise = torch.randn(vector.shape, generator=generator).to(vector)
        if not self.standardize:
            fitted = self.fitted(self.scaler_)
            noise = torch.from_numpy(fitted.mean).to(vector) + noise * torch.from_numpy(fitted.spread).to(vector)
        return {**inputs, "vector": (1 - level**2) ** 0.5 * vector + level * noise}

    def show(self, cell: np.ndarray) -> dict[str, Any]:
        return {"kind": "vector", "array": cell}
