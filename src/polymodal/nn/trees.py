"""Decision trees as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.nn.graphs import observed, pieces

NODE_FIELDS = {
    "feature": torch.int64, "threshold": torch.float32, "missing_left": torch.bool, "left": torch.int64,
    "right": torch.int64, "value": torch.float64,
}  # fmt: skip
TREE_FIELDS = {"root": torch.int64, "column": torch.int64}
UNFITTED = {"features": 0, "width": 0, "trees": 0, "nodes": 0, "depth": 0}
CHUNK = 256  # rows whose leaves are read at a time, where leaves are wide
EVERY = 4  # levels after which those that have arrived are left out


class Forest(nn.Module):
    """Sums of decision trees: column w of the result is `base`[w] plus the values of the leaves of that column's trees.

    Where `value` is [nodes, width], as `sizes` say by `wide`, every tree adds to all columns.

    All trees' nodes lie one after another. At node i a row goes to `left`[i] if its `feature`[i] is at most
    `threshold`[i], or is NaN and `missing_left`[i]; else to `right`[i]. A leaf leads to itself. Tree t starts at
    `root`[t] and adds to `column`[t].

    `sizes` (what `sizes()` returns) allots the buffers, so that a state dict of any forest can be loaded.
    """

    base: Tensor
    root: Tensor
    column: Tensor
    feature: Tensor
    threshold: Tensor
    missing_left: Tensor
    left: Tensor
    right: Tensor
    value: Tensor

    def __init__(self, sizes: Mapping[str, int]):
        super().__init__()
        self.features = sizes["features"]
        self.depth = sizes["depth"]
        self.register_buffer("base", torch.zeros(sizes["width"], dtype=torch.float64))
        for fields, count in ((TREE_FIELDS, sizes["trees"]), (NODE_FIELDS, sizes["nodes"])):
            for name, dtype in fields.items():
                self.register_buffer(name, torch.zeros(count, dtype=dtype))
        if sizes.get("wide"):
            self.register_buffer("value", torch.zeros(sizes["nodes"], sizes["width"]))

    @classmethod
    def of(cls, base: Tensor, trees: Mapping[str, Tensor], *, features: int, depth: int) -> Forest:
        """A forest of the given buffers. `depth` is the most steps from a root to a leaf."""
        sizes = {"width": len(base), "trees": len(trees["root"]), "nodes": len(trees["left"])}
        forest = cls({**sizes, "features": features, "depth": depth, "wide": trees["value"].ndim == 2})
        forest.load_state_dict({"base": base, **trees})
        return forest

    def repeated(self, times: int) -> Forest:
        """The same with every column given `times` times, one after another; of trees that add to all columns."""
        fields = {name: getattr(self, name) for name in (*TREE_FIELDS, *NODE_FIELDS)}
        fields["value"] = self.value.repeat_interleave(times, 1)
        base = self.base.repeat_interleave(times)
        return Forest.of(base, fields, features=self.features, depth=self.depth)

    def sizes(self) -> dict[str, Any]:
        """JSON values that the constructor needs."""
        return {
            "features": self.features, "width": len(self.base), "trees": len(self.root), "nodes": len(self.left),
            "depth": self.depth, **({"wide": True} if self.value.ndim == 2 else {}),
        }  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """[N, features] to [N, width], float32."""
        leaf = self._leaves(x.float())
        if self.value.ndim == 2:
            return (self.base + torch.cat([self.value[part].sum(1) for part in pieces(leaf, CHUNK)])).float()
        total = self.base.repeat(x.shape[0], 1)
        return total.index_add_(1, self.column, self.value[leaf]).float()

    def _leaves(self, x: Tensor) -> Tensor:
        """Where each row of `x` [N, features] ends in each tree, [N, trees]: all go down together, a level a step, and
        who has arrived is left out of the steps to come."""
        cells, whole = x.flatten(), observed(~x.isnan().any())
        end = node = self.root.repeat(x.shape[0])
        place = torch.arange(node.shape[0], device=x.device)
        at = (torch.arange(x.shape[0], device=x.device) * x.shape[1]).repeat_interleave(len(self.root))
        for level in range(self.depth):
            value = cells[at + self.feature[node]]
            right = value > self.threshold[node]
            if not whole:
                right |= value.isnan() & ~self.missing_left[node]
            node = torch.where(right, self.right[node], self.left[node])
            if level % EVERY == EVERY - 1 and not torch.compiler.is_compiling():
                end[place] = node
                going = (self.left[node] != node).nonzero()[:, 0]
                place, at, node = place[going], at[going], node[going]
        return end.index_copy(0, place, node).view(x.shape[0], len(self.root))


def float32_below(threshold: np.ndarray) -> np.ndarray:
    """The largest float32 not above each threshold: float32 features compare with it as with the threshold."""
    found = threshold.astype(np.float32)
    above = found > threshold
    found[above] = np.nextafter(found[above], np.float32(-np.inf))
    return found
