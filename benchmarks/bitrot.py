"""Flip bits in the store and in the bundle of a finished fit: how many are noticed, and what noticing costs.

    python benchmarks/bitrot.py [--rows 300] [--flips 200] [--pairs 5] [--epochs 3] [--seed 0] [--json]

The table holds pictures, sounds, text and numbers. A flipped bit of the store is noticed if its cells count as never
written, and matters if anything that the store still gives is not what was written. One of the bundle is noticed if
opening is refused, and matters if an answer is another. The cost is measured twice: as CPU seconds spent in checking
within a fit, and as the difference between fits with and without it, in turn, each with an empty store and again with
what that left in it. Exits with 1 when a bit changed an answer unnoticed.
"""

from __future__ import annotations

import contextlib
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from planted_faults import messy
from tools import parser, show

import polymodal as pm
from polymodal.core.errors import PolymodalError
from polymodal.data import inputs
from polymodal.data.storage import segment
from polymodal.data.storage.segment import read_segment
from polymodal.data.storage.store import Store
from polymodal.experiment import session as fitting
from polymodal.inference import bundle

FILES = ("config.yaml", "schema.json", "weights.safetensors", "manifest.json")


class NoDigest:
    """Stands for `xxhash` where a store makes and checks no digests."""

    @staticmethod
    def xxh3_64_hexdigest(content: Any) -> str:
        return "0"


CHECKS = (  # what makes and checks digests, and nothing else: its owner, its name, and what stands for it
    (segment.Segment, "is_sound", lambda *_: True),
    (segment, "xxhash", NoDigest),
    (bundle, "digest_file", lambda path: b""),
    (inputs, "digest_file", lambda path: b""),
    (fitting, "same_cells", lambda *_, **__: None),
)


def flipped(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ (1 << bit % 8)]))


def chosen(files: list[Path], flips: int, rng: random.Random) -> Iterator[tuple[Path, int]]:
    """Files and bits, every bit of all of them as likely as any other."""
    sizes = [path.stat().st_size for path in files]
    for path in rng.choices(files, sizes, k=flips):
        yield path, rng.randrange(8 * path.stat().st_size)


def of_store(root: Path, flips: int, rng: random.Random) -> dict[str, int]:
    """Flip bits of the store, one at a time, and ask for everything that was written."""
    files = sorted(root.glob("*/*.safetensors"))
    keys = {path: read_segment(path).words.view(np.uint8).reshape(-1, 16) for path in files}
    noticed = changed = 0
    for path, bit in chosen(files, flips, rng):
        whole, group = path.read_bytes(), path.parent.name
        told = Store(root).view(group, keys[path]).load()
        flipped(path, bit)
        store = Store(root)
        missing = store.missing(group, keys[path])
        noticed += len(missing) > 0
        left = np.setdiff1d(np.arange(len(keys[path])), missing)
        if len(left):
            now = store.view(group, keys[path][left]).load()
            changed += any(not np.array_equal(now[name], told[name][left], equal_nan=True) for name in told)
        path.write_bytes(whole)
    return {"flipped": flips, "noticed": noticed, "changed an answer unnoticed": changed}


def of_bundle(run: Path, rows: Path, flips: int, rng: random.Random) -> dict[str, int]:
    """Flip bits of the bundle's files, one at a time, open it and predict."""
    told = repr(pm.load(run).predict(rows))
    noticed = changed = 0
    for path, bit in chosen([run / name for name in FILES], flips, rng):
        whole = path.read_bytes()
        flipped(path, bit)
        try:
            changed += repr(pm.load(run).predict(rows)) != told
        except PolymodalError:
            noticed += 1
        path.write_bytes(whole)
    return {"flipped": flips, "noticed": noticed, "changed an answer unnoticed": changed}


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """As the code would be without digests."""
    with contextlib.ExitStack() as stack:
        for owner, name, other in CHECKS:
            stack.enter_context(mock.patch.object(owner, name, other))
        yield


@contextlib.contextmanager
def timed(spent: list[float]) -> Iterator[None]:
    """Appends the CPU seconds of every check."""

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:
            began = time.process_time()
            try:
                return work(*given, **more)
            finally:
                spent.append(time.process_time() - began)

        return call

    with contextlib.ExitStack() as stack:
        for owner, name, _ in CHECKS:
            if name == "xxhash":
                owner, name = segment.xxhash, "xxh3_64_hexdigest"
            stack.enter_context(mock.patch.object(owner, name, counted(getattr(owner, name))))
        yield


def seconds(fit: Callable[[Path, Path], None], folder: Path) -> dict[str, float]:
    """CPU seconds of a fit on an empty store, and of another on what that left."""
    shutil.rmtree(folder, ignore_errors=True)
    took = {}
    for name in ("cold", "warm"):
        began = time.process_time()
        fit(folder / name, folder / "store")
        took[name] = time.process_time() - began
    return took


def cost(fit: Callable[[Path, Path], None], folder: Path, pairs: int) -> list[dict[str, Any]]:
    """Percent of a fit: by accounting, and by fits in turn (mean and standard deviation of the pairs' differences)."""
    told: dict[str, dict[str, Any]] = {}
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("cold", "warm"):
        spent: list[float] = []
        began = time.process_time()
        with timed(spent):
            fit(folder / name, folder / "store")
        whole = time.process_time() - began
        size = Store(folder / "store").size() / 1e6
        told[name] = {"fit": name, "CPU s": whole, "MB stored": size, "% of it in checks": 100 * sum(spent) / whole}
    differences: dict[str, list[float]] = {"cold": [], "warm": []}
    for number in range(pairs):
        took = {}
        for checked in (True, False) if number % 2 else (False, True):
            with contextlib.nullcontext() if checked else unchecked():
                took[checked] = seconds(fit, folder)
        for name, found in differences.items():
            found.append(100 * (took[True][name] - took[False][name]) / took[False][name])
    for name, found in differences.items():
        told[name] |= {"% by pairs": float(np.mean(found)), "sd": float(np.std(found, ddof=1)), "pairs": pairs}
    return list(told.values())


def main() -> int:
    """Run the benchmark; 1 when a flipped bit changed an answer unnoticed."""
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=300)
    arguments.add_argument("--flips", type=int, default=200)
    arguments.add_argument("--pairs", type=int, default=5)
    arguments.add_argument("--epochs", type=int, default=3)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        messy(folder / "data", given.rows)
        table = folder / "data" / "messy.csv"

        def fit(out: Path, store: Path) -> None:
            pm.fit(
                table, "label", out=out, store=str(store), seeds=1, fusion=["concat"], crossfit=2, workers=0,
                training={"epochs": given.epochs}, trackers="none", quiet=True,
            )  # fmt: skip

        fit(folder / "run", folder / "store")
        rng = random.Random(given.seed)
        found = [
            {"in": "store", **of_store(folder / "store", given.flips, rng)},
            {"in": "bundle", **of_bundle(folder / "run", table, given.flips, rng)},
        ]
        show(found, given.json)
        show(cost(fit, folder / "timed", given.pairs), given.json)
    return int(any(row["changed an answer unnoticed"] for row in found))


if __name__ == "__main__":
    sys.exit(main())
