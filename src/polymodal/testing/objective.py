"""Does an objective keep its contract?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from polymodal.core.registry import Spec, options_of
from polymodal.core.types import Tokens
from polymodal.models.build import Heads, build_answer
from polymodal.models.strategy import Strategy
from polymodal.objectives import OBJECTIVES
from polymodal.objectives.base import Objective, Setting, Step
from polymodal.testing.devices import one_device_only
from polymodal.testing.head import example_truth
from polymodal.testing.laws import not_overridden, written_back
from polymodal.testing.subject import (
    ROWS,
    Violation,
    judge,
    mapped,
    mapped_streams,
    planted,
    random_streams,
    same,
    tensors,
)
from polymodal.testing.target import example_target
from polymodal.train.step import TrainingStep

WIDTHS = {"left": 6, "middle": 10, "right": 8}
EPOCHS = 4


def check_objective(spec: Spec, *, kinds: Iterable[str] | None = None) -> None:
    """Try an objective on a small fusion with adapters, for every meaning of scores it serves. Raises `NotConformant`.

    Its losses are finite scalars, in any batch: without labels, without one stream, without any; what is masked
    changes nothing; `act` changes towers' gradients only; its own parameters get gradients; the same seed gives the
    same result; its state dict holds all that it keeps from epoch to epoch; it makes a difference.
    """
    cls, given = OBJECTIVES.resolve(spec)
    for kind in kinds or cls.needs:  # type: ignore[attr-defined]
        trial = _Trial(spec, example_target(kind))
        laws = [
            partial(_finite, trial), partial(_options, trial, given), partial(_masked, trial),
            partial(_towers_only, trial), partial(_own_parameters, trial), partial(_same_seed, trial),
            partial(_saved, trial), partial(_untouched, trial), partial(_difference, trial), partial(_bfloat16, trial),
            partial(not_overridden, cls, Objective), partial(_one_device, trial),
        ]  # fmt: skip
        judge(f"The objective {OBJECTIVES.name_of(cls)} ({kind})", laws)


@dataclass(frozen=True)
class _Trial:
    """An objective on trial: how it is built, and batches to train on."""

    spec: Spec
    target: Any
    device: torch.device | str = "cpu"

    def training(self, seed: int = 0, *, plain: bool = False) -> TrainingStep:
        """A small fusion with adapters, and the objective unless `plain`."""
        torch.manual_seed(seed)
        heads = Heads()
        strategy = Strategy("fusion", "mlp", tuple(WIDTHS), adapters=True)
        answer = build_answer(strategy, WIDTHS, [self.target], 12, heads)
        for parameter in answer.parameters():  # away from zeros, which hide what lies before them
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
        setting = Setting(WIDTHS, (self.target,), heads.build)
        objectives = [] if plain else [OBJECTIVES.build(self.spec, setting)]
        training = TrainingStep(answer, objectives, self.read, {"y": example_truth(self.target)}, epochs=EPOCHS)
        training.rows(torch.arange(ROWS))
        return training.to(self.device)

    @property
    def streams(self) -> dict[str, Tokens]:
        return {name: tokens.to(self.device) for name, tokens in random_streams(WIDTHS).items()}

    @property
    def truth(self) -> dict[str, Tensor]:
        return {"y": example_truth(self.target).to(self.device)}

    def read(self, rows: Tensor) -> dict[str, Tokens]:
        return {name: tokens.select(rows.to(self.device)) for name, tokens in self.streams.items()}

    def epochs(self, training: TrainingStep, count: int, *, first: int = 0) -> None:
        """Some epochs of three small steps each, down the gradient."""

        if not first:
            training.between_epochs(0)
        for epoch in range(first, first + count):
            for _ in range(3):
                self.step(training, self.streams, self.truth)
                with torch.no_grad():
                    for parameter in training.parameters():
                        if parameter.grad is not None:
                            parameter.sub_(0.05 * parameter.grad)
                training.after_step()
            training.between_epochs(epoch + 1)

    def step(self, training: TrainingStep, streams: dict[str, Tokens], truth: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of one batch and the gradients after the objective acted."""
        training.train()
        training.zero_grad()
        loss = training.loss(streams, truth)
        loss.backward()
        training.after_backward()
        grads = {n: p.grad.clone() for n, p in training.named_parameters() if p.grad is not None}
        return {"loss": loss.detach()[None], **grads}


def _each_batch(trial: _Trial) -> Iterable[tuple[str, dict[str, Tokens], dict[str, Tensor]]]:
    nobody = torch.zeros(ROWS, dtype=torch.bool)
    unlabelled = torch.full_like(trial.truth["y"], torch.nan if trial.truth["y"].is_floating_point() else -1)
    yield "an ordinary batch", trial.streams, trial.truth
    yield "a batch without labels", trial.streams, {"y": unlabelled}
    yield (
        "a batch without the stream 'left'",
        {**trial.streams, "left": trial.streams["left"].keep(nobody)},
        trial.truth,
    )
    yield "a batch without any stream", {n: t.keep(nobody) for n, t in trial.streams.items()}, trial.truth


def _finite(trial: _Trial) -> None:
    for done in (0, 2):
        for what, streams, truth in _each_batch(trial):
            training = trial.training()
            trial.epochs(training, done)
            for name, value in trial.step(training, streams, truth).items():
                if not value.isfinite().all():
                    mend = "Leave out rows without a label or without the stream, and divide by what cannot be zero."
                    raise Violation("finite", f"{name} is not finite in {what}, after {done} epochs.", mend)
    training = trial.training()
    for name, value in _objective(training)(_step(training, trial)).items():
        if value.ndim:
            raise Violation("losses are scalars", f"{name} has the shape {tuple(value.shape)}.", "Take the mean.")


def _options(trial: _Trial, given: dict[str, object]) -> None:
    objective = _objective(trial.training())
    written_back(objective, given)
    OBJECTIVES.resolve({"name": type(objective), **options_of(objective)})


def _masked(trial: _Trial) -> None:
    outs = []
    for change in (lambda t: t, partial(planted, value=1e4)):
        training = trial.training()
        trial.epochs(training, 2)
        torch.manual_seed(1)
        step = _step(training, trial)
        torch.manual_seed(2)
        outs.append(_objective(training)(replace(step, streams=mapped_streams(change, step.streams))))
    same(
        "ignores masked values", _row(outs[1]), _row(outs[0]), "10,000 planted in masked places changes a loss",
        "Read a stream only in rows where it is present.",
    )  # fmt: skip


def _row(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach()[None] for name, value in losses.items()}


def _towers_only(trial: _Trial) -> None:
    training = trial.training()
    trial.epochs(training, 2)
    training.train()
    training.zero_grad()
    training.loss(trial.streams, trial.truth).backward()
    before = {n: None if p.grad is None else p.grad.clone() for n, p in training.named_parameters()}
    training.after_backward()
    for name, parameter in training.named_parameters():
        old, new = before[name], parameter.grad
        changed = not torch.equal(old, new) if old is not None and new is not None else old is not new
        if changed and "adapters" not in name:
            raise Violation(
                "act changes towers only", f"the gradient of {name} changed.",
                "Write to the gradients of step.towers; what the fusion is to learn belongs into a loss.",
            )  # fmt: skip


def _own_parameters(trial: _Trial) -> None:
    training = trial.training()
    trial.step(training, trial.streams, trial.truth)
    for name, parameter in _objective(training).named_parameters():
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any()):
            raise Violation("every parameter receives gradient", f"{name} gets none.", "Use it in a loss, or drop it.")


def _same_seed(trial: _Trial) -> None:
    outs = []
    for _ in range(2):
        training = trial.training(3)
        torch.manual_seed(4)
        trial.epochs(training, 2)
        outs.append(trial.step(training, trial.streams, trial.truth))
    same(
        "same seed, same result", outs[1], outs[0], "the same training gives another result", tolerance=0.0,
        mend="Draw from torch's global generator only.",
    )  # fmt: skip


def _saved(trial: _Trial) -> None:
    first, second = trial.training(0), trial.training(1)
    trial.epochs(first, 2)
    second.load_state_dict(load(save({k: v.clone().contiguous() for k, v in first.state_dict().items()})))
    outs = []
    for training in (first, second):
        torch.manual_seed(5)
        trial.epochs(training, 1, first=2)
        outs.append(trial.step(training, trial.streams, trial.truth))
    same(
        "goes on where it stopped", outs[1], outs[0], "after the state dict went through a file, training differs",
        "Keep what lasts from step to step, or from epoch to epoch, in buffers.", tolerance=0.0,
    )  # fmt: skip


def _untouched(trial: _Trial) -> None:
    streams = trial.streams
    before = mapped(torch.clone, streams)
    trial.step(trial.training(), streams, trial.truth)
    for old, new in zip(tensors(before), tensors(streams)):
        if not torch.equal(old, new):
            raise Violation("inputs untouched", "a stream was changed in place.", "Make new Tokens.")


def _difference(trial: _Trial) -> None:
    outs = []
    for plain in (True, False):
        training = trial.training(plain=plain)
        torch.manual_seed(6)
        trial.epochs(training, EPOCHS)
        outs.append(torch.cat([p.detach().reshape(-1) for p in training.answer.parameters()]))
    if torch.equal(*outs):
        raise Violation(
            "makes a difference", f"{EPOCHS} epochs end at the same weights with and without it.",
            "Return a loss, change gradients in `act`, or hide something.",
        )  # fmt: skip


def _bfloat16(trial: _Trial) -> None:
    training = trial.training()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss_and_grads = trial.step(training, trial.streams, trial.truth)
    for name, value in loss_and_grads.items():
        if not value.isfinite().all():
            raise Violation("bfloat16", f"{name} is not finite.", "Compute logarithms and variances in float32.")


def train_elsewhere(spec: Spec, kind: str, device: torch.device | str) -> None:
    """Two epochs by an objective with everything on `device`; raises what torch raises where something is not."""
    trial = _Trial(spec, example_target(kind), device)
    trial.epochs(trial.training(), 2)


def _one_device(trial: _Trial) -> None:
    with one_device_only() as device:
        train_elsewhere(trial.spec, trial.target.kind, device)


def _objective(training: TrainingStep) -> Objective:
    return training.objectives[0]  # type: ignore[return-value]


def _step(training: TrainingStep, trial: _Trial) -> Step:
    answer = training.answer.train()
    prepared = answer.prepare(trial.streams)
    output = answer.join(prepared)
    return Step(answer, prepared, output, trial.truth, answer.losses(output, trial.truth), training.towers())
