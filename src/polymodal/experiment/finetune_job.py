"""The job of stage 3, on demand: train the best fusion and its encoders together, from where both stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polymodal.config import Training
from polymodal.core.registry import Spec
from polymodal.core.types import Batch, Tokens
from polymodal.experiment.answer_job import AnswerJob
from polymodal.experiment.work import (
    TRAIN,
    VALID,
    Epochs,
    Work,
    answer_out,
    curve_of,
    encoder_out,
    held_out,
    labelled_rows,
    load_trained,
    save_trained,
)  # fmt: skip
from polymodal.models.base import Model
from polymodal.models.build import build_answer, build_encoder, build_objectives, parameters
from polymodal.nn.mask_streams import drop_streams
from polymodal.nn.place import in_use, to_device
from polymodal.runs.events import EpochEnd
from polymodal.train.loop import Epoch, train
from polymodal.train.step import TrainingStep

GENTLE = {"epochs": 5, "batch": 128, "lr": 2e-4, "patience": 3}  # little and slowly: both parts are trained already


@dataclass(frozen=True, kw_only=True)
class FinetuneJob(AnswerJob):
    """Train `strategy`, whose own job is done, and the encoders of its streams together."""

    kind: str = "finetune"
    encoders: Mapping[str, Spec]


def finetune_job(work: Work, job: FinetuneJob, out: Path) -> Epochs:
    """Fine-tune one strategy with one seed end to end; write all its weights and its scores of held-out rows.

    The weights of before count as a candidate, so the result is never worse on validation rows.
    """
    strategy = job.strategy
    encoders = {name: build_encoder(job.encoders[name], work.facts[name], work.dim) for name in strategy.streams}
    for name, encoder in encoders.items():
        encoder.load_state_dict(load_trained(encoder_out(work.folder, name)))
    widths = {name: encoder.dim for name, encoder in encoders.items()}
    answer = build_answer(strategy, widths, work.targets, work.dim, work.heads)
    answer.load_state_dict(load_trained(answer_out(work.folder, replace(strategy, finetuned=False), job.seed)))
    model = Model(encoders, answer).to(work.device)
    options = Training().with_({**GENTLE, **job.training})
    valid = work.rows(VALID)
    torch.manual_seed(job.seed)
    objectives = build_objectives(strategy, widths, work.targets, work.dim, work.heads)

    def encode(rows: Tensor) -> dict[str, Tokens]:
        return model.encode(Batch(to_device(work.dataset.batch(rows.numpy()).inputs, work.device)))

    training = TrainingStep(model, objectives, encode, work.labels, epochs=options.epochs).to(work.device)

    def loss(rows: Tensor) -> Tensor:
        answer.see(rows)
        streams = drop_streams(encode(rows), options.modality_dropout)
        return training.loss(streams, work.asked(rows))

    def validate() -> float:
        return work.mean_score(answer, _scores(work, model, valid), valid)

    model.eval()
    with torch.no_grad():
        score_before = validate()
    untouched = {k: v.detach().clone() for k, v in model.state_dict().items()}
    curve: list[Epoch] = []
    rows = training.rows(torch.from_numpy(labelled_rows(work, work.rows(TRAIN))))
    for epoch in train(
        training, loss, validate, rows, options, seed=job.seed, checkpoint=out.with_suffix(".checkpoint"),
        hooks=training if objectives else None,
    ):  # fmt: skip
        curve.append(epoch)
        yield EpochEnd(epoch.number, options.epochs, epoch.loss, epoch.valid)
    if score_before >= max(e.valid for e in curve):
        model.load_state_dict(untouched)
    model.eval()
    with torch.no_grad():
        scores = held_out(work, lambda rows: _scores(work, model, rows))
    save_trained(model, out, scores)
    return {
        "strategy": strategy.to_json(),
        "seed": job.seed,
        "level": strategy.level,
        "parameters": parameters(model),
        "before": score_before,
        **curve_of(curve),
    }


def _scores(work: Work, model: Model, rows: np.ndarray) -> dict[str, Tensor]:
    chunks = [rows[i : i + 256] for i in range(0, len(rows), 256)]

    def scores(inputs: Mapping[str, Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        return model.answer(model.encode(Batch(inputs))).predictions

    parts = [in_use(scores, work.dataset.batch(chunk).inputs, work.device) for chunk in chunks]
    return {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
