"""Kill a fit with all its workers at random moments, resume it, and compare with a fit that nobody disturbed.

    python benchmarks/kill.py [--rows 400] [--kills 5] [--epochs 3] [--seed 0] [--json]

The table holds pictures, sounds, text and numbers, some of them broken. Every killed fit starts on an empty store, is
killed with SIGKILL, process group and all, and taken up with `--resume`; half of them are killed and taken up twice.
Then two fits run at once on one empty store. All must give the undisturbed fit's leaderboard, but for its columns of
time, and its predictions. Exits with 1 when one does not.
"""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from planted_faults import messy
from tools import parser, polymodal, show

from polymodal.core.files import read_json

TIMES = ("fit_seconds", "predict_ms")


class Trial:
    """One table, and fits of it."""

    def __init__(self, folder: Path, rows: int, epochs: int):
        self.folder, self.epochs = folder, epochs
        messy(folder / "data", rows)

    def start(self, out: Path, store: Path, *, resume: bool = False) -> subprocess.Popen[bytes]:
        """A fit as a process group of its own."""
        options = {"training": f"{{epochs: {self.epochs}}}", "store": str(store), "trackers": "none", "crossfit": "2"}
        command = polymodal(
            "fit", self.folder / "data" / "messy.csv", "--target", "label", "--out", out, "--quiet",
            "--fusion", "gated", "--fusion", "attention", "--seeds", "2",
            *(f"--set={name}={value}" for name, value in options.items()),
        )  # fmt: skip
        return subprocess.Popen([str(c) for c in (*command, *(["--resume"] if resume else []))], start_new_session=True)

    def whole(self, out: Path, store: Path, *, resume: bool = False) -> float:
        """Run to the end; seconds."""
        started = time.perf_counter()
        if self.start(out, store, resume=resume).wait():
            raise SystemExit(f"The fit in {out} failed.")
        return time.perf_counter() - started

    def killed(self, out: Path, store: Path, jobs: int, delay: float, *, resume: bool = False) -> bool:
        """Start, and kill `delay` seconds after `jobs` jobs are finished; whether it was still running then."""
        process = self.start(out, store, resume=resume)
        while finished(out) < jobs and process.poll() is None:
            time.sleep(0.02)
        try:
            process.wait(delay)
            return False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True


def finished(out: Path) -> int:
    """How many jobs have left their result."""
    return len(list((out / "work" / "encoders").glob("*.json"))) + len(list((out / "work" / "answers").glob("*.json")))


def result(out: Path) -> dict[str, Any]:
    """What must be equal: the leaderboard without times, what was chosen, what was set aside, the test predictions."""
    with open(out / "leaderboard.csv", encoding="utf-8", newline="") as file:
        board = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    return {
        "leaderboard": board,
        "metrics": read_json(out / "metrics.json"),
        "set aside": (out / "set_aside.jsonl").read_text(encoding="utf-8"),
        "predictions": pq.read_table(out / "predictions_test.parquet").to_pydict(),
    }


def progress(out: Path) -> str:
    """How far a killed fit had come."""
    work = out / "work"
    if (out / "leaderboard.csv").exists():
        return "writing its files"
    if jobs := finished(out):
        return f"{jobs} jobs done"
    return "training began" if (work / "work.json").exists() else "reading cells" if work.exists() else "starting"


def kills(
    trial: Trial, expected: dict[str, Any], jobs: int, seconds: float, count: int, seed: int
) -> list[dict[str, Any]]:
    """Kill at moments spread over a fit of `jobs` jobs and `seconds`: after a number of jobs, and a random while."""
    draw = random.Random(seed)
    told = []
    for k in range(count):
        out, store = trial.folder / f"killed{k}", trial.folder / f"store{k}"
        states = []
        for again in range(1 + k % 2):
            moment = round(jobs * k / max(1, count - 1)) if not again else draw.randint(finished(out), jobs)
            hit = trial.killed(out, store, moment, draw.uniform(0, seconds / 15), resume=bool(again))
            states.append(progress(out) if hit else "finished")
            if not hit:
                break
        if states[-1] != "finished":
            trial.whole(out, store, resume=True)
        told.append(_row("killed twice" if len(states) > 1 else "killed once", states, out, expected))
    return told


def together(trial: Trial, expected: dict[str, Any]) -> list[dict[str, Any]]:
    """Two fits at once on one empty store."""
    store = trial.folder / "shared"
    outs = [trial.folder / name for name in ("one", "other")]
    failed = [process.wait() for process in [trial.start(out, store) for out in outs]]
    if any(failed):
        raise SystemExit("One of two fits at once failed.")
    return [_row(f"two at once, {out.name}", ["finished"], out, expected) for out in outs]


def _row(what: str, states: list[str], out: Path, expected: dict[str, Any]) -> dict[str, Any]:
    found = result(out)
    same = {f"same {name}": found[name] == expected[name] for name in expected}
    return {"fit": what, "state when killed": ", ".join(states), **same}


def main() -> int:
    """Run the benchmark; 1 when a result differs."""
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=400)
    arguments.add_argument("--kills", type=int, default=5)
    arguments.add_argument("--epochs", type=int, default=3)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        trial = Trial(Path(name), options.rows, options.epochs)
        seconds = trial.whole(trial.folder / "whole", trial.folder / "store")
        expected = result(trial.folder / "whole")
        told = [_row(f"undisturbed, {seconds:.1f} s", ["finished"], trial.folder / "whole", expected)]
        told += kills(trial, expected, finished(trial.folder / "whole"), seconds, options.kills, options.seed)
        told += together(trial, expected)
    show(told, options.json)
    return 0 if all(value for row in told for name, value in row.items() if name.startswith("same")) else 1


if __name__ == "__main__":
    sys.exit(main())
