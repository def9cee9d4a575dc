"""What a long run shows: a progress bar on a terminal, plain lines elsewhere; and its log file."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from polymodal.core.errors import require
from polymodal.core.files import finite
from polymodal.core.shown import plain, tell

LONG = 5  # seconds left from which on they are told, where there is no bar


class Progress:
    """Stages with a known number of steps; safe to use without a terminal.

    On a terminal a rich bar a stage with the time left, the best score so far and the latest detail; elsewhere a line
    at a stage's start and end, and one a tenth of the way. `quiet` shows nothing. Warnings and results are printed
    through `say`, so that bars are not torn.
    """

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None):
        self.quiet = quiet
        self.stream = stream or sys.stderr
        self._bars: Any = None
        if not quiet and self.stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self._bars = Bars(
                TextColumn("{task.description:<12}"),
                BarColumn(32),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("[dim]left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[best]}", markup=False),
                TextColumn("{task.fields[detail]}", style="dim", markup=False),
                console=Console(file=self.stream),
            )

    def __enter__(self) -> Progress:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def say(self, text: str) -> None:
        """One line for the user."""
        if self.quiet:
            return
        if self._bars is not None:
            self._bars.console.print(plain(text), markup=False, highlight=False)
        else:
            tell(text, self.stream)

    def stage(self, name: str, total: int) -> Stage:
        """A stage of `total` steps."""
        return Stage(self, name, total)


class Stage:
    """One stage; `advance` after each step, `detail` and `score` at any time, `end` when over."""

    def __init__(self, progress: Progress, name: str, total: int):
        self.progress, self.name, self.total = progress, name, total
        self.done, self.told, self.started = 0, 0, time.perf_counter()
        self._best: tuple[float, str] | None = None
        bars = progress._bars
        self._task = bars.add_task(name, total=total, detail="", best="") if bars is not None else None
        if bars is None:
            progress.say(f"{name}: {total} to do" if total > 1 else f"{name} …")

    def detail(self, text: str) -> None:
        """The latest news of the stage; shown on a terminal only."""
        if self._task is not None:
            self.progress._bars.update(self._task, detail=plain(text))

    def score(self, name: str, value: float) -> None:
        """A score by which the stage's results are compared, higher is better: the best so far is shown."""
        if self._best is None or value > self._best[0]:
            self._best = (value, name)
            if self._task is not None:
                self.progress._bars.update(self._task, best=plain(self._leader))

    @property
    def _leader(self) -> str:
        return f"best so far: {self._best[1]}, {self._best[0]:.3f}" if self._best else ""

    @property
    def left(self) -> float:
        """Seconds that the rest takes at the pace so far."""
        return (time.perf_counter() - self.started) / max(self.done, 1) * (self.total - self.done)

    def advance(self, text: str = "", steps: int = 1) -> None:
        """`steps` more are done."""
        self.done += steps
        if self._task is not None:
            self.progress._bars.update(self._task, advance=steps, detail=plain(text))
        elif self.total > 1 and self.done * 10 // self.total > self.told:
            self.told = self.done * 10 // self.total
            left = f"about {_span(self.left)} left" if self.done < self.total and self.left >= LONG else ""
            news = "; ".join(filter(None, (left, self._leader)))
            self.progress.say(f"{self.name}: {self.done}/{self.total} {text}".rstrip() + f" ({news})" * bool(news))

    def end(self, text: str = "") -> float:
        """The stage is over; says and returns how many seconds it took."""
        seconds = time.perf_counter() - self.started
        self.progress.say(f"{self.name}: {text or 'done'} in {seconds:.1f} s")
        if self._task is not None:
            self.progress._bars.update(self._task, visible=False)
        return seconds


def _span(seconds: float) -> str:
    """A time as one plans by it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Log:
    """`log.jsonl`: one JSON object a line, appended; also the scalars for TensorBoard or W&B when asked for."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - closed on leaving

    def write(self, what: str, **values: Any) -> None:
        self._file.write(json.dumps({"time": round(time.time(), 3), "what": what, **finite(values)}) + "\n")

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def tracker_of(kind: str) -> str:
    """The tracker to use. Raises `MissingExtra` for one that is asked for and not installed."""
    if kind == "auto":
        return "tensorboard" if importlib.util.find_spec("tensorboard") else "csv"
    if kind in ("tensorboard", "wandb"):
        require(kind, kind)
    return kind


def write_trackers(kind: str, folder: Path, curves: Mapping[str, Mapping[str, Any]]) -> None:
    """Training curves to `tensorboard`, `wandb` (Weights & Biases) or `csv`, or nowhere (`none`)."""
    if kind == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter

        for name, curve in curves.items():
            with SummaryWriter(str(folder / "tensorboard" / name.replace("/", "_"))) as writer:
                for i, epoch in enumerate(curve["epoch"]):
                    writer.add_scalar("loss", curve["loss"][i], int(epoch))
                    writer.add_scalar("valid", curve["valid"][i], int(epoch))
    elif kind == "wandb":
        wandb = require("wandb", "wandb")
        for name, curve in curves.items():
            with wandb.init(project="polymodal", group=folder.name, name=name, dir=str(folder), reinit=True) as run:
                for i, epoch in enumerate(curve["epoch"]):
                    run.log({"loss": curve["loss"][i], "valid": curve["valid"][i]}, step=int(epoch))
    elif kind == "csv":
        lines = ["run,epoch,loss,valid"]
        for name, c in curves.items():
            lines += [f"{name},{e},{loss:.6g},{v:.6g}" for e, loss, v in zip(c["epoch"], c["loss"], c["valid"])]
        (folder / "curves.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
