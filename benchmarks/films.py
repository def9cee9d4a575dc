"""Films: frames a second decoded, beside a plain loop of PyAV; and the memory that two hours take.

    python benchmarks/films.py [--seconds 60] [--height 360] [--repeats 5] [--hours 2] [--json]

The films are made here: moving squares, H.264 (MPEG-4 where PyAV has no encoder of it), 25 frames a second. A plain
loop decodes and keeps every frame of the film; `every frame` is what our reader does where as many are asked for; `16
frames` what a row of a fit costs, which a plain loop would decode all to find. Rounds alternate; the median is shown,
and the CPU seconds over the plain loop's with quartiles. Last, 16 frames of a film of a minute and of one of hours: CPU
seconds, and the most memory beyond that of a process that has imported all and read a film of ten seconds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from tools import parser, quartiles, show

from polymodal.data.media.film import read_film

RATE, FRAMES = 25, 16
MEASURE = """
import resource, sys, time
from pathlib import Path
from polymodal.data.media.film import read_film
read_film(Path(sys.argv[1]), 16, 112)
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
found = read_film(Path(sys.argv[2]), 16, 112)
spent = time.process_time() - began
print(len(found.frames), spent, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def make(path: Path, seconds: float, height: int) -> Path:
    """A film of squares that move over a gradient."""
    width = height * 16 // 9 // 2 * 2
    ground = np.linspace(0, 180, width, dtype=np.uint8)[None, :, None] + np.zeros((height, 1, 3), np.uint8)
    with av.open(str(path), "w") as held:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream = held.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        side = height // 5
        for number in range(round(seconds * RATE)):
            frame = ground.copy()
            left, top = number * 3 % (width - side), number * 2 % (height - side)
            frame[top : top + side, left : left + side] = (number // 25 * 40 % 256, 200, 90)
            held.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        held.mux(stream.encode())
    return path


def plain(path: Path) -> np.ndarray:
    """Every frame of a film, by a loop as PyAV's documentation has it."""
    with av.open(str(path)) as held:
        held.streams.video[0].thread_type = "NONE"  # as ours
        return np.stack([frame.to_ndarray(format="rgb24") for frame in held.decode(video=0)])


def spent(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--height", type=int, default=360)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--hours", type=float, default=2)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        film = make(Path(scratch) / "film.mp4", given.seconds, given.height)
        count = round(given.seconds * RATE)
        ways = {
            "plain loop": lambda: plain(film),
            "every frame": lambda: read_film(film, count, given.height),
            "16 frames": lambda: read_film(film, FRAMES, given.height),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(given.repeats):
            for name, work in ways.items():
                found[name].append(spent(work))
        base = np.array(found["plain loop"])
        show(
            [
                {"reading": name, "film_seconds_a_cpu_second": given.seconds / float(np.median(times)),
                 "frames_a_cpu_second": (FRAMES if name == "16 frames" else count) / float(np.median(times)),
                 "cpu_against_plain": quartiles(np.array(times) / base)}
                for name, times in found.items()
            ],
            given.json,
        )  # fmt: skip
        first = make(Path(scratch) / "ten.mp4", 10, 120)
        rows = []
        for told, seconds in (("a minute", 60), (f"{given.hours:g} hours", given.hours * 3600)):
            long = make(Path(scratch) / "long.mp4", seconds, 120)
            said = subprocess.run(
                [sys.executable, "-c", MEASURE, first, long], check=True, capture_output=True, text=True
            )
            frames, cpu, more = map(float, said.stdout.split())
            rows.append({"film": told, "file_mb": long.stat().st_size / 2**20, "frames_read": int(frames),
                         "cpu_seconds": cpu, "more_mb": more})  # fmt: skip
        show(rows, given.json)


if __name__ == "__main__":
    main()
