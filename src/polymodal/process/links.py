"""A row's neighbours: their features, made elsewhere, and how strongly each is linked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.core.errors import BadArgument, BadCell
from polymodal.process.base import Processor


class LinksProcessor(Processor):
    """Pads neighbours to a fixed number, the most that a training row has; of more, the first are kept.

    A cell is a dict of `ids` [m], `weights` [m] above 0 and `vectors` [m, W], the strongest neighbour first. `process`
    gives `vector` float16 [N, m, W], `weight` float32 [N, m] and `mask` bool [N, m].
    """

    kind = "links"

    def __init__(self) -> None:
        self.slots_ = 0
        self.width_ = 0

    def read(self, cell: Any) -> dict[str, Any]:
        """The cell, checked. Raises `BadCell`; `vectors` may be lacking in a cell that is only shown."""
        if not isinstance(cell, Mapping) or "ids" not in cell or "weights" not in cell:
            raise BadCell(f"is {str(cell)[:40]!r}, where ids and weights of neighbours were expected")
        weights = np.asarray(cell["weights"], np.float32)
        if not len(weights) or len(weights) != len(cell["ids"]) or not (np.isfinite(weights) & (weights > 0)).all():
            raise BadCell("each neighbour needs a weight above 0, and there must be one at least")
        if "vectors" in cell and np.shape(cell["vectors"])[:1] != (len(weights),):
            raise BadCell(f"{len(weights)} neighbours have features of the shape {np.shape(cell['vectors'])}")
        return {**cell, "weights": weights}

    def fit(self, cells: Iterable[dict[str, Any]]) -> None:
        """Learn how many neighbours there are at most and how wide their features."""
        for cell in cells:
            self.slots_ = max(self.slots_, len(cell["weights"]))
            self.width_ = np.shape(cell["vectors"])[1]

    def process(self, cells: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        """`vector`, `weight` and `mask`; raises `BadCell` for features of another width, or none."""
        if not self.slots_:
            raise BadArgument("This links processor is not fitted: call fit(cells) or load_state(state) first.")
        vector = np.zeros((len(cells), self.slots_, self.width_), np.float16)
        weight = np.zeros((len(cells), self.slots_), np.float32)
        for row, cell in enumerate(cells):
            shape = np.shape(cell.get("vectors", ()))
            if shape[1:] != (self.width_,):
                raise BadCell(f"the features of a neighbour are {self.width_} numbers; got {shape}")
            count = min(self.slots_, len(cell["weights"]))
            vector[row, :count] = cell["vectors"][:count]
            weight[row, :count] = cell["weights"][:count]
        return {"vector": vector, "weight": weight, "mask": weight > 0}

    def facts(self) -> dict[str, Any]:
        """`width` of a neighbour's features and `slots`, how many neighbours fit."""
        return {"width": self.width_, "slots": self.slots_}

    def state(self) -> dict[str, Any]:
        return self.facts()

    def load_state(self, state: dict[str, Any]) -> None:
        self.width_, self.slots_ = state["width"], state["slots"]

    def corrupt(self, inputs: dict[str, Tensor], level: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Each neighbour is, with probability `level`, another row's in the same place: links rewired."""
        vector, mask = inputs["vector"], inputs["mask"]
        swap = (torch.rand(mask.shape, generator=generator) < level) & mask
        other = torch.randperm(len(mask), generator=generator)
        swap = swap & mask[other]  # only for one that is there
        return {**inputs, "vector": torch.where(swap[..., None], vector[other], vector)}

    def show(self, cell: dict[str, Any]) -> dict[str, Any]:
        shown = zip(cell["ids"], np.asarray(cell["weights"]).tolist())
        return {"kind": "table", "values": {str(identifier): round(weight, 4) for identifier, weight in shown}}
