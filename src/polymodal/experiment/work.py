"""The working folder of a run: rows, targets, tokens, and where jobs leave their results."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.core.digest import safe_name
from polymodal.core.errors import BadArgument
from polymodal.core.files import read_json
from polymodal.core.runtime import device_of
from polymodal.core.sealed import load_sealed, save_sealed
from polymodal.core.types import Tokens
from polymodal.data.kinds import KINDS
from polymodal.data.storage.dataset import Dataset
from polymodal.data.storage.store import Store, default_store
from polymodal.experiment.outcome import constant
from polymodal.metrics.build import target_metrics
from polymodal.models.base import Answer
from polymodal.models.build import Heads
from polymodal.models.strategy import Strategy
from polymodal.nn.place import CPU, to_device
from polymodal.runs.events import EpochEnd
from polymodal.runs.pool import Job
from polymodal.targets.base import Target
from polymodal.train.features import Features
from polymodal.train.loop import Epoch, notes_of

TRAIN, VALID, TEST = 0, 1, 2
TRIAL = "tried"
SCRATCH = "scratch"  # tried beside it, where `TRIAL` starts from pretrained weights
Epochs = Generator[EpochEnd, None, dict[str, Any]]  # what a job yields, and the result that it returns


class Work:
    """The working folder of a run: rows, targets and results of jobs. Opened once a process, for work on `device`."""

    def __init__(self, folder: Path, device: str = "cpu", store: str = ""):
        self.folder = folder
        self.device = device_of(device)
        settings = read_json(folder / "work.json")
        KINDS.know(settings.get("kinds", {}))  # those from outside, where the plan was made by another process
        self.store = Store(Path(store or settings.get("store") or default_store()))
        self.dataset = Dataset.open(folder / "dataset", self.store)
        self.targets = [Target.from_json(t) for t in settings["targets"]]
        judges = settings.get("metrics", {})
        self.metrics = {t.name: target_metrics(judges.get(t.name, ()), t)[0] for t in self.targets}
        self.dim: int = settings["dim"]
        self.heads = Heads(settings["heads"])
        self.facts: dict[str, dict[str, Any]] = settings["facts"]
        self.processing_ms: dict[str, float] = settings["processing_ms"]
        self.budget_ms: float | None = settings["budget_ms"]
        rows, _ = load_sealed(folder / "rows.safetensors")
        self.split, self.fold = rows["split"], rows["fold"]
        self.part = rows.get("part", self.fold)
        self.bag = rows.get("bag", np.zeros_like(self.fold))
        self.groups = rows.get("groups")  # within which rows are put in order
        self.numbers = rows.get("number", np.arange(len(self.split)))  # in their source, by which what is drawn differs
        self.labels = {t.name: torch.from_numpy(np.array(self.dataset.targets[t.name])) for t in self.targets}

    @property
    def recipe(self) -> dict[str, Any]:
        """Training options that the heads of the targets ask for."""
        return self.heads.recipe(self.targets)

    @property
    def heads_read_tokens(self) -> bool:
        """Whether any head reads more of a stream than its pooled vector."""
        return any(self.heads.planned(target).reads_tokens for target in self.targets)

    def asked(self, rows: Tensor) -> dict[str, Tensor]:
        """The encoded targets of `rows`, on the device."""
        return to_device({name: values[rows] for name, values in self.labels.items()}, self.device)

    def rows(self, split: int, *, fold: int | None = None, inside: bool = False) -> np.ndarray:
        """Row numbers of a split; with `fold`, those of the training split outside (or inside) that fold."""
        chosen = self.split == split
        if fold is not None:
            chosen &= (self.fold == fold) if inside else (self.fold != fold)
        return np.flatnonzero(chosen)

    @property
    def seen(self) -> np.ndarray:
        """[N] bool: the rows that encoders fitted in one go learn from."""
        return self.bag > 0 if self.bag.any() else self.split == TRAIN

    def having(self, stream: str, rows: np.ndarray) -> np.ndarray:
        """Those of training `rows` that have a stream. Raises `BadArgument` where none has."""
        there = rows[self.dataset.present[stream][rows]]
        if not len(there):
            raise BadArgument(
                f"No training row has the stream {stream!r}; leave it out or look with `polymodal inspect`."
            )
        return there

    def cost(self, streams: Sequence[str]) -> dict[str, float]:
        """What a row of each stream takes to process and encode, in milliseconds, as stage 1 measured it."""
        encoded = {name: read_json(settled_out(self.folder, name))["ms_per_row"] for name in streams}
        return {name: self.processing_ms_of(name) + ms for name, ms in encoded.items()}

    def processing_ms_of(self, stream: str) -> float:
        """What a cell of a stream takes to process for its settled encoder, in milliseconds."""
        return sum(self.processing_ms[one] for one in settled_reads(self.folder, stream))

    def as_settled(self, streams: Sequence[str]) -> Work:
        """The same, whose dataset and facts are what the settled encoders of `streams` read."""
        found, reads = copy(self), {name: settled_reads(self.folder, name) for name in streams}
        each = {name: [self.facts[one] for one in others] for name, others in reads.items()}
        found.facts = self.facts | {n: known[0] if len(known) == 1 else {"parts": known} for n, known in each.items()}
        found.dataset = self.dataset.read_as(reads)
        return found

    def truth(self, target: Target, rows: np.ndarray) -> np.ndarray:
        """The truth of `rows` as metrics read it: class numbers, multi-hot rows, or numbers in the user's units."""
        return target.truth(self.dataset.targets[target.name][rows])

    def score(self, target: Target, prediction: np.ndarray, rows: np.ndarray) -> float:
        """The metric of `rows` that the target is judged by, greater is better; of several targets as they share it."""
        metric, truth = self.metrics[target.name], self.truth(target, rows)
        groups = None if self.groups is None else self.groups[rows]
        value = metric(truth, prediction, groups)
        if len(self.targets) == 1:
            return metric.turned(value)
        return metric.merit(value, lambda: metric(truth, constant(target, len(rows)), groups))

    def by_loss(self, rows: np.ndarray) -> bool:
        """Whether trainings go by the loss of `rows`, not by their metrics: where answers are drawn at random, which is
        dear, and where a metric is not defined on so few of them."""
        return self.drawn or any(np.isnan(self.score(t, constant(t, len(rows)), rows)) for t in self.targets)

    @property
    def drawn(self) -> bool:
        """Whether answers are drawn at random."""
        return any(target.drawn for target in self.targets)

    @torch.no_grad()
    def minus_loss(
        self, answer: Answer, read: Callable[[np.ndarray], Any], rows: np.ndarray,
        encode: Callable[[Any], Mapping[str, Tokens]] | None = None,
    ) -> float:  # fmt: skip
        """Minus the mean loss of `rows` in the module's present mode; `encode` makes streams of what `read` gives."""
        total = 0.0
        for chunk in np.array_split(rows, max(1, -(-len(rows) // 256))) if len(rows) else ():
            given = to_device(read(chunk), self.device)
            answer.number(torch.from_numpy(self.numbers[chunk]))
            losses = answer.judged(given if encode is None else encode(given), self.asked(torch.from_numpy(chunk)))
            total += len(chunk) * float(sum(losses.values()))
        return -total / max(1, len(rows))

    def mean_score(self, answer: Answer, scores: Mapping[str, Tensor], rows: np.ndarray) -> float:
        """The mean over targets of `score`."""
        by_target = [
            self.score(t, t.prediction(answer.head(t.name).decode(scores[t.name])), rows) for t in self.targets
        ]
        return float(np.mean(by_target))


def open_work(folder: str, device: str = "cpu", store: str = "") -> Work:
    """The working folder, read once a process, and again when it was added to. `store` (default: the user's) is no part
    of it, so that it tells nothing of this machine."""
    return _opened(folder, device, store, (Path(folder) / "work.json").stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _opened(folder: str, device: str, store: str, written: int) -> Work:
    return Work(Path(folder), device, store)


@lru_cache(maxsize=4)
def open_features(
    folder: str, streams: tuple[str, ...], pooled_only: bool, device: torch.device = CPU, store: str = ""
) -> Features:
    """Stored tokens for work on `device`, read once a process: fusions on the same streams share them."""
    held = open_work(folder, str(device), store).store
    return Features.open(Path(folder) / "features", held, streams, pooled_only=pooled_only, device=device)


def labelled_rows(work: Work, rows: np.ndarray) -> np.ndarray:
    """The rows that carry at least one target."""
    return rows[np.any([t.known(work.dataset.targets[t.name][rows]) for t in work.targets], axis=0)]


def held_out(
    work: Work, score: Callable[[np.ndarray], Mapping[str, Tensor]], valid: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """What `score` says of the held-out rows: `valid/target`, by default of the validation rows, and `test/target`."""
    rows = (("valid", work.rows(VALID) if valid is None else valid), ("test", work.rows(TEST)))
    each = [(split, score(some)) for split, some in rows]
    return {f"{split}/{name}": value.numpy() for split, scores in each for name, value in scores.items()}


def save_trained(module: nn.Module, out: Path, scores: Mapping[str, np.ndarray] | None = None) -> None:
    """Write a job's weights, and its scores of held-out rows if it has any."""
    if scores is not None:
        save_sealed(out.with_suffix(".scores.safetensors"), scores)
    save_sealed(out.with_suffix(".safetensors"), module.state_dict())


def load_trained(out: Path) -> dict[str, Tensor]:
    """The weights that a job wrote. Raises `BadData` where they were damaged."""
    return load_sealed(out.with_suffix(".safetensors"), tensors=True)[0]


def curve_of(epochs: Sequence[Epoch]) -> dict[str, list[Any]]:
    """A training's curve, and what the user should know of it (`notes`), as results keep them."""
    return {
        "epoch": [e.number for e in epochs], "loss": [e.loss for e in epochs], "valid": [e.valid for e in epochs],
        "notes": notes_of(epochs),
    }  # fmt: skip


def answer_out(work: Path, strategy: Strategy, seed: int) -> Path:
    """Where a strategy's result with one seed is written, without a suffix."""
    return work / f"{strategy.key}-{seed}"


def encoder_out(work: Path, stream: str, fold: int | str | None = None, aware: bool = False) -> Path:
    """Where the result of a stream's encoder is written, without a suffix; `fold` None is the whole one, and `TRIAL`
    the one by which it is seen whether more are worth it.

    `aware` is the pretrained tower that is tuned to the target.
    """
    return work / "encoders" / f"{safe_name(stream)}{'+aware' if aware else ''}-{'whole' if fold is None else fold}"


def start_out(work: Path, stream: str) -> Path:
    """Where the weights that a stream's encoder starts from are written, without a suffix."""
    return work / "start" / safe_name(stream)


def scored_out(work: Path, stream: str, place: int) -> Path:
    """Where the result of the encoder at `place` of a stream's, fitted in one go, is written, without a suffix."""
    return work / "encoders" / f"{safe_name(stream)}-fitted-{place}"


def settled_out(work: Path, stream: str) -> Path:
    """Where it is written which encoder a stream has, once that is settled."""
    return work / "encoders" / f"{safe_name(stream)}.json"


def settled_reads(work: Path, stream: str) -> list[str]:
    """The dataset's streams whose arrays a stream's settled encoder reads: its own, or that of a pretrained tower."""
    reads: list[str] = read_json(settled_out(work, stream)).get("reads", [stream])
    return reads


def load_settled(work: Path, stream: str) -> dict[str, Tensor]:
    """The weights of a stream's settled encoder, which may stand in several files, a part each."""
    sources = read_json(settled_out(work, stream))["sources"]
    each = [load_trained(work / source) for source in sources]
    if len(each) == 1:
        return each[0]
    return {f"each.{i}.{name}": value for i, part in enumerate(each) for name, value in part.items()}


@dataclass(frozen=True, kw_only=True)
class FitJob(Job):
    """One training of a fit; `out` is where its files are written, without a suffix."""

    kind: str
    store: str = ""
    seed: int
    training: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What progress and log call it."""
        return Path(self.out).name
