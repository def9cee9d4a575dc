"""What each line of work on speed gave: CPU seconds of this tree over those of another, measured in turns.

    python benchmarks/speed.py --before TREE/src [--only LINE ...] [--pairs 7] [--model FOLDER] [--json]

A line is one piece of work that both trees can do. Each tree does it in a process of its own, on one thread; the two
take turns, first one then the other in every second pair, so that other work on the machine meets both alike. Told are
the CPU seconds of both, the median ratio with its quartiles, and the largest difference between what both computed.
FOLDER holds a frozen text tower as transformers saves it (`local_models.py minilm` makes one); lines that need it are
left out without it. Texts are those of the airline set in POLYMODAL_DATA or ../shared/data, else made up.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tools import parser, quartiles, show

DATA = Path(os.environ.get("POLYMODAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
Work = Callable[[], Any]  # one repetition; its outcome, an array or nothing


def texts(count: int) -> list[str]:
    """Real texts of unlike length, or words at random."""
    path = DATA / "airline" / "train.csv"
    if path.is_file():
        with open(path, encoding="utf-8", newline="") as file:
            return [row["text"] for _, row in zip(range(count), csv.DictReader(file))]
    draw = np.random.default_rng(0)
    words = [f"word{i}" for i in range(500)]
    return [" ".join(draw.choice(words, int(n))) for n in draw.geometric(0.06, count).clip(1, 100)]


# --- lines: each prepares, and gives the work to be measured ----------------------------------------------------------


def frozen_text(model: str, folder: Path) -> Work:
    """A frozen text tower's tokens of 512 texts go to an empty store."""
    from polymodal.data.storage.dataset import process_table
    from polymodal.data.storage.store import Store
    from polymodal.encoders import ENCODERS
    from polymodal.process import PROCESSORS
    from polymodal.train.encode import store_tokens

    given = texts(512)
    processor = PROCESSORS.build({"name": "pretrained_text", "model": model})
    cells, ids = {"text": given}, [str(i) for i in range(len(given))]
    store = Store(folder / "cells")
    dataset = process_table(cells, {"text": processor}, store, ids=ids, fit_rows=np.arange(len(given)))
    encoder = ENCODERS.build("pretrained_text", processor.facts(), 64)
    rounds = iter(range(1000))

    def work() -> Any:
        to = Store(folder / f"tokens{next(rounds)}")
        group = store_tokens(encoder, dataset, "text", to)["group"]
        return to.view(group, dataset.digests["text"]).load()["x"].astype(np.float32)

    return work


def contrast(folder: Path) -> Work:
    """An epoch of heads by InfoNCE on frozen vectors of 2,048 photos and five captions each."""
    from polymodal.aligners import ALIGNERS
    from polymodal.core.types import Tokens

    torch.manual_seed(0)
    widths = {"image": 1280, "text": 384}
    part = ALIGNERS.build({"name": "infonce", "dropout": 0.0}, widths, 256)
    state = {name: value.clone() for name, value in part.state_dict().items()}
    vectors = {"image": torch.randn(2048, 1280), "text": torch.randn(10240, 384)}
    rows = {"image": torch.arange(2048)[:, None], "text": torch.arange(2048).repeat_interleave(5)[:, None]}

    def work() -> Any:
        part.load_state_dict(state)
        optimizer = torch.optim.AdamW(part.parameters(), fused=True)
        for start in (0, 1024):
            some = {"image": slice(start, start + 1024), "text": slice(5 * start, 5 * start + 5120)}
            streams = {name: Tokens.from_vector(vectors[name][at]) for name, at in some.items()}
            optimizer.zero_grad()
            losses = part.objective(streams, {name: rows[name][at] for name, at in some.items()})
            sum(losses.values()).backward()
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in part.parameters()]).numpy()

    return work


def audio_step(folder: Path) -> Work:
    """Ten steps of the default sound encoder on 128 seconds of sound, as it is trained."""
    from polymodal.core.runtime import autocast
    from polymodal.encoders import ENCODERS

    torch.manual_seed(0)
    encoder = ENCODERS.build("audio_cnn", {"rate": 8000, "length": 8000}, 64)
    sounds = torch.randint(-9000, 9000, (128, 8000), dtype=torch.int16)
    inputs = {"samples": sounds, "length": torch.full((128,), 8000), "present": torch.ones(128, dtype=torch.bool)}
    encoder.fit_statistics(inputs)
    if hasattr(encoder, "once"):  # the tree does this once a cell, as its training does
        inputs = {**encoder.once(inputs), "present": inputs["present"]}
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    precision = encoder.recipe()["precision"]

    def work() -> Any:
        torch.manual_seed(1)
        encoder.train().load_state_dict(state)
        optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-4, fused=True)
        for _ in range(10):
            optimizer.zero_grad()
            with autocast(torch.device("cpu"), precision):
                loss = encoder(inputs).pooled.float().square().mean()
            loss.backward()
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in encoder.parameters()]).numpy()

    return work


def frozen_fit(model: str, folder: Path) -> Work:
    """A fit of 150 texts behind a frozen tower beside a number, three parts, two workers, an empty store."""
    import polymodal as pm

    given = texts(150)
    columns = {
        "text": given,
        "size": [float(len(text)) for text in given],
        "label": ["ab"["@" in t[1:]] for t in given],
    }
    rounds = iter(range(1000))

    def work() -> None:
        place = folder / str(next(rounds))
        pm.fit(
            columns, "label", out=place / "run", quiet=True, store=str(place / "store"), fusion=["concat"], seeds=1,
            encoders={"text": {"name": "pretrained_text", "model": model}}, crossfit=3, workers=2, trackers="none",
            training={"epochs": 3}, ensemble=False, deploy="concat",
        )  # fmt: skip

    return work


def assess(model: str, folder: Path) -> Work:
    """`evaluate` of 150 rows by a model with a frozen text tower, whose tokens the store has."""
    import polymodal as pm

    frozen_fit(model, folder)()
    run, given = pm.load(folder / "0" / "run"), texts(150)
    columns = {
        "text": given,
        "size": [float(len(text)) for text in given],
        "label": ["ab"["@" in t[1:]] for t in given],
    }
    os.environ["POLYMODAL_STORE"] = str(folder / "0" / "store")

    def work() -> Any:
        curves = run.evaluate(columns, quiet=True)["noise"]
        return np.array([curve["mean"] for curve in curves])

    return work


def pictures(folder: Path) -> tuple[Any, list[Path]]:
    """A finished run that reads pictures, and 256 pictures."""
    from PIL import Image

    import polymodal as pm

    places = [folder / f"{i}.png" for i in range(256)]
    for place, cell in zip(places, np.random.default_rng(0).integers(0, 255, (256, 28, 28), dtype=np.uint8)):
        Image.fromarray(cell).save(place)
    columns = {"photo": places[:80], "label": ["ab"[i % 2] for i in range(80)]}
    pm.fit(
        columns, "label", out=folder / "run", quiet=True, store=str(folder / "store"), seeds=1, crossfit=0, workers=0,
        training={"epochs": 1}, trackers="none", ensemble=False,
    )  # fmt: skip
    return pm, places


def one_row(folder: Path) -> Work:
    """A picture's class, a row at a time, a hundred times."""
    pm, places = pictures(folder)
    run, table = pm.load(folder / "run"), pm.read_table({"photo": places[:1]})

    def work() -> None:
        for _ in range(100):
            run.predict_proba(table)

    return work


def many_rows(folder: Path) -> Work:
    """The classes of 256 pictures, five times; in lower precision where the tree and the processor have it."""
    import inspect

    pm, places = pictures(folder)
    known = "precision" in inspect.signature(pm.load).parameters
    run, table = pm.load(folder / "run", **({"precision": "auto"} if known else {})), pm.read_table({"photo": places})

    def work() -> Any:
        for _ in range(5):
            told = run.predict_proba(table)
        return told

    return work


def overview(folder: Path) -> Work:
    """`polymodal --help`, five times."""

    def work() -> None:
        for _ in range(5):
            command = [sys.executable, "-m", "polymodal.cli", "--help"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return work


LINES: dict[str, tuple[Callable[..., Work], str]] = {  # what prepares a line, and what it needs
    "frozen text tower": (frozen_text, "model"),
    "fit with a frozen tower": (frozen_fit, "model"),
    "evaluate with a frozen tower": (assess, "model"),
    "heads by InfoNCE": (contrast, ""),
    "steps of audio_cnn": (audio_step, ""),
    "one row": (one_row, ""),
    "predict, precision auto": (many_rows, ""),
    "help": (overview, ""),
}


# --- taking turns -----------------------------------------------------------------------------------------------------


@dataclass
class Tree:
    """A process that does a line's work with the code of one tree whenever it is told to."""

    process: subprocess.Popen[str]
    outcome: Path

    @classmethod
    def start(cls, source: str, line: str, model: str, outcome: Path) -> Tree:
        paths = os.pathsep.join([source, str(Path(__file__).parent), os.environ.get("SPEED_PATH", "")])
        settings = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": paths}
        command = [sys.executable, __file__, "--serve", line, "--model", model, "--outcome", str(outcome)]
        process = subprocess.Popen(
            command, env={**os.environ, **settings}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return cls(process, outcome)

    def once(self) -> float:
        """CPU seconds of one repetition."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        while not (said := self.process.stdout.readline()).startswith("took "):
            if not said:
                raise SystemExit("a tree's process ended")
        return float(said.split()[1])

    def stop(self) -> np.ndarray | None:
        """End the process; what its work gave."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
        return np.load(self.outcome) if self.outcome.exists() else None


def spent() -> float:
    """CPU seconds of this process and of those it started and that are over."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def serve(line: str, model: str, outcome: Path) -> None:
    """Prepare a line, then do its work whenever a line comes in."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        work = LINES[line][0](*([model] if LINES[line][1] else []), Path(folder))
        for _ in sys.stdin:
            started = time.process_time(), spent()
            given = work()
            fine, whole = time.process_time() - started[0], spent() - started[1]
            print(f"took {max(fine, whole) if whole > fine + 0.05 else fine}", flush=True)  # `times` counts hundredths
        if isinstance(given, np.ndarray):
            np.save(outcome, given)


def measured(line: str, before: str, model: str, pairs: int) -> dict[str, Any]:
    """A row of the table."""
    here = str(Path(__file__).parents[1] / "src")
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / f"{name}.npy" for name in ("before", "after")]
        trees = [Tree.start(source, line, model, place) for source, place in zip((before, here), places)]
        taken: list[list[float]] = [[], []]
        for pair in range(pairs + 1):  # the first warms up
            for which in (0, 1) if pair % 2 else (1, 0):
                taken[which].append(trees[which].once())
        given = [tree.stop() for tree in trees]
    apart = "" if given[0] is None or given[1] is None else f"{np.abs(given[0] - given[1]).max():.1e}"
    ratios = [after / was for was, after in zip(taken[0][1:], taken[1][1:])]
    return {
        "line": line,
        "before_s": float(np.median(taken[0][1:])),
        "after_s": float(np.median(taken[1][1:])),
        "ratio": quartiles(ratios),
        "apart": apart,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    options = parser(__doc__)
    options.add_argument("--before", default="", help="the src folder of the other tree")
    options.add_argument("--only", nargs="*", choices=LINES)
    options.add_argument("--pairs", type=int, default=7)
    options.add_argument("--model", default="", help="folder of a frozen text tower")
    options.add_argument("--serve", choices=LINES)
    options.add_argument("--outcome", type=Path)
    given = options.parse_args(arguments)
    if given.serve:
        serve(given.serve, given.model, given.outcome)
        return
    if not given.before:
        options.error("--before names the src folder of the tree to compare with")
    able = [line for line in given.only or LINES if given.model or not LINES[line][1]]
    show([measured(line, given.before, given.model, given.pairs) for line in able], given.json)


if __name__ == "__main__":
    main()
