"""The job of stage 1: train one stream's encoder on the target and store its tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.config import Training
from polymodal.core.registry import Spec, options_of, plain
from polymodal.data.split import SAMPLE, some_of
from polymodal.encoders.base import Encoder
from polymodal.encoders.scoring import Answering, Member, Scored
from polymodal.experiment.learned import mean_of, row_losses
from polymodal.experiment.work import TRAIN, VALID, Epochs, FitJob, Work, curve_of, load_trained, save_trained
from polymodal.learners import LEARNERS
from polymodal.learners.ridge import Ridge
from polymodal.models.base import Decisions, Model
from polymodal.models.build import build_answer, build_encoder, parameters
from polymodal.models.strategy import Strategy
from polymodal.nn.place import in_use
from polymodal.runs.events import EpochEnd
from polymodal.targets.base import NUMBER, ScoredTarget
from polymodal.train.encode import BATCH, encoded, store_tokens
from polymodal.train.loop import Epoch, batch_size, total, train
from polymodal.train.once import Inputs, drawn_together, encode_once

TRY, GOES_ON = 0.5, 0.75  # of the epochs: to try an encoder, and for the whole one to go on from a part's
LEARNED = ("ridge", {"name": "kernel", "width": 1.0}, {"name": "kernel", "width": 4.0})  # on a tuned tower's vectors
PASSES = 24_000  # rows that go through a tower while it is tuned beside cheaper encodings, in two epochs at least


@dataclass(frozen=True, kw_only=True)
class EncoderJob(FitJob):
    """Train the encoder of `stream`: whole (`fold` None), or on the training rows outside one part of them.

    It trains for a `share` of the epochs, for so many `seconds` at most (but one epoch), with `start`, the result of
    another, from that one's weights, else with `pretrained` from those, which brought their statistics along.
    """

    kind: str = "encoder"
    stream: str
    fold: int | None
    encoder: Spec
    scored: bool = False  # whether its tokens shall carry its own answer
    reads: str = ""  # the dataset's stream whose arrays it reads, if it is not its own
    share: float = 1.0
    start: str = ""
    pretrained: str = ""
    seconds: float | None = None

    @property
    def name(self) -> str:
        which = "whole" if self.fold is None else f"part {self.fold + 1}"
        tried = "" if self.share == 1 or self.start else ", tried from pretrained" if self.pretrained else ", tried"
        return f"{self.reads or self.stream} {which}{tried}"


def encoder_job(work: Work, job: EncoderJob, out: Path) -> Epochs:
    """Train one stream's encoder with a head of its own (all training rows, or those outside a fold), store its tokens.

    A frozen encoder is not trained. The whole encoder stores every row's tokens that may be read from it; a fold's
    stores those of its fold, and of the validation rows, by which the folds' spaces are matched.
    """
    stream, fold = job.reads or job.stream, job.fold
    torch.manual_seed(job.seed)
    encoder, settled = build_encoder(job.encoder, work.facts[stream], work.dim), job.encoder
    curve: list[Epoch] = []
    if any(p.requires_grad for p in encoder.parameters()):
        alone = Strategy("single", "late_mean", (stream,))
        answer = build_answer(alone, {stream: encoder.dim}, work.targets, work.dim, work.heads)
        options = Training(modality_dropout=0.0).with_({**work.recipe, **encoder.recipe(), **job.training})
        options = options.part(job.share)
        rows, valid = work.having(job.stream, work.rows(TRAIN, fold=fold)), work.rows(VALID)
        valid = valid[work.dataset.present[stream][valid]]
        if job.reads and "epochs" not in job.training:
            options = options.with_({"epochs": min(options.epochs, max(2, round(PASSES / len(rows))))})
        if job.start:
            encoder.load_state_dict(_inner(load_trained(Path(job.start)), job.scored))
        if not (job.start and job.pretrained):
            begin(encoder, work, stream, rows, job.pretrained)
        model = Model({stream: encoder}, answer).to(work.device)
        saved = out.with_suffix(".checkpoint")
        for epoch in fit_encoder(work, model, stream, rows, valid, options, job.seed, saved, job.seconds):
            curve.append(epoch)
            yield EpochEnd(epoch.number, options.epochs, epoch.loss, epoch.valid)
        if job.scored or getattr(encoder, "tune", "") == "lora_last":
            answers, features = _answers(work, model, stream, rows, valid, job.seed)
            encoder = Scored.around(encoder, job.encoder, answers, work.dim)
            if features is not None:
                encoder.reduce(features)
            settled = {"name": "scored", **options_of(encoder)}
    rows = _read_rows(work, fold)
    result = store_tokens(encoder.to(work.device), work.dataset, stream, work.store, rows, timed=fold is None)
    save_trained(encoder, out)
    return result | {
        "stream": job.stream,
        "fold": fold,
        "encoder": plain(settled),
        "says": {name: asdict(said) for name, said in getattr(encoder, "says", {}).items()},
        "parameters": parameters(encoder),
        "trained": bool(curve),
        **curve_of(curve),
    }


def begin(encoder: Encoder, work: Work, stream: str, rows: np.ndarray, pretrained: str) -> None:
    """How an encoder begins to learn from `rows`: with `pretrained` weights, or its own and the rows' statistics."""
    if pretrained:
        encoder.load_state_dict(load_trained(Path(pretrained)))
    else:
        encoder.fit_statistics(work.dataset.tensors(stream, some_of(rows, SAMPLE)))


def _inner(weights: Mapping[str, Tensor], scored: bool) -> dict[str, Tensor]:
    """The weights of an encoder, or of the one within a `Scored`."""
    inside = {n.removeprefix("inner."): w for n, w in weights.items() if n.startswith("inner.")}
    return inside if scored else dict(weights)


def restored(work: Work, job: EncoderJob, out: Path, result: dict[str, Any]) -> dict[str, Any]:
    """The result of a finished job, whose tokens are encoded again where the store lacks them.

    It was cleared or damaged since, or is another store.
    """
    dataset, rows = work.dataset, _read_rows(work, job.fold)
    there = rows[dataset.present[job.stream][rows]]
    if not len(work.store.missing(result["group"], dataset.digests[job.stream][there])):
        return result
    stream = job.reads or job.stream
    encoder = build_encoder(result.get("encoder", job.encoder), work.facts[stream], work.dim)
    encoder.load_state_dict(load_trained(out))
    stored = store_tokens(encoder.to(work.device), dataset, stream, work.store, rows, timed=False)
    return {**result, "group": stored["group"]}


def _answers(
    work: Work, model: Model, stream: str, rows: np.ndarray, valid: np.ndarray, seed: int
) -> tuple[dict[str, Answering], Tensor | None]:
    """What an encoder's tokens shall say: what its own heads do, or, behind a pretrained tower, the learner on its
    vectors that does better on validation rows (target-aware representations; Arazi et al. 2026). Also these vectors
    of the training `rows` [N, D], where they were needed."""
    found = _own_answers(work, model, stream, valid)
    encoder: Any = model.encoders[stream]
    if not getattr(encoder, "pretrained", False) or not len(valid):
        return found, None
    vectors, held = (_pooled(work, encoder, stream, some) for some in (rows, valid))
    for target in work.targets:
        if target.name not in found or not isinstance(target, ScoredTarget):
            continue
        truth, wanted = (work.dataset.targets[target.name][some] for some in (rows, valid))
        known = np.asarray(target.known(truth))
        tried = [found[target.name]]
        for spec in (*LEARNED, *(() if target.scores == NUMBER else ({"name": "logistic", "strength": 3.0},))):
            learner = LEARNERS.build(spec, None)
            learner.fit_to(target, vectors.numpy()[known], truth[known], seed)
            temperature = target.temperature(learner.scores(held).numpy(), target.truth(wanted)) or 1.0
            tried.append(Answering(target.scores, target.width, [Member(spec, learner, 1.0, temperature)]))
        losses = [mean_of(row_losses(target, one.scores(held).numpy(), wanted)) for one in tried]
        found[target.name] = tried[int(np.argsort(losses, kind="stable")[0])]
    return found, vectors


@torch.no_grad()
def _pooled(work: Work, encoder: Encoder, stream: str, rows: np.ndarray) -> Tensor:
    """Pooled vectors [N, D] of `rows`, as they are encoded in use."""
    chunks = np.array_split(rows, max(1, len(rows) // 512))
    return torch.cat([encoded(encoder, work.dataset.tensors(stream, chunk)).pooled.float() for chunk in chunks])


@torch.no_grad()
def _own_answers(work: Work, model: Model, stream: str, valid: np.ndarray) -> dict[str, Answering]:
    """What the heads that an encoder was trained with say, tempered on validation rows; of linear heads alone."""
    encoder = model.cpu().eval().encoders[stream]
    chunks = np.array_split(valid, -(-len(valid) // BATCH)) if len(valid) else []
    tokens = [encoder(work.dataset.tensors(stream, rows)) for rows in chunks]
    found = {}
    for target in work.targets:
        head = model.answer.heads[target.name][stream] if isinstance(model.answer, Decisions) else None  # type: ignore[index]
        if head is None or (linear := head.linear()) is None or not isinstance(target, ScoredTarget):
            continue
        scores = torch.cat([head(part) for part in tokens]).numpy() if tokens else np.zeros((0, target.width))
        temperature = target.temperature(scores, work.truth(target, valid)) if len(scores) else None
        member = Member("ridge", Ridge.of(*linear), 1.0, temperature or 1.0)
        found[target.name] = Answering(target.scores, target.width, [member])
    return found


def _read_rows(work: Work, fold: int | None) -> np.ndarray:
    """The rows whose tokens are read from the encoder of a fold, or from the whole one."""
    if fold is None:
        return np.arange(len(work.dataset))
    return np.concatenate([work.rows(TRAIN, fold=fold, inside=True), work.rows(VALID)])


def fit_encoder(
    work: Work,
    model: Model,
    stream: str,
    rows: np.ndarray,
    valid: np.ndarray,
    options: Training,
    seed: int,
    checkpoint: Path,
    seconds: float | None = None,
) -> Iterator[Epoch]:
    """Train one stream's encoder and head on `rows` of processed cells, going on from `checkpoint` if there is one."""
    encoder: Any = model.encoders[stream]
    answer = model.answer
    read = Inputs(encoder, work.dataset, stream, np.concatenate([rows, valid]))
    by_loss = work.by_loss(valid)

    def loss(batch: Tensor) -> Tensor:
        output = answer({stream: encode_once(encoder, read, batch.numpy(), work.device)})
        return total(answer.losses(output, work.asked(batch)))

    def scores(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return answer({stream: encoder(inputs)}).predictions

    def validate() -> float:
        if not len(valid):
            return 0.0
        if by_loss:
            return work.minus_loss(answer, read.tensors, valid, lambda inputs: {stream: encoder(inputs)})
        chunks = np.array_split(valid, -(-len(valid) // BATCH))
        parts = [in_use(scores, read.tensors(chunk), work.device) for chunk in chunks]
        return work.mean_score(answer, {n: torch.cat([p[n] for p in parts]) for n in parts[0]}, valid)

    return train(
        model, loss, validate, torch.from_numpy(rows), options, seed=seed, checkpoint=checkpoint,
        alike=drawn_together(work.dataset, stream, rows, batch_size(len(rows), options)), seconds=seconds,
    )  # fmt: skip
