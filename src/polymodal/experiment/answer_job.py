"""The job of stage 2: train one strategy with one seed on stored tokens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from polymodal.aligners.pairs import Side
from polymodal.config import Training
from polymodal.core.types import Tokens
from polymodal.experiment.work import (
    TEST,
    TRAIN,
    VALID,
    Epochs,
    FitJob,
    Work,
    curve_of,
    held_out,
    labelled_rows,
    open_features,
    save_trained,
)  # fmt: skip
from polymodal.models.adapted import Adapted
from polymodal.models.adaptive import Adaptive
from polymodal.models.base import Answer, Decisions, Labelled
from polymodal.models.build import Fitted, build_answer, build_objectives, parameters
from polymodal.models.strategy import Strategy
from polymodal.nn.mask_streams import drop_streams
from polymodal.nn.place import CPU, in_use, to_device
from polymodal.objectives.base import Objective
from polymodal.train.features import Features
from polymodal.train.loop import Epoch, train
from polymodal.train.step import TrainingStep


@dataclass(frozen=True, kw_only=True)
class AnswerJob(FitJob):
    """Train `strategy` on stored tokens.

    Without `held` it learns from the training rows and is judged by the validation rows; else from both but the part
    `held` of them, by which it is judged.
    """

    kind: str = "answer"
    strategy: Strategy
    held: int = 0

    @property
    def name(self) -> str:
        return f"{self.strategy.name} #{self.seed}"

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "strategy": self.strategy.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        return super().from_json({**values, "strategy": Strategy.from_json(values["strategy"])})


def answer_job(work: Work, job: AnswerJob, out: Path) -> Epochs:
    """Train one strategy with one seed on stored tokens; write its weights and its scores of held-out rows."""
    pooled = not (job.strategy.reads_tokens or (job.strategy.family == "single" and work.heads_read_tokens))
    features = open_features(job.work, job.strategy.streams, pooled, work.device, job.store)
    options = Training().with_({**work.recipe, **job.training})
    rows, valid = labelled_rows(work, work.rows(TRAIN)), work.rows(VALID)
    if job.held:
        rows = labelled_rows(work, np.flatnonzero((work.bag > 0) & (work.bag != job.held)))
        valid = np.flatnonzero(work.bag == job.held)
    strategy = cross_validated(work, job.strategy, features, options, job.seed, rows)
    torch.manual_seed(job.seed)
    answer = build_answer(
        strategy, features.widths, work.targets, work.dim, work.heads,
        cost=work.cost(strategy.streams), budget_ms=work.budget_ms, says=features.says,
    )  # fmt: skip
    curve: list[Epoch] = []
    if isinstance(answer, Fitted):
        known = labelled(work, features, torch.from_numpy(rows))
        answer.fit(known.streams, {n: v.numpy() for n, v in known.targets.items()}, job.seed)
        strategy = replace(strategy, facts=answer.facts())
    else:
        objectives = build_objectives(strategy, features.widths, work.targets, work.dim, work.heads)
        curve = list(fit_answer(work, answer, features, torch.from_numpy(rows), valid, options, job.seed, objectives))
        seen, held = (labelled(work, features, torch.from_numpy(r)) for r in (rows, valid))
        answer.cpu().finalize(seen, held, job.seed)
    answer.to(work.device)
    started = time.perf_counter()
    scores = held_out(work, lambda rows: score_rows(answer, features, rows, work.numbers), valid)
    took = time.perf_counter() - started
    if strategy.joint and not work.drawn:
        scores |= alone_scores(answer, features, work.rows(TEST))
    save_trained(answer.cpu(), out, scores)
    yield from ()  # so short a training tells nothing on the way
    return {
        "strategy": strategy.to_json(),
        "seed": job.seed,
        "level": strategy.level,
        "parameters": parameters(answer),
        "ms_per_row": 1000 * took / max(1, len(valid) + int((work.split == TEST).sum())),
        **(told := curve_of(curve)),
        "notes": [*told["notes"], *answer.remarks()],
        "used": used_cells(answer, features, valid),
    }


@torch.no_grad()
def alone_scores(answer: Answer, features: Features, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of `rows` with one stream given and all others missing: `alone/stream/target`."""
    answer.eval()
    scores: dict[str, np.ndarray] = {}
    chunks = [features.read(chunk) for chunk in torch.from_numpy(rows).split(1024)]
    for name in features.widths:
        parts = [in_use(answer_scores(answer), only(streams, name), features.device) for streams in chunks]
        scores |= {f"alone/{name}/{target}": torch.cat([p[target] for p in parts]).numpy() for target in parts[0]}
    return scores


def only(streams: Mapping[str, Tokens], name: str) -> dict[str, Tokens]:
    """The streams with all but one missing."""
    return {n: t if n == name else t.keep(torch.zeros_like(t.present)) for n, t in streams.items()}


def labelled(work: Work, features: Features, rows: Tensor) -> Labelled:
    """Tokens and targets of `rows`, all at once, on the CPU: what is not learned by gradients is chosen there."""
    return Labelled(to_device(features.read(rows), CPU), {name: values[rows] for name, values in work.labels.items()})


def used_cells(answer: Answer, features: Features, rows: np.ndarray) -> dict[str, float]:
    """The share of each stream's cells that are encoded to answer `rows`; empty where all are."""
    if not isinstance(answer, Adaptive):
        return {}
    parts = [to_device(features.read(chunk), CPU) for chunk in torch.from_numpy(rows).split(1024)]
    asked = torch.cat([answer.used(part) for part in parts]).sum(0)
    there = [sum(int(part[name].present.sum()) for part in parts) for name in answer.names]
    return {name: int(n) / max(1, all_of) for name, n, all_of in zip(answer.names, asked, there)}


def cross_validated(
    work: Work, strategy: Strategy, features: Features, options: Training, seed: int, rows: np.ndarray
) -> Strategy:
    """The strategy with every option given as `cv` replaced by the best of its class's `cv_grid`.

    Each candidate is trained on the `rows` outside one part and scored on that part, for every part; the tokens are
    out-of-fold, so no candidate is flattered.
    """
    spec = strategy.spec
    if not isinstance(spec, Mapping) or "cv" not in [v for v in spec.values() if isinstance(v, str)]:
        return strategy
    names = features.widths if strategy.family == "fusion" else strategy.streams
    candidates = [{**spec, **c} for c in strategy.part.cls.cv_grid(names)]
    part = np.random.default_rng(0).permutation(len(rows)) % 3
    quick = options.part(1 / 3, least=5)

    def score(candidate: Mapping[str, Any]) -> float:
        scores = []
        for k in range(3):
            torch.manual_seed(seed)
            answer = build_answer(
                replace(strategy, spec=candidate), features.widths, work.targets, work.dim, work.heads,
                says=features.says,
            )  # fmt: skip
            held = rows[part == k]
            events = list(fit_answer(work, answer, features, torch.from_numpy(rows[part != k]), held, quick, seed))
            scores.append(events[-1].valid)
        return float(np.mean(scores))

    return replace(strategy, spec=max(candidates, key=score))


def fit_answer(
    work: Work,
    answer: Answer,
    features: Features,
    rows: Tensor,
    valid: np.ndarray,
    options: Training,
    seed: int,
    objectives: Sequence[Objective] = (),
) -> Iterator[Epoch]:
    """Train `answer` on `rows` of stored tokens; modality dropout is for joint answers only: late heads never share."""
    dropout = 0.0 if isinstance(answer, Decisions) else options.modality_dropout
    if not any(p.requires_grad for p in answer.parameters()):  # it reads what tokens say
        return iter(())
    training = TrainingStep(answer, objectives, features.read, work.labels, epochs=options.epochs)
    rows = training.rows(rows)
    fit_aligner(answer, features, rows, seed)
    training.to(work.device)
    by_loss = work.by_loss(valid)

    def loss(batch: Tensor) -> Tensor:
        answer.see(batch)
        streams = drop_streams(features.read(batch), dropout)
        return training.loss(streams, work.asked(batch))

    def validate() -> float:
        if by_loss:
            return work.minus_loss(answer, lambda some: features.read(torch.from_numpy(some)), valid)
        return work.mean_score(answer, score_rows(answer, features, valid, work.numbers), valid)

    return train(training, loss, validate, rows, options, seed=seed, hooks=training if objectives else None)


def fit_aligner(answer: Answer, features: Features, rows: Tensor, seed: int) -> None:
    """Fit an aligner that is found in closed form to the training rows' tokens, before the answer is trained on it."""
    aligner = answer.aligner if isinstance(answer, Adapted) else None
    if aligner is None or aligner.learns != "fit":
        return
    sides = {}
    for name, tokens in to_device(features.read(rows), CPU).items():
        there = tokens.present
        sides[name] = Side(tokens.pooled[there], rows[there, None])
    aligner.fit(sides, seed=seed)
    aligner.requires_grad_(False)


@torch.no_grad()
def score_rows(answer: Answer, features: Features, rows: np.ndarray, numbers: np.ndarray) -> dict[str, Tensor]:
    """Scores of `rows`, a tensor a target, in the module's present mode; `numbers` [N] are those of all rows in their
    source."""
    answer.eval()
    parts = []
    for chunk in torch.from_numpy(rows).split(1024):
        answer.number(torch.from_numpy(numbers)[chunk])
        parts.append(in_use(answer_scores(answer), features.read(chunk), features.device))
    return {name: torch.cat([p[name] for p in parts]) for name in parts[0]}


def answer_scores(answer: Answer) -> Callable[[Mapping[str, Tokens]], Mapping[str, Tensor]]:
    """Streams to the answer's scores alone."""
    return lambda streams: answer(streams).predictions
