"""How near a training step of each default encoder comes to what the processor can multiply.

    python benchmarks/ceiling.py [--rows 128] [--repeats 15] [--json]

A step is forward, backward and the optimiser of the encoder's own recipe on one thread, in the recipe's precision, its
multiplications counted by torch. The ceiling is a product of two square matrices of 1024 in the same precision; both
take turns, so that other work on the machine meets both alike. Told are CPU milliseconds of the median step, what it
multiplies, and its share of the ceiling with quartiles: what is left is memory, small shapes and what is no product.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from tools import parser, quartiles, show
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from polymodal.config import Training
from polymodal.core.runtime import autocast
from polymodal.data.kinds import KINDS
from polymodal.encoders import ENCODERS
from polymodal.nn.place import CPU
from polymodal.testing.examples import example_inputs
from polymodal.train.optim import make_optimizer

WIDTH, CLASSES, SIDE = 64, 10, 1024
STREAMS = ("image", "audio", "series", "vector", "text", "table")


def given(kind: str, rows: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Facts and a batch: pictures of 64 x 64, a second of sound at 8 kHz, else examples of the kind."""
    if kind == "image":
        return {"channels": 3, "size": 64}, {"pixels": torch.randint(0, 256, (rows, 3, 64, 64), dtype=torch.uint8)}
    if kind == "audio":
        samples = (3000 * torch.randn(rows, 8000)).short()
        return {"rate": 8000, "length": 8000}, {"samples": samples, "length": torch.full((rows,), 8000)}
    return example_inputs(KINDS[kind].processor, rows)


def stepper(kind: str, rows: int) -> tuple[Callable[[], Any], str]:
    """One training step of the kind's default encoder under a linear head, and its precision."""
    torch.manual_seed(0)
    facts, inputs = given(kind, rows)
    encoder = ENCODERS.build(KINDS[kind].encoder, facts, WIDTH)
    encoder.fit_statistics(inputs)
    inputs = (encoder.once(inputs) or inputs) | {"present": torch.ones(rows, dtype=torch.bool)}
    model, truth = nn.ModuleList([encoder, nn.Linear(encoder.dim, CLASSES)]).train(), torch.randint(0, CLASSES, (rows,))
    options = Training().with_(encoder.recipe())
    optimizer = make_optimizer(model, options)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(CPU, options.precision):
            loss = F.cross_entropy(model[1](encoder(inputs).pooled), truth)
        loss.backward()
        optimizer.step()

    return step, "bfloat16" if options.precision == "bfloat16" else "float32"


def product(precision: str) -> Callable[[], Any]:
    a, b = (torch.randn(SIDE, SIDE, dtype=getattr(torch, precision)) for _ in range(2))
    return lambda: a @ b


def timed(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=128)
    options.add_argument("--repeats", type=int, default=15)
    asked = options.parse_args()
    torch.set_num_threads(1)
    found = []
    for kind in STREAMS:
        step, precision = stepper(kind, asked.rows)
        best = product(precision)
        step(), best()
        with FlopCounterMode(display=False) as counter:
            step()
        work = counter.get_total_flops()
        pairs = [(timed(step), timed(best)) for _ in range(asked.repeats)]
        shares = [work / took / (2 * SIDE**3 / full) for took, full in pairs]
        found.append(
            {
                "encoder": KINDS[kind].encoder, "precision": precision,
                "ms": round(1000 * sorted(took for took, _ in pairs)[len(pairs) // 2], 2),
                "GFLOP": round(work / 1e9, 3), "share": quartiles(shares),
            }
        )  # fmt: skip
    show(found, asked.json)


if __name__ == "__main__":
    main()
