"""The training loop: a generator of events, so that whoever drives it decides what to show, log and stop."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import reduce
from itertools import repeat
from operator import add
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from polymodal.config import Training
from polymodal.core.errors import PolymodalError
from polymodal.core.files import writing
from polymodal.core.runtime import autocast
from polymodal.heads.base import Head, meanwhile
from polymodal.nn.place import device_of_module, random_state, release, set_random_state
from polymodal.train.optim import Adam, Schedule, clip_gradients, make_optimizer
from polymodal.train.turns import Turns

LEAST_STEPS = 16  # in an epoch: few rows are cut into smaller batches, or a small table would hardly be trained on
LEAST_BATCH = 16


class Diverged(PolymodalError, FloatingPointError):
    """The loss became infinite or NaN."""


class OutOfMemory(PolymodalError, MemoryError):
    """A batch does not fit into the device's memory and cannot be made smaller."""


@dataclass(frozen=True)
class Epoch:
    """One epoch is over. `valid` is the validation score, greater is better; `best` says it is the best so far.

    `note` is what the user should know of it, in one line.
    """

    number: int
    loss: float
    valid: float
    best: bool
    seconds: float
    rows: int
    note: str = ""


def notes_of(curve: Sequence[Epoch]) -> list[str]:
    """What the user should know of a training, each line once."""
    return list(dict.fromkeys(epoch.note for epoch in curve if epoch.note))


class Hooks(Protocol):
    """What may act around the steps of a training."""

    def after_backward(self) -> None:
        """May change gradients before the optimiser's step."""

    def after_step(self) -> None:
        """May change weights after it."""

    def between_epochs(self, done: int) -> None:
        """Told how many epochs are done: 0 before the first, then after each."""


def train(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    validate: Callable[[], float],
    rows: Tensor,
    options: Training,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    least_steps: int = LEAST_STEPS,
    hooks: Hooks | None = None,
    smaller: Callable[[], str] | None = None,
    alike: Tensor | None = None,
    seconds: float | None = None,
) -> Iterator[Epoch]:
    """Train `module` in place and yield an `Epoch` after each; when exhausted, the best epoch's weights are in place.

    `loss` maps a batch of row numbers [b] to a scalar; `validate` scores the module (in eval mode, no gradient),
    greater is better; `rows` [n] are the training rows. With `checkpoint`, every epoch is written there and an
    interrupted run continues from it to the same result. Opponents within `module` (`nn.opponent`) have optimisers of
    their own, and a turn after each step. An epoch has at least `least_steps` steps. What `hooks` keep
    from step to step belongs into buffers of `module`.

    A batch that the device's memory does not hold is computed in halves, then in quarters, down to single rows, whose
    gradients are added up, each part's loss weighed by its rows: for a loss that is a mean over rows the step is the
    same (parts of other sizes draw other dropout, and batch normalisation sees a part at a time). Objectives (`hooks`)
    read whole batches, so there it is an error. `smaller`, for losses of which every row reads the others, makes the
    step need less memory and says how; it raises `OutOfMemory` when it cannot.

    Rows whose numbers in `alike` [n] are the same are drawn one after another. No epoch but the first is begun that
    would likely end after so many `seconds`.

    Raises `Diverged` when the loss is not finite, `OutOfMemory` when one row is too much.
    """
    size = batch_size(len(rows), options, least_steps)
    steps_an_epoch = -(-len(rows) // size)
    options = options.within(steps_an_epoch)
    optimizer = make_optimizer(module, options)
    schedule = Schedule(optimizer, options, steps_an_epoch * options.epochs)
    turns = Turns(module, options.precision)
    state = _State(module, optimizer, schedule, turns, options.average)
    parameters = [p for p in module.parameters() if p.requires_grad]
    pieces = _Pieces(module, smaller, coupled=hooks is not None)
    torch.manual_seed(seed)
    begun = time.perf_counter()
    first = state.load(checkpoint) if checkpoint is not None and checkpoint.exists() else 0
    if hooks is not None and not first:
        hooks.between_epochs(0)
    for epoch in range(first, options.epochs):
        if options.patience and state.waited >= options.patience:
            break
        started, summed = time.perf_counter(), torch.zeros((), device=parameters[0].device)
        module.train()
        # A generator of its own: the order of rows does not depend on how many random numbers the module drew.
        order = rows[_drawn(len(rows), alike, torch.Generator().manual_seed(seed * 100_003 + epoch))]
        # Batches of even size: a last one of a row or two would step as far as any other, on next to nothing.
        for i, batch in enumerate(order.tensor_split(steps_an_epoch)):
            schedule.before_step(epoch * steps_an_epoch + i)
            value = _step(loss, batch, parameters, optimizer, options, hooks, pieces, turns)
            turns.take(schedule.scale(epoch * steps_an_epoch + i))
            state.averaged()
            summed += value * len(batch)
        mean = float(summed) / len(rows)
        if not math.isfinite(mean):
            raise Diverged(
                f"The loss was {mean} in epoch {epoch + 1}. Lower lr (now {options.lr}), set clip, or look for extreme "
                "values with `polymodal inspect`."
            )
        with state.evaluating(), in_haste(module):
            score = validate()
        best = state.note(epoch, score)
        schedule.after_epoch(best)
        if hooks is not None:
            hooks.between_epochs(epoch + 1)
        if checkpoint is not None:
            state.save(checkpoint, epoch + 1)
        took, note = time.perf_counter() - started, pieces.note
        ends = epoch + 1 == options.epochs or 0 < options.patience <= state.waited
        if not ends and seconds is not None and started + 2 * took - begun > seconds:
            note, ends = f"{note} The time limit ended it after {epoch + 1} of {options.epochs} epochs.".strip(), True
        yield Epoch(epoch + 1, mean, score, best, took, len(rows), note)
        if ends:
            break
    state.restore_best()
    module.eval()


def batch_size(rows: int, options: Training, least_steps: int = LEAST_STEPS) -> int:
    """How many of so many training rows a step reads at most."""
    return min(options.batch, max(LEAST_BATCH, rows // least_steps))


def _drawn(count: int, alike: Tensor | None, generator: torch.Generator) -> Tensor:
    """The places of the rows in random order; those that are alike stay together."""
    order = torch.randperm(count, generator=generator)
    if alike is None:
        return order
    rank = torch.randperm(int(alike.max()) + 1, generator=generator)
    return order[rank[alike[order]].argsort(stable=True)]


def _step(
    loss: Callable[[Tensor], Tensor],
    batch: Tensor,
    parameters: Sequence[nn.Parameter],
    optimizer: Adam | torch.optim.Optimizer,
    options: Training,
    hooks: Hooks | None,
    pieces: _Pieces,
    turns: Turns,
) -> Tensor:
    """One step on a batch; its loss, cut off from the graph."""
    value: Tensor | None = None
    while value is None:
        optimizer.zero_grad(set_to_none=True)
        turns.begin()
        try:
            value = _descent(loss, batch, parameters, options, pieces.most)
        except torch.OutOfMemoryError as error:
            short = str(error)
        if value is None:  # here, where the error and all that it held are gone
            optimizer.zero_grad(set_to_none=True)
            release(parameters[0].device)
            pieces.halve(len(batch), short)
    if hooks is not None:
        hooks.after_backward()
    if options.clip:
        clip_gradients(parameters, options.clip)
    optimizer.step()
    if hooks is not None:
        hooks.after_step()
    return value


def _descent(
    loss: Callable[[Tensor], Tensor], batch: Tensor, parameters: Sequence[nn.Parameter], options: Training, most: int
) -> Tensor:
    """The loss of a batch, cut off from the graph, and its gradients, `most` rows at a time (0: all)."""
    values = []
    for part in batch.split(most) if 0 < most < len(batch) else (batch,):
        with autocast(parameters[0].device, options.precision):
            value = loss(part)
        if options.l1:
            value = value + options.l1 * sum(p.abs().sum() for p in parameters if p.ndim > 1)
        if len(part) < len(batch):
            value = value * (len(part) / len(batch))
        value.backward()
        values.append(value.detach())
    return values[0] if len(values) == 1 else torch.stack(values).sum()


class _Pieces:
    """How many rows are computed at a time (0: the whole batch), and what is said when memory does not hold more."""

    def __init__(self, module: nn.Module, smaller: Callable[[], str] | None, *, coupled: bool):
        self.most, self.note = 0, ""
        self.smaller, self.coupled = smaller, coupled
        self.normed = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())

    def halve(self, rows: int, error: str) -> None:
        """Take less at a time. Raises `OutOfMemory` where that is not possible."""
        if self.smaller is not None:
            self.note = self.smaller()
            return
        rows = min(rows, self.most or rows)
        if self.coupled or rows < 2:
            why = "its objectives read whole batches" if self.coupled else "it is a single row"
            raise OutOfMemory(f"A batch of {rows} rows does not fit into memory, and {why}: lower batch. {error}")
        self.most = -(-rows // 2)
        self.note = f"Memory is short: batches are computed {self.most} rows at a time, their gradients added up."
        if self.normed:
            self.note += " Batch normalisation sees those rows alone."


class _State:
    """The best weights so far, the moving average, and everything a checkpoint needs."""

    def __init__(
        self, module: nn.Module, optimizer: Adam | torch.optim.Optimizer, schedule: Schedule, turns: Turns,
        average: float,
    ):  # fmt: skip
        self.module, self.optimizer, self.schedule, self.turns = module, optimizer, schedule, turns
        self.average = average
        self.device = device_of_module(module)
        self.best: dict[str, Tensor] = {}
        self.score = float("-inf")
        self.waited = 0
        self.steps = 0
        self.smooth = _copy(module) if average else {}
        self.live = module.state_dict() if average else {}  # the weights themselves, not copies of them

    def averaged(self) -> None:
        """Move the average towards the weights; short histories are not dominated by the initial weights."""
        if not self.average:
            return
        self.steps += 1
        decay = min(self.average, (1 + self.steps) / (10 + self.steps))
        for name, value in self.live.items():
            if value.is_floating_point():
                self.smooth[name].lerp_(value, 1 - decay)
            else:
                self.smooth[name].copy_(value)

    def evaluating(self) -> _Swap:
        return _Swap(self.module, self.smooth)

    def note(self, epoch: int, score: float) -> bool:
        """Remember the weights if the score is the best so far."""
        better = score > self.score or not self.best or (math.isnan(self.score) and not math.isnan(score))
        if better:
            self.score, self.waited = score, 0
            self.best = {k: v.clone() for k, v in self.smooth.items()} if self.smooth else _copy(self.module)
        else:
            self.waited += 1
        return better

    def restore_best(self) -> None:
        if self.best:
            self.module.load_state_dict(self.best)

    def save(self, path: Path, epoch: int) -> None:
        memory = io.BytesIO()  # torch's own file writer hides what the system says of a full disk
        torch.save(
            {
                "epoch": epoch,
                "module": self.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state(),
                "turns": self.turns.state(),
                "best": self.best,
                "score": self.score,
                "waited": self.waited,
                "steps": self.steps,
                "smooth": self.smooth,
                "random": torch.get_rng_state(),
                "device_random": random_state(self.device),
            },
            memory,
        )
        with writing(path) as temporary:
            temporary.write_bytes(memory.getbuffer())

    def load(self, path: Path) -> int:
        saved: dict[str, Any] = torch.load(path, weights_only=True, map_location=self.device)
        self.module.load_state_dict(saved["module"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state(saved["schedule"])
        self.turns.load_state(saved.get("turns", []))  # one of before has none
        self.best, self.score, self.waited = saved["best"], saved["score"], saved["waited"]
        self.steps, self.smooth = saved["steps"], saved["smooth"]
        torch.set_rng_state(saved["random"].cpu())
        if (state := saved.get("device_random")) is not None:
            set_random_state(self.device, state)
        return int(saved["epoch"])


class _Swap:
    """The averaged weights are in the module while the block runs, in eval mode and without gradient."""

    def __init__(self, module: nn.Module, weights: dict[str, Tensor]):
        self.module, self.weights = module, weights

    def __enter__(self) -> None:
        self.module.eval()
        self.no_grad = torch.no_grad()
        self.no_grad.__enter__()
        self.kept = _copy(self.module) if self.weights else {}
        if self.weights:
            self.module.load_state_dict(self.weights)

    def __exit__(self, *exception: object) -> None:
        if self.kept:
            self.module.load_state_dict(self.kept)
        self.no_grad.__exit__(None, None, None)


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def in_haste(module: nn.Module) -> AbstractContextManager[None]:
    """While the block runs, heads that write do so by their cheapest way."""
    return meanwhile([part for part in module.modules() if isinstance(part, Head)], "quick", repeat(True))


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum of named losses."""
    return reduce(add, losses.values())
