"""Which hidden layer of each pretrained tower to align: the two that agree most about who is near whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import torch
from torch import Tensor

from polymodal.aligners.pairs import pairs
from polymodal.core.errors import BadData
from polymodal.nn.neighbours import mutual_knn

MOST = 5000  # pairs that are looked at
FEWEST = 20


@dataclass(frozen=True)
class Layers:
    """The layer chosen for each stream, and the mean agreement of every combination that was tried."""

    chosen: dict[str, int]
    agreement: dict[tuple[int, ...], float]  # in the order of the sorted streams' names

    def words(self, names: Sequence[str] = ()) -> str:
        """One sentence for the report, about the streams `names`, by default all."""
        best = self.agreement[tuple(self.chosen[name] for name in sorted(self.chosen))]
        last = self.agreement[max(self.agreement)]
        layers = ", ".join(f"layer {self.chosen[name]} of {name}" for name in sorted(names or self.chosen))
        return f"{layers}: mutual nearest neighbours agree in {best:.1%} (in the last layers {last:.1%})."


def choose_layers(
    layers: Mapping[str, Sequence[Tensor]], rows: Mapping[str, Tensor], *, k: int = 10, seed: int = 0
) -> Layers:
    """The layers whose spaces agree most on training pairs by mutual k-NN, as STRUCTURE chooses (Gröger et al. 2025).

    `layers[stream]` are the pooled vectors [N, D] of each candidate layer, first to last (one for a tower that has
    none to choose); `rows[stream]` [N, M] as in `Side`. At most 5,000 pairs are looked at, each item once, drawn by
    `seed`; with more than two streams the mean over pairs of streams counts. Of equal ones the later layers win.

    Raises `BadData` with fewer than 20 pairs, or not more than `k`.
    """
    names = sorted(layers)
    agreement: dict[tuple[str, str], Tensor] = {}
    for a, b in combinations(names, 2):
        i, j = _one_to_one(rows[a], rows[b], seed)
        if len(i) < max(FEWEST, k + 1):
            raise BadData(
                f"{len(i)} pairs of {a!r} and {b!r} are too few to choose layers by {k} nearest neighbours: at least "
                f"{max(FEWEST, k + 1)} are needed. Name the layers instead."
            )
        table = [[float(mutual_knn(x[i], y[j], k=k).mean()) for y in layers[b]] for x in layers[a]]
        agreement[a, b] = torch.tensor(table, dtype=torch.float64)
    scores = {}
    for combination in product(*(range(len(layers[name])) for name in names)):
        at = dict(zip(names, combination))
        scores[combination] = float(sum(t[at[a], at[b]] for (a, b), t in agreement.items()) / len(agreement))
    best = max(scores, key=lambda combination: (scores[combination], combination))
    return Layers(dict(zip(names, best)), scores)


def _one_to_one(a: Tensor, b: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Pairs (i, j) in which every item stands once at most: captions of one photo would agree about each other."""
    i, j = pairs(a, b)
    order = torch.randperm(len(i), generator=torch.Generator().manual_seed(seed))
    left: set[int] = set()
    right: set[int] = set()
    kept: list[int] = []
    for place in order.tolist():
        x, y = int(i[place]), int(j[place])
        if x not in left and y not in right and len(kept) < MOST:
            left.add(x)
            right.add(y)
            kept.append(place)
    return i[kept], j[kept]
