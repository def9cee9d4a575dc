"""The two kinds of job: train one stream's encoder and store its tokens; train one answer on stored tokens.

A job is a JSON dict, so it runs in this process, in a worker or on another machine. It writes its result at once
and only
when complete: a run that was killed repeats only the unfinished jobs, and an encoder goes on from its last epoch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors
from torch import Tensor

from polymodal.assemble import Heads, Strategy, Trees, build_answer, build_encoder, parameters
from polymodal.config import Training
from polymodal.core.digest import fingerprint
from polymodal.core.errors import BadArgument
from polymodal.core.files import read_json, write_json, writing
from polymodal.core.types import Target
from polymodal.data.dataset import Dataset
from polymodal.data.store import Store
from polymodal.evaluate.metrics import METRICS, primary
from polymodal.model import Answer, Decisions, Model, drop_streams
from polymodal.plan import part_class
from polymodal.train.encode import store_tokens
from polymodal.train.features import Features
from polymodal.train.loop import Epoch, train

TRAIN, VALID, TEST = 0, 1, 2
Event = dict[str, Any]


class Work:
    """The working folder of a run: rows, targets and results of jobs. Opened once a process."""

    def __init__(self, folder: Path):
        self.folder = folder
        settings = read_json(folder / "work.json")
        self.store = Store(Path(settings["store"]))
        self.dataset = Dataset.open(folder / "dataset", self.store)
        self.targets = [Target.from_json(t) for t in settings["targets"]]
        self.dim: int = settings["dim"]
        self.heads = Heads(settings["heads"])
        self.facts: dict[str, dict[str, Any]] = settings["facts"]
        rows = load_file(folder / "rows.safetensors")
        self.split, self.fold = rows["split"], rows["fold"]
        self.labels = {t.name: torch.from_numpy(np.array(self.dataset.targets[t.name])) for t in self.targets}

    def rows(self, split: int, *, fold: int | None = None, inside: bool = False) -> np.ndarray:
        """Row numbers of a split; with `fold`, those of the training split outside (or inside) that fold."""
        chosen = self.split == split
        if fold is not None:
            chosen &= (self.fold == fold) if inside else (self.fold != fold)
        return np.flatnonzero(chosen)

    def truth(self, target: Target, rows: np.ndarray) -> np.ndarray:
        """The truth of `rows` as metrics read it: class numbers, multi-hot rows, or numbers in the user's units."""
        encoded = self.dataset.targets[target.name][rows]
        return target.restore(encoded) if target.kind == "number" else encoded

    def score(self, target: Target, prediction: np.ndarray, rows: np.ndarray) -> float:
        """The primary metric of `rows`, turned so that greater is better."""
        metric = METRICS[primary(target.kind)]
        value = metric(self.truth(target, rows), prediction)
        return value if metric.greater_is_better else -value

    def mean_score(self, answer: Answer, scores: Mapping[str, Tensor], rows: np.ndarray) -> float:
        """The mean over targets of `score`."""
        found = [
            self.score(t, prediction_of(t, answer.head(t.name).decode(scores[t.name])), rows) for t in self.targets
        ]
        return float(np.mean(found))


def prediction_of(target: Target, decoded: Mapping[str, np.ndarray]) -> np.ndarray:
    """The array that metrics read: probabilities [N, C], or numbers [N] in the user's units."""
    return decoded["value"] if target.kind == "number" else decoded["probability"]


@lru_cache(maxsize=2)
def open_work(folder: str) -> Work:
    """The working folder, read once a process."""
    return Work(Path(folder))


@lru_cache(maxsize=4)
def open_features(folder: str, streams: tuple[str, ...], pooled_only: bool) -> Features:
    """Stored tokens, read once a process: fusions on the same streams share them."""
    return Features.open(Path(folder) / "features", open_work(folder).store, streams, pooled_only=pooled_only)


def run_job(job: Mapping[str, Any]) -> Iterator[Event]:
    """Run a job unless its result is there already; yield its events, `done` last with the result."""
    out = Path(job["out"])
    if out.with_suffix(".json").exists():
        yield {"event": "done", "result": read_json(out.with_suffix(".json")), "cached": True}
        return
    started, cpu = time.perf_counter(), time.process_time()
    result: dict[str, Any] = {}
    for event in {"encoder": encoder_job, "answer": answer_job}[job["kind"]](open_work(job["work"]), job, out):
        if event["event"] == "result":
            result = event["result"]
        else:
            yield event
    result["seconds"], result["cpu_seconds"] = time.perf_counter() - started, time.process_time() - cpu
    write_json(out.with_suffix(".json"), result)
    out.with_suffix(".checkpoint").unlink(missing_ok=True)
    yield {"event": "done", "result": result, "cached": False}


# --- stage 1 ----------------------------------------------------------------------------------------------------------


def encoder_job(work: Work, job: Mapping[str, Any], out: Path) -> Iterator[Event]:
    """Train one stream's encoder with a head of its own (all training rows, or those outside a fold), store its tokens.

    A frozen encoder is not trained. The whole encoder stores every row's tokens that may be read from it; a fold's
    stores those of its fold, and of the validation rows, by which the folds' spaces are matched.
    """
    stream, fold = job["stream"], job["fold"]
    torch.manual_seed(job["seed"])
    encoder = build_encoder(job["encoder"], work.facts[stream], work.dim)
    curve: list[Epoch] = []
    if any(p.requires_grad for p in encoder.parameters()):
        answer = build_answer(
            Strategy(stream, "single", "late_mean", (stream,)),
            {stream: encoder.dim},
            work.targets,
            work.dim,
            work.heads,
        )
        options = Training(modality_dropout=0.0).with_({**encoder.recipe(), **job["training"]})
        present = work.dataset.present[stream]
        rows = work.rows(TRAIN, fold=fold)
        rows = rows[present[rows]]
        valid = work.rows(VALID)
        valid = valid[present[valid]]
        if not len(rows):
            raise BadArgument(
                f"No training row has the stream {stream!r}; leave it out or look with `polymodal inspect`."
            )
        encoder.fit_statistics(work.dataset.tensors(stream, rows[:2048]))
        model = Model({stream: encoder}, answer)
        for epoch in train(
            model,
            _encoder_loss(work, model, stream),
            lambda: _encoder_score(work, model, stream, valid),
            torch.from_numpy(rows),
            options,
            seed=job["seed"],
            checkpoint=out.with_suffix(".checkpoint"),
        ):
            curve.append(epoch)
            yield {
                "event": "epoch",
                "number": epoch.number,
                "of": options.epochs,
                "loss": epoch.loss,
                "valid": epoch.valid,
            }
    wanted = np.concatenate([work.rows(TRAIN, fold=fold, inside=True), work.rows(VALID)]) if fold is not None else None
    result = store_tokens(encoder, work.dataset, stream, work.store, wanted)
    with writing(out.with_suffix(".safetensors")) as temporary:
        save_tensors({k: v.contiguous() for k, v in encoder.state_dict().items()}, temporary)
    result |= {
        "stream": stream,
        "fold": fold,
        "parameters": parameters(encoder),
        "trained": bool(curve),
        "epoch": [e.number for e in curve],
        "loss": [e.loss for e in curve],
        "valid": [e.valid for e in curve],
    }
    yield {"event": "result", "result": result}


def _encoder_loss(work: Work, model: Model, stream: str) -> Any:
    def loss(rows: Tensor) -> Tensor:
        tokens = {stream: model.encoders[stream](work.dataset.tensors(stream, rows.numpy()))}
        targets = {name: values[rows] for name, values in work.labels.items()}
        return torch.stack(list(model.answer.losses(model.answer(tokens), targets).values())).sum()

    return loss


def _encoder_score(work: Work, model: Model, stream: str, rows: np.ndarray) -> float:
    if not len(rows):
        return 0.0
    parts = [
        model.answer({stream: model.encoders[stream](work.dataset.tensors(stream, chunk))}).predictions
        for chunk in np.array_split(rows, -(-len(rows) // 512))
    ]
    return work.mean_score(model.answer, {n: torch.cat([p[n] for p in parts]) for n in parts[0]}, rows)


# --- stage 2 ----------------------------------------------------------------------------------------------------------


def answer_job(work: Work, job: Mapping[str, Any], out: Path) -> Iterator[Event]:
    """Train one strategy with one seed on stored tokens; write its weights and its scores of held-out rows."""
    strategy = Strategy.from_json(job["strategy"])
    features = open_features(job["work"], strategy.streams, not strategy.reads_tokens)
    options = Training().with_(job["training"])
    strategy = cross_validated(work, strategy, features, options, job["seed"])
    torch.manual_seed(job["seed"])
    answer = build_answer(strategy, features.widths, work.targets, work.dim, work.heads)
    rows, valid = _labelled(work, work.rows(TRAIN)), work.rows(VALID)
    curve: list[Epoch] = []
    if isinstance(answer, Trees):
        answer.fit(
            features.read(torch.from_numpy(rows)), {n: v[rows].numpy() for n, v in work.labels.items()}, job["seed"]
        )
        strategy = replace(strategy, facts=answer.facts())
    else:
        curve = list(fit_answer(work, answer, features, torch.from_numpy(rows), valid, options, job["seed"]))
    started = time.perf_counter()
    scores = {
        f"{split}/{name}": value.numpy()
        for split, index in (("valid", VALID), ("test", TEST))
        for name, value in score_rows(answer, features, work.rows(index)).items()
    }
    took = time.perf_counter() - started
    with writing(out.with_suffix(".scores.safetensors")) as temporary:
        save_file(scores, temporary)
    with writing(out.with_suffix(".safetensors")) as temporary:
        save_tensors({k: v.contiguous() for k, v in answer.state_dict().items()}, temporary)
    yield {
        "event": "result",
        "result": {
            "strategy": strategy.to_json(),
            "seed": job["seed"],
            "level": strategy.level,
            "parameters": parameters(answer),
            "ms_per_row": 1000 * took / max(1, int((work.split > TRAIN).sum())),
            "epoch": [e.number for e in curve],
            "loss": [e.loss for e in curve],
            "valid": [e.valid for e in curve],
        },
    }


def cross_validated(work: Work, strategy: Strategy, features: Features, options: Training, seed: int) -> Strategy:
    """The strategy with every option given as `cv` replaced by the best of its class's `cv_grid`.

    Each candidate is trained on the training rows outside one part and scored on that part, for every part; the
    tokens are out-of-fold, so no candidate is flattered.
    """
    spec = strategy.spec
    if not isinstance(spec, Mapping) or "cv" not in [v for v in spec.values() if isinstance(v, str)]:
        return strategy
    names = features.widths if strategy.family == "fusion" else strategy.streams
    candidates = [{**spec, **c} for c in part_class(spec).cv_grid(names)]  # type: ignore[attr-defined]
    train = _labelled(work, work.rows(TRAIN))
    part = np.random.default_rng(0).permutation(len(train)) % 3
    quick = options.with_({"epochs": max(5, options.epochs // 3)})

    def score(candidate: Mapping[str, Any]) -> float:
        found = []
        for k in range(3):
            torch.manual_seed(seed)
            answer = build_answer(
                replace(strategy, spec=candidate), features.widths, work.targets, work.dim, work.heads
            )
            held = train[part == k]
            events = list(fit_answer(work, answer, features, torch.from_numpy(train[part != k]), held, quick, seed))
            found.append(events[-1].valid)
        return float(np.mean(found))

    return replace(strategy, spec=max(candidates, key=score))


def fit_answer(
    work: Work, answer: Answer, features: Features, rows: Tensor, valid: np.ndarray, options: Training, seed: int
) -> Iterator[Epoch]:
    """Train `answer` on `rows` of stored tokens; modality dropout is for joint answers only: late heads never share."""
    dropout = 0.0 if isinstance(answer, Decisions) else options.modality_dropout

    def loss(batch: Tensor) -> Tensor:
        output = answer(drop_streams(features.read(batch), dropout))
        return torch.stack(list(answer.losses(output, {n: v[batch] for n, v in work.labels.items()}).values())).sum()

    def validate() -> float:
        return work.mean_score(answer, score_rows(answer, features, valid), valid)

    return train(answer, loss, validate, rows, options, seed=seed)


@torch.no_grad()
def score_rows(answer: Answer, features: Features, rows: np.ndarray) -> dict[str, Tensor]:
    """Scores of `rows`, a tensor a target, in the module's present mode."""
    answer.eval()
    chunks = torch.from_numpy(rows).split(1024)
    parts = [answer(features.read(chunk)).predictions for chunk in chunks]
    return {name: torch.cat([p[name] for p in parts]) for name in parts[0]}


def _labelled(work: Work, rows: np.ndarray) -> np.ndarray:
    """The rows that carry at least one target."""
    known = np.zeros(len(rows), dtype=bool)
    for target in work.targets:
        values = work.dataset.targets[target.name][rows]
        known |= values >= 0 if target.kind == "classes" else ~np.isnan(values.reshape(len(rows), -1)).any(1)
    return rows[known]


def answer_out(work: Path, strategy: str, seed: int) -> Path:
    """Where a strategy's result with one seed is written, without a suffix."""
    return work / "answers" / f"{safe_name(strategy)}-{seed}"


def safe_name(name: str) -> str:
    """A file name for any stream or strategy: readable, and unique by a digest where letters had to go."""
    kept = "".join(c if c.isalnum() or c in "_-" else "_" for c in name)
    return kept if kept == name else f"{kept[:60]}_{fingerprint(name)[:8]}"
