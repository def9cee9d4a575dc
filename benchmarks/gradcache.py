"""Gradient caching: the same gradient as the whole batch at once, and memory that does not grow with the batch.

    python benchmarks/gradcache.py [--largest 16384] [--chunk 256] [--json]

First the gradient of every parameter, of two towers and an aligner, in pieces and at once: the largest difference, over
the largest entry, in float32 and float64. Then steps with batches from 256 rows up, each in a process of its own:
the most memory that the process held beyond what it held before the first step, in pieces and at once (at once only
while the square of the batch fits), and seconds a thousand rows. The towers are convolutions over small pictures and a
perceptron over words, so that activations, which pieces save, weigh more than weights. Memory is read from Linux's
/proc, and what is freed is given back at once, so that it is that of live tensors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tools import parser, show
from torch import Tensor, nn

from polymodal.aligners import ALIGNERS
from polymodal.aligners.base import Aligner
from polymodal.core.types import Tokens
from polymodal.train.gradcache import in_pieces

SIDE, WORDS = 32, 64
AT_ONCE = 2048  # the largest batch that is tried at once


class Model(nn.Module):
    """Two towers and an aligner; `loss` of `rows` random pairs, `size` items at a time."""

    def __init__(self, method: str):
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1), nn.GELU(), nn.Conv2d(32, 64, 3, 2, 1), nn.GELU(), nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )  # fmt: skip
        self.text = nn.Sequential(nn.Linear(WORDS, 256), nn.GELU(), nn.Linear(256, 256))
        self.aligner: Aligner = ALIGNERS.build({"name": method, "dropout": 0.0}, {"image": 256, "text": 256}, 128)

    def loss(self, rows: int, size: int) -> Tensor:
        kind = self.aligner.log_scale.dtype

        def inputs(numbers: Tensor, *shape: int) -> Tensor:  # drawn anew a piece at a time: no batch of inputs is held
            draw = torch.Generator().manual_seed(int(numbers[0]) * 7 + shape[0])
            return torch.randn(len(numbers), *shape, generator=draw, dtype=torch.float32).to(kind)

        def embed(name: str, tower: nn.Module, *shape: int) -> Callable[[Tensor], Tensor]:
            def run(numbers: Tensor) -> Tensor:  # in blocks of 64, so that pieces of any size see the same inputs
                values = torch.cat([inputs(part, *shape) for part in numbers.split(64)])
                return self.aligner({name: Tokens.from_vector(tower(values))})[name].pooled

            return run

        numbers = torch.arange(rows)
        vectors = {
            "image": in_pieces(embed("image", self.image, 3, SIDE, SIDE), numbers, size),
            "text": in_pieces(embed("text", self.text, WORDS), numbers, size),
        }
        streams = {name: Tokens(v[:, None], torch.ones(rows, 1, dtype=torch.bool), v) for name, v in vectors.items()}
        return sum(self.aligner.loss(streams, dict.fromkeys(streams, numbers[:, None])).values())  # type: ignore[return-value]


def gradient_error(method: str, kind: torch.dtype, rows: int = 512) -> float:
    """The largest difference of any parameter's gradient, in pieces and at once, over its largest entry."""
    torch.manual_seed(0)
    model = Model(method).to(kind)
    found = []
    for size in (rows, 64):
        model.zero_grad()
        model.loss(rows, size).backward()
        found.append([p.grad.clone() for p in model.parameters()])  # type: ignore[union-attr]
    return max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-30)) for a, b in zip(*found))


def forget_peak() -> None:
    """Start the kernel's mark of the most memory held anew, at what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """The most memory this process has held since then, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def step(method: str, rows: int, size: int) -> dict[str, Any]:
    """One step's memory and time, in this process."""
    torch.manual_seed(0)
    model = Model(method)
    model.loss(64, 64).backward()  # libraries are loaded and buffers allocated by now
    forget_peak()
    before, started = peak(), time.perf_counter()
    model.zero_grad()
    model.loss(rows, size).backward()
    return {"mb": peak() - before, "seconds": time.perf_counter() - started}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--largest", type=int, default=16384)
    options.add_argument("--chunk", type=int, default=256)
    options.add_argument("--step", help=json.dumps("method,rows,size: one step in this process"))
    given = options.parse_args()
    torch.set_num_threads(1)
    if given.step:
        method, rows, size = given.step.split(",")
        print(json.dumps(step(method, int(rows), int(size))))
        return
    errors = [
        {"loss": method, "float32": f"{gradient_error(method, torch.float32):.1e}",
         "float64": f"{gradient_error(method, torch.float64):.1e}"}
        for method in ("infonce", "siglip")
    ]  # fmt: skip
    table, rows = [], 256
    while rows <= given.largest:
        line: dict[str, Any] = {"batch": rows}
        for name, size in (("pieces", given.chunk), ("at_once", rows)):
            if name == "at_once" and rows > AT_ONCE:
                line |= {"at_once_mb": "-", "at_once_s_a_thousand": "-"}
                continue
            command = [sys.executable, __file__, "--step", f"infonce,{rows},{size}"]
            given_back = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=given_back)
            found = json.loads(done.stdout)
            line |= {f"{name}_mb": round(found["mb"], 1), f"{name}_s_a_thousand": 1000 * found["seconds"] / rows}
        table.append(line)
        rows *= 4
    if given.json:
        print(json.dumps({"gradient": errors, "steps": table}, indent=1))
        return
    print("largest relative difference of a gradient, in pieces against at once:")
    show(errors, False)
    print(f"\none step, pieces of {given.chunk} items; memory beyond what was held before it:")
    show(table, False)


if __name__ == "__main__":
    main()
