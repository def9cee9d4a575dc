"""What one training step of each fusion costs beside another's.

    python benchmarks/step.py [--streams 3] [--tokens 16] [--rows 256] [--repeats 20] [--beside cross] [--json]

A step is forward, backward and AdamW over random streams 64 wide, with a tenth of the tokens missing, on one thread.
The fusions take turns, so that other work on the machine meets all alike; told are the CPU milliseconds of the median
step.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from tools import parser, show
from torch import nn
from torch.nn import functional as F

from polymodal.core.types import Tokens
from polymodal.fusion import FUSIONS

WIDTH, CLASSES = 64, 10


def stepper(name: str, streams: dict[str, Tokens], labels: torch.Tensor) -> tuple[Callable[[], None], int]:
    """One training step of a fusion and a linear head, and how many parameters the fusion has."""
    torch.manual_seed(0)
    fusion, head = FUSIONS.build(name, dict.fromkeys(streams, WIDTH), WIDTH), nn.Linear(WIDTH, CLASSES)
    optimizer = torch.optim.AdamW([*fusion.parameters(), *head.parameters()], fused=True)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(head(fusion(streams).pooled), labels).backward()
        optimizer.step()

    return step, sum(p.numel() for p in fusion.parameters())


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__)
    for name, value in (("streams", 3), ("tokens", 16), ("rows", 256), ("repeats", 20)):
        arguments.add_argument(f"--{name}", type=int, default=value)
    arguments.add_argument("--beside", default="cross")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    shape = (options.rows, options.tokens)
    streams = {
        f"stream {k}": Tokens(torch.randn(*shape, WIDTH), torch.rand(shape) < 0.9, torch.randn(options.rows, WIDTH))
        for k in range(options.streams)
    }
    labels = torch.randint(0, CLASSES, (options.rows,))
    steps = {name: stepper(name, streams, labels) for name in FUSIONS}
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.repeats + 1):
        for name, (step, _) in steps.items():
            started = time.process_time()
            step()
            spent[name].append(1000 * (time.process_time() - started))
    taken = {name: statistics.median(values[1:]) for name, values in spent.items()}
    beside = taken[options.beside]
    show(
        [
            {"fusion": n, "ms": t, f"times_{options.beside}": t / beside, "parameters": steps[n][1]}
            for n, t in sorted(taken.items(), key=lambda item: item[1])
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
