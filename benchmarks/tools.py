"""What the benchmarks share: tables, and what a process with all its children cost."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the module's docstring as help, and --json."""
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return found


def show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print rows of the same names as an aligned table, or as JSON."""
    if as_json:
        print(json.dumps(list(rows), indent=1))
        return
    cells = [[name.replace("_", " ") for name in rows[0]], *([_text(v) for v in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def quartiles(values: Sequence[float]) -> str:
    """The median, and the quartiles in brackets."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.3f} ({low:.3f}-{high:.3f})"


@dataclass(frozen=True)
class Usage:
    """What a command and all its children cost: wall and CPU seconds, and the most memory they held together."""

    wall: float
    cpu: float
    peak_mb: float


def measured(command: Sequence[str | Path], **environment: str) -> Usage:
    """Run a command to its end; its errors go to standard error. Raises `CalledProcessError` when it fails."""
    wall = time.perf_counter()
    process = subprocess.Popen(
        [str(c) for c in command], env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=None
    )
    held: list[float] = []
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, held, over), daemon=True)
    watcher.start()
    _, status, spent = os.wait4(process.pid, 0)
    over.set()
    process.returncode = os.waitstatus_to_exitcode(status)
    watcher.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, [str(c) for c in command])
    return Usage(time.perf_counter() - wall, spent.ru_utime + spent.ru_stime, max(held, default=0.0))


def _watch(pid: int, held: list[float], over: threading.Event) -> None:
    """Note the memory of a process and its children a few times a second; pages that they share count once."""
    import psutil

    while not over.wait(0.3):
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(pid)
            held.append(sum(_held(p) for p in (parent, *parent.children(recursive=True))) / 2**20)


def _held(process: Any) -> int:
    import psutil

    with contextlib.suppress(psutil.Error):
        found = process.memory_full_info()
        return int(getattr(found, "pss", found.uss))
    return 0


def polymodal(*arguments: str | Path) -> list[str | Path]:
    """The command line of this environment's `polymodal`."""
    return [sys.executable, "-m", "polymodal.cli", *arguments]
