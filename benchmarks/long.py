"""What attention over long inputs costs by their length: the fusion `unified` with each kind of attention.

    python benchmarks/long.py [--lengths 256 512 ...] [--rows 4] [--layers 2] [--threads 2] [--repeats 5] [--json]

A step is one forward and backward pass over --rows rows of two streams that share the tokens, 64 wide. Every cell is
measured in a process of its own: the milliseconds of the fastest step after a first one, and the megabytes that the
first one added to the most the process ever held. `auto` is what it chooses at that length.
"""

from __future__ import annotations

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from tools import parser, show

WIDTH = 64
KINDS = ("full", "window", "linear")


def cost(attention: str, length: int, rows: int, layers: int, threads: int, repeats: int) -> tuple[float, float]:
    """Milliseconds and megabytes of a step."""
    import torch

    from polymodal.core.types import Tokens
    from polymodal.fusion import FUSIONS

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    tokens = length // 2 - 1  # each stream's pooled vector counts too
    streams = {
        name: Tokens(
            torch.randn(rows, tokens, WIDTH), torch.ones(rows, tokens, dtype=torch.bool), torch.randn(rows, WIDTH)
        )
        for name in ("left", "right")
    }
    spec = {"name": "unified", "tokens": tokens, "layers": layers, "attention": attention}
    fusion = FUSIONS.build(spec, dict.fromkeys(streams, WIDTH), WIDTH)
    fusion({name: t.select(slice(0, 1)) for name, t in streams.items()}).pooled.sum().backward()  # what is loaded once
    before, spent = held(), []
    for number in range(repeats + 1):
        started = time.perf_counter()
        fusion(streams).pooled.square().sum().backward()
        spent.append(time.perf_counter() - started)
        if number == 0:
            grown = held() - before
    return 1000 * min(spent[1:]), grown


def held() -> float:
    """The most megabytes that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__)
    arguments.add_argument("--lengths", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096, 8192])
    for name, value in (("rows", 4), ("layers", 2), ("threads", 2), ("repeats", 5)):
        arguments.add_argument(f"--{name}", type=int, default=value)
    options = arguments.parse_args()
    from polymodal.nn.layers.long import settled

    table: list[dict[str, Any]] = []
    for length in options.lengths:
        row: dict[str, Any] = {"tokens": length}
        for kind in KINDS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                given = (kind, length, options.rows, options.layers, options.threads, options.repeats)
                milliseconds, megabytes = alone.submit(cost, *given).result()
            row |= {f"{kind}_ms": round(milliseconds, 1), f"{kind}_MB": round(megabytes)}
        chosen = settled("auto", length)
        table.append({**row, "auto": "window" if isinstance(chosen, int) else chosen})
    show(table, options.json)


if __name__ == "__main__":
    main()
