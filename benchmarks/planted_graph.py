"""Pairs whose classes a taxonomy relates: what `benchmarks/knowledge.py` and the tests of `knowledge` align.

240 species in 30 genera of 6 families. A species' meaning is the sum of what is drawn for its family, its genus and
itself; each species is one pair of two noisy linear views of its meaning, and a text that names it. The species of the
test are none of training.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from polymodal.aligners import ALIGNERS
from polymodal.aligners.graph import Graph
from polymodal.core.types import Tokens

BRANCHES = (6, 5, 8)
WIDTHS = {"a": 64, "b": 48}


@dataclass(frozen=True)
class Planted:
    """One draw of the task: `pairs` for training, all other species for testing."""

    seed: int
    pairs: int = 120
    noise: float = 2.0
    meaning: int = 16

    @cached_property
    def graph(self) -> Graph:
        triples, level = [], ["life"]
        for depth, branch in enumerate(BRANCHES):
            children = [f"{'fgs'[depth]}{n:03d}" for n in range(len(level) * branch)]
            triples += [(child, "is a", level[n // branch]) for n, child in enumerate(children)]
            level = children
        return Graph.of(triples)

    @cached_property
    def order(self) -> Tensor:
        """Species in the order of rows; the first `pairs` are for training."""
        return torch.randperm(240, generator=torch.Generator().manual_seed(self.seed))

    @property
    def texts(self) -> list[str]:
        return [f"a photo of {n}" for n in (f"s{int(i):03d}" for i in self.order)]

    @cached_property
    def views(self) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(1000 + self.seed)
        parts = [torch.randn(n, self.meaning, generator=draw) for n in (6, 30, 240)]
        meaning = sum(p.repeat_interleave(240 // len(p), 0) for p in parts)[self.order]
        return {
            name: meaning @ torch.randn(self.meaning, width, generator=draw) / 4
            + self.noise * torch.randn(240, width, generator=draw)
            for name, width in WIDTHS.items()
        }


def aligned(spec: Any, task: Planted, *, seed: int, steps: int = 150, dim: int = 32) -> dict[str, float]:
    """Train an aligner on the task's pairs; recall of unseen pairs (a finds b), and mean average precision by genus."""
    torch.manual_seed(seed)
    part = ALIGNERS.build(spec, WIDTHS, dim)
    rows = torch.arange(240)
    part.inform({"text": [text if r < task.pairs else None for r, text in enumerate(task.texts)]}, seed=seed)
    train = {name: Tokens.from_vector(x[: task.pairs]) for name, x in task.views.items()}
    theirs = dict.fromkeys(WIDTHS, rows[: task.pairs, None])
    optimizer = torch.optim.AdamW(part.parameters(), lr=3e-3, weight_decay=0.05)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1.0, (step + 1) / 10, 2 * (steps - step) / steps)
        optimizer.zero_grad()
        torch.stack(list(part.objective(train, theirs).values())).sum().backward()
        optimizer.step()
    part.eval()
    with torch.no_grad():
        found = part({name: Tokens.from_vector(x[task.pairs :]) for name, x in task.views.items()})
    scores = found["a"].pooled @ found["b"].pooled.T
    rank = (scores >= scores.diag()[:, None]).sum(1)
    genus = task.order[task.pairs :] // 8
    right = (genus[:, None] == genus).gather(1, scores.argsort(1, descending=True)).double()
    precision = (right.cumsum(1) / torch.arange(1, len(genus) + 1) * right).sum(1) / right.sum(1)
    return {
        "r@1": float((rank <= 1).double().mean()),
        "r@10": float((rank <= 10).double().mean()),
        "genus map": float(precision.mean()),
    }
