"""The job of stage 3: train an answer and the encoders of its streams together, from where both stand or from scratch.

An encoder that is trained alone, on an answer that its stream alone cannot give, learns nothing, and no fusion of its
tokens can mend that: a question about a picture is answered by neither. Together each learns what the other needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.config import Training
from polymodal.core.files import read_json
from polymodal.core.registry import Spec
from polymodal.core.types import Batch, Tokens
from polymodal.encoders.base import Encoder
from polymodal.experiment.answer_job import AnswerJob
from polymodal.experiment.encoder_job import begin
from polymodal.experiment.work import (
    TRAIN,
    VALID,
    Epochs,
    Work,
    answer_out,
    curve_of,
    held_out,
    labelled_rows,
    load_settled,
    load_trained,
    save_trained,
    settled_out,
)  # fmt: skip
from polymodal.models.base import AT_ONCE, Joint, Labelled, Model
from polymodal.models.build import build_answer, build_encoder, build_objectives, parameters, said_by
from polymodal.nn.mask_streams import drop_streams
from polymodal.nn.place import in_use
from polymodal.runs.events import EpochEnd
from polymodal.train.loop import Epoch, batch_size, in_haste, train
from polymodal.train.once import Inputs, drawn_together, encode_once, spared
from polymodal.train.step import TrainingStep

GENTLE = {"epochs": 5, "batch": 128, "lr": 2e-4, "patience": 3}  # little and slowly: both parts are trained already
JOINT: dict[str, Any] = {"batch": 64, "lr": 1.5e-3}
STEPS = 2500  # of a joint training: what parts need of one another is found in steps, however many rows a pass has
EPOCHS = 10, 100  # at least and at most


@dataclass(frozen=True, kw_only=True)
class EndToEndJob(AnswerJob):
    """Train `strategy` and the encoders of its streams together, as `strategy.encoders` says, for so many `seconds`;
    from scratch, or from the weights that `pretrained` names by stream."""

    kind: str = "end_to_end"
    encoders: Mapping[str, Spec]
    pretrained: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None


def end_to_end_job(work: Work, job: EndToEndJob, out: Path) -> Epochs:
    """Train one strategy with one seed end to end; write all its weights and its scores of held-out rows.

    In fine-tuning the weights of before count as a candidate, so the result is never worse on validation rows.
    """
    torch.manual_seed(job.seed)
    strategy, tuning = job.strategy, job.strategy.encoders == "finetuned"
    rows, valid = labelled_rows(work, work.rows(TRAIN)), work.rows(VALID)
    work = work.as_settled(strategy.streams) if tuning else work
    encoders = {name: build_encoder(job.encoders[name], work.facts[name], work.dim) for name in strategy.streams}
    for name, encoder in encoders.items():
        if tuning:
            encoder.load_state_dict(load_settled(work.folder, name))
        else:
            begin(encoder, work, name, work.having(name, rows), job.pretrained.get(name, ""))
    widths = {name: encoder.dim for name, encoder in encoders.items()}
    answer = build_answer(strategy, widths, work.targets, work.dim, work.heads, says=said_by(encoders))
    if tuning:
        before = replace(strategy, encoders="apart")
        answer.load_state_dict(load_trained(answer_out(work.folder, before, job.seed)))
    model = Model(encoders, answer).to(work.device)
    options = Training().with_({**(GENTLE if tuning else _recipe(encoders, len(rows))), **job.training})
    torch.manual_seed(job.seed)
    objectives = build_objectives(strategy, widths, work.targets, work.dim, work.heads)

    every = np.concatenate([rows, valid])
    read = {name: Inputs(encoder, work.dataset, name, every) for name, encoder in encoders.items()}

    def encode(rows: Tensor) -> dict[str, Tokens]:
        each = model.encoders.items()
        return {name: encode_once(encoder, read[name], rows.numpy(), work.device) for name, encoder in each}

    training = TrainingStep(model, objectives, encode, work.labels, epochs=options.epochs).to(work.device)

    def loss(rows: Tensor) -> Tensor:
        answer.see(rows)
        streams = drop_streams(encode(rows), options.modality_dropout)
        return training.loss(streams, work.asked(rows))

    by_loss = work.by_loss(valid)

    def validate() -> float:
        if by_loss:
            inputs = {name: one.tensors for name, one in read.items()}
            return work.minus_loss(
                answer, lambda some: {n: of(some) for n, of in inputs.items()}, valid, lambda x: model.encode(Batch(x))
            )
        return work.mean_score(answer, _scores(work, model, lambda name, some: read[name].tensors(some), valid), valid)

    score_before, untouched = float("-inf"), {}
    if tuning:
        model.eval()
        with torch.no_grad(), in_haste(model):
            score_before = validate()
        untouched = {k: v.detach().clone() for k, v in model.state_dict().items()}
    curve: list[Epoch] = []
    drawn = training.rows(torch.from_numpy(rows))
    for epoch in train(
        training, loss, validate, drawn, options, seed=job.seed, checkpoint=out.with_suffix(".checkpoint"),
        hooks=training if objectives else None, alike=_together(work, strategy.streams, drawn.numpy(), options),
        seconds=job.seconds,
    ):  # fmt: skip
        curve.append(epoch)
        yield EpochEnd(epoch.number, options.epochs, epoch.loss, epoch.valid)
    if untouched and score_before >= max(e.valid for e in curve):
        model.load_state_dict(untouched)
    model.eval()
    if isinstance(answer, Joint):  # what heads remember of rows are the tokens of encoders as they are now
        parts = partial(_encoded, work, model, {name: one.tensors for name, one in read.items()})
        answer.cpu().conclude(partial(parts, rows), partial(parts, valid))
        answer.to(work.device)
    started = time.perf_counter()
    with torch.no_grad():
        scores = held_out(work, lambda rows: _scores(work, model, work.dataset.tensors, rows))
    took = time.perf_counter() - started
    save_trained(model, out, scores)
    return {
        "strategy": strategy.to_json(),
        "seed": job.seed,
        "level": strategy.level,
        "parameters": parameters(model),
        **({"before": score_before} if tuning else {"ms_per_row": 1000 * took / int((work.split != TRAIN).sum())}),
        **(told := curve_of(curve)),
        "notes": [*told["notes"], *answer.remarks()],
    }


def _recipe(encoders: Mapping[str, Encoder], rows: int) -> dict[str, Any]:
    """Options of a joint training on so many rows, in the precision that an encoder asks for."""
    least, most = EPOCHS
    epochs = min(most, max(least, round(STEPS * JOINT["batch"] / rows)))
    asked = (one for e in encoders.values() if (one := e.recipe().get("precision", "auto")) != "auto")
    patience = max(8, epochs // 3)  # what both streams tell together is found late, after long stretches of no gain
    return {**JOINT, "epochs": epochs, "patience": patience, "precision": next(asked, "auto")}


def _together(work: Work, streams: Sequence[str], rows: np.ndarray, options: Training) -> Tensor | None:
    """Which rows to draw together: those that share a cell of the stream where most work is saved so."""
    saved, batch = {}, batch_size(len(rows), options)
    for name in streams:
        cost = read_json(settled_out(work.folder, name))["ms_per_row"]
        saved[name] = cost * spared(work.dataset, name, rows, batch)
    return drawn_together(work.dataset, max(saved, key=lambda name: saved[name]), rows, batch)


def _encoded(
    work: Work, model: Model, read: Mapping[str, Callable[[np.ndarray], dict[str, Tensor]]], rows: np.ndarray
) -> Iterator[Labelled]:
    """Tokens and targets of rows as the encoders are now, some at a time, on the CPU."""
    for some in torch.from_numpy(rows).split(AT_ONCE):
        inputs = {name: of(some.numpy()) for name, of in read.items()}
        streams = in_use(lambda given: model.encode(Batch(given)), inputs, work.device)
        yield Labelled(streams, {name: values[some] for name, values in work.labels.items()})


def _scores(
    work: Work, model: Model, read: Callable[[str, np.ndarray], dict[str, Tensor]], rows: np.ndarray
) -> dict[str, Tensor]:
    def scores(inputs: Mapping[str, Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        return model.answer(model.encode(Batch(inputs))).predictions

    chunks = [rows[i : i + 256] for i in range(0, len(rows), 256)]
    parts = []
    for chunk in chunks:
        model.answer.number(torch.from_numpy(work.numbers[chunk]))
        parts.append(in_use(scores, {n: read(n, chunk) for n in model.encoders}, work.device))
    return {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
