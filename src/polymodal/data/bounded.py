"""Work of foreign libraries on a foreign file in a process of its own, whose time and memory are bounded.

What a drawing or a workbook asks for has no limit of its own, and a library in another language that gives up takes its
process along: so it is not ours.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from polymodal.core.limits import LIMITS, most

WORK = Path(__file__).with_name("bounded_work.py")


class Failed(Exception):
    """What went wrong, in a few words."""


def bounded(work: str, *arguments: object, what: str, content: bytes = b"") -> tuple[bytes, str]:
    """What the function `work` of `bounded_work.py` writes, and what it says on standard error.

    `core.limits` has the memory and the time of a `what`, of computing; of waiting it is twice that. Raises `Failed`.
    """
    seconds, memory = most(f"{what} time"), most(f"{what} memory")
    variables = " or ".join(LIMITS[f"{what} {limit}"][0] for limit in ("time", "memory"))
    told = f"it takes more than {seconds} s or {memory / 1e6:,.0f} MB, which {variables} raise"
    command = [sys.executable, "-P", WORK, seconds, memory, work, *arguments]
    try:
        done = subprocess.run(list(map(str, command)), input=content, capture_output=True, timeout=2 * seconds)
    except subprocess.TimeoutExpired as error:
        raise Failed(told) from error
    words = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode:
        last = words.rpartition("\n")[2]
        if done.returncode < 0 or "MemoryError" in last or not last:
            raise Failed(f"{told}, or its library failed")
        raise Failed(last[:160])
    return done.stdout, words
