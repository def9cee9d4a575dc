"""Alignment without pairs: the adversarial aligner against Procrustes with pairs, and against chance.

    python benchmarks/unpaired.py [--items 3000] [--seeds 3] [--restarts 4] [--epochs 10] [--json]
    python benchmarks/unpaired.py --packages PACKAGES --flickr FOLDER [--texts minilm-use] [--dim 128]

Planted: points of forty clusters of unequal size, place and breadth, seen twice, turned and with noise of its own on
either side; no item is in both training clouds. A Gaussian beside them: it looks the same from every side, so nothing
can be found, and the aligner must say so. Real (with --packages, see benchmarks/sentences.py): the captions of
different photos through two sentence encoders. Judged on new items that both sides hold: the share whose own
counterpart is the first, or among the first five, by CSLS. Means over seeds, with the lowest and the highest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentences import captions, encoded
from tools import parser, show
from torch import Tensor

from polymodal.aligners import ALIGNERS
from polymodal.aligners.pairs import Side
from polymodal.core.types import Tokens
from polymodal.nn.csls import csls

WIDTH, CLUSTERS, NEW = 30, 40, 500
NOISES = (0.0, 0.3, 0.6)  # of the spread of the points
PAIRS = (50, 200, None)  # None: as many as there are items
Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """`left` and `right` without a common item, `pairs` for the supervised, and `new` items to judge by."""

    name: str
    left: Tensor
    right: Tensor
    pairs: tuple[Tensor, Tensor]
    new: tuple[Tensor, Tensor]
    dim: int


def planted(noise: float, items: int, seed: int, *, shaped: bool = True) -> Task:
    """Clusters (or, not `shaped`, a Gaussian) and the same turned, each with noise of its own."""
    draw = torch.Generator().manual_seed(seed)
    spread = torch.linspace(1, 0.3, WIDTH)
    centres = torch.randn(CLUSTERS, WIDTH, generator=draw) * (torch.rand(CLUSTERS, 1, generator=draw) + 0.5)
    sizes = torch.rand(CLUSTERS, generator=draw) ** 2
    turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=draw))[0]

    def points(count: int) -> Tensor:
        free = torch.randn(count, WIDTH, generator=draw)
        if not shaped:
            return free
        own = torch.multinomial(sizes, count, replacement=True, generator=draw)
        return (centres[own] + 0.5 * torch.rand(count, 1, generator=draw) * free) * spread

    def seen(x: Tensor) -> Tensor:
        return x + noise * x.std() * torch.randn(x.shape, generator=draw)

    left, right, both, new = points(items), points(items), points(items), points(NEW)
    name = f"planted, noise {noise:g}" if shaped else "Gaussian (no shape)"
    return Task(
        name, seen(left), seen(right) @ turn, (seen(both), seen(both) @ turn), (seen(new), seen(new) @ turn), WIDTH
    )


def sentences(pair: str, packages: Path, flickr: Path, dim: int, seed: int) -> Task:
    """Captions through two encoders; the captions of a half of the photos on either side."""
    first, second = pair.split("-")
    train, test = captions(flickr, "train"), captions(flickr, "test")
    a, b = (torch.from_numpy(encoded(name, packages, train)) for name in (first, second))
    new = tuple(torch.from_numpy(encoded(name, packages, test)) for name in (first, second))
    there = (new[0].norm(dim=1) > 0) & (new[1].norm(dim=1) > 0)
    half = len(train) // 2  # captions stand in the order of their photos
    draw = torch.Generator().manual_seed(seed)
    mixed = torch.randperm(half, generator=draw)
    dim = min(dim, a.shape[1], b.shape[1])
    return Task(pair, a[:half], b[half:], (a[mixed], b[mixed]), (new[0][there], new[1][there]), dim)


def judged(task: Task, part: Any, fit: Callable[[Any], Any]) -> tuple[float, float, float, str]:
    """Precision at 1 and at 5 of new items, seconds of the fit, and what was said."""
    begun = time.process_time()
    told = fit(part)
    seconds = time.process_time() - begun
    left, right = (part({n: Tokens.from_vector(x)})[n].pooled for n, x in zip(("left", "right"), task.new))
    first = csls(right, left).topk(5, dim=1).indices == torch.arange(len(left))[:, None]
    return float(first[:, 0].double().mean()), float(first.any(1).double().mean()), seconds, " ".join(told)


def methods(task: Task, seed: int, options: dict[str, Any]) -> Iterator[tuple[str, tuple[float, float, float, str]]]:
    """Every method on one task."""
    widths = {"left": task.left.shape[1], "right": task.right.shape[1]}
    absent: Any = None  # rows are not there to be read
    clouds = {"left": Side(task.left, absent), "right": Side(task.right, absent)}
    part = ALIGNERS.build({"name": "adversarial", **options}, widths, task.dim)
    yield "adversarial", judged(task, part, lambda p: p.fit(clouds, seed=seed))
    for count in PAIRS:
        x, y = (side[:count] for side in task.pairs)
        rows = torch.arange(len(x))[:, None]
        sides = {"left": Side(x, rows), "right": Side(y, rows)}
        part = ALIGNERS.build({"name": "procrustes", "keep": task.dim}, widths, task.dim)
        yield f"procrustes, {len(x):,} pairs", judged(task, part, lambda p, s=sides: p.fit(s))


def compared(tasks: Callable[[int], Task], seeds: int, options: dict[str, Any]) -> list[Row]:
    """One row a method, over seeds."""
    found: dict[str, list[tuple[float, float, float, str]]] = {}
    for seed in range(seeds):
        task = tasks(seed)
        for name, result in methods(task, seed, options):
            found.setdefault(name, []).append(result)
            if name == "adversarial":
                print(f"{task.name}, seed {seed}: {result[3]}", file=sys.stderr, flush=True)
    chance = 1 / len(task.new[0])
    rows = [
        {
            "data": task.name,
            "method": name,
            "precision_at_1": _range([r[0] for r in results]),
            "precision_at_5": _range([r[1] for r in results]),
            "cpu_seconds": round(sum(r[2] for r in results) / len(results), 1),
            "said": _verdicts([r[3] for r in results]) if name == "adversarial" else "",
        }
        for name, results in found.items()
    ]
    rows.append({**dict.fromkeys(rows[0], ""), "data": task.name, "method": "chance", "precision_at_1": f"{chance:.4f}",
                 "precision_at_5": f"{5 * chance:.4f}"})  # fmt: skip
    return rows


def _range(values: list[float]) -> str:
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _verdicts(told: list[str]) -> str:
    failed = sum("Not converged" in words for words in told)
    alone = sum("Not confirmed" in words for words in told)
    return f"{len(told) - failed - alone} confirmed, {alone} not confirmed, {failed} not converged"


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__)
    arguments.add_argument("--items", type=int, default=3000)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--restarts", type=int, default=4)
    arguments.add_argument("--epochs", type=int, default=10)
    arguments.add_argument("--packages", type=Path, help="folder with the packages that bring sentence encoders")
    arguments.add_argument("--flickr", type=Path, help="folder with the captions")
    arguments.add_argument("--texts", nargs="+", default=["minilm-use", "minilm-glove"], help="two encoders each")
    arguments.add_argument("--dim", type=int, default=128)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    options = {"restarts": given.restarts, "epochs": given.epochs}
    rows: list[Row] = []
    if given.packages and given.flickr:
        for pair in given.texts:
            rows += compared(
                lambda seed, pair=pair: sentences(pair, given.packages, given.flickr, given.dim, seed),
                given.seeds, options,
            )  # fmt: skip
    else:
        for noise in NOISES:
            rows += compared(lambda seed, noise=noise: planted(noise, given.items, seed), given.seeds, options)
        rows += compared(lambda seed: planted(0.0, given.items, seed, shaped=False), given.seeds, options)
    show(rows, given.json)


if __name__ == "__main__":
    main()
