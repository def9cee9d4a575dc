"""What a fit will cost: a short probe of every part on a few rows, and how often each is done."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from polymodal.config import Training
from polymodal.core.errors import BadCell
from polymodal.core.registry import Spec
from polymodal.core.runtime import core_count, worker_devices
from polymodal.core.shown import many
from polymodal.core.types import Tokens
from polymodal.data.cells import cells
from polymodal.data.split import some_of
from polymodal.encoders.base import Encoder
from polymodal.encoders.scoring import Scored, ScoringEncoder
from polymodal.experiment.encoder_job import GOES_ON, TRY
from polymodal.experiment.folds import parts_of_fitted
from polymodal.experiment.learned import CURVE, MOST_ROWS, learn
from polymodal.experiment.plan import Plan
from polymodal.learners import LEARNERS
from polymodal.models.base import Answer
from polymodal.models.build import Heads, build_answer, build_encoder, parameters
from polymodal.models.imputed import Imputed
from polymodal.models.strategy import Strategy
from polymodal.nn.layers.imputer import PAUSE, Vectors
from polymodal.process import PROCESSORS
from polymodal.process.base import Processor
from polymodal.targets.base import MEANINGS, ScoredTarget
from polymodal.train.loop import batch_size, in_haste, total
from polymodal.train.optim import make_optimizer
from polymodal.train.turns import Turns

SECONDS = 1.0  # of reading cells, a stream
MOST_CELLS = 256
PROBED = 32  # rows of a step in which words are written
WRITTEN = 16  # rows whose answers are
LEARNED = 256  # rows that learners are tried on
SOONEST = 0.4  # of a training's epochs, where it stops early
TOUCHED = 8  # bytes a feature while learners are fitted, and a copy
PROCESS = 350e6  # bytes of a worker beside its data
START, WORKER, REPORT = 3.0, 0.5, 4.0  # CPU seconds: reading and planning; of each worker; judging and the pages
STRATEGY = 0.8  # CPU seconds of a strategy that is trained by gradients, for every 1,000 rows; less than 300 count so
LEAST_ROWS = 300


@dataclass(frozen=True)
class Estimate:
    """CPU seconds by what they are for, least and most; `workers` at a time; bytes of memory at the peak.

    Least is where no network turns out to be worth training on, most where all are, to their last epoch. `sizes` are
    the parameters of each strategy that is trained by gradients, its encoders' left out.
    """

    parts: Mapping[str, tuple[float, float]]
    workers: int
    memory: float
    took: float
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def least(self) -> float:
        return sum(low for low, _ in self.parts.values())

    @property
    def most(self) -> float:
        return sum(high for _, high in self.parts.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        parts = {name: list(ends) for name, ends in self.parts.items()}
        return {"cpu_seconds": parts, "workers": self.workers, "memory": self.memory, "probe_seconds": self.took,
                "parameters": dict(self.sizes)}  # fmt: skip

    def text(self) -> str:
        """In words."""
        ends = [_span(end / self.workers) for end in (self.least, self.most)]
        span = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
        dear = sorted(self.parts.items(), key=lambda part: -part[1][1])[:3]
        each = ", ".join(f"{what} {low:.0f} to {high:.0f}" for what, (low, high) in dear)
        return (
            f"Estimate: {span} on {many(self.workers, 'core')} ({self.least:.0f} to "
            f"{self.most:.0f} CPU seconds; {each}), {self.memory / 1e9:.1f} GB of memory. Least where no network is "
            f"worth training on, most where all are; without joint training. By a probe of {self.took:.0f} s."
            + (
                f"\nParameters: {', '.join(f'{name} {size:,}' for name, size in self.sizes.items())}."
                * bool(self.sizes)
            )
        )


def estimate(plan: Plan) -> Estimate:
    """Probe what `plan` would do: decode some cells of every stream, encode them, fit learners, take a few steps.

    On one thread, as a fit's workers are. Links between rows and joint training are not counted.
    """
    threads, started = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(1)
    try:
        return _estimated(plan, started)
    finally:
        torch.set_num_threads(threads)


def _estimated(plan: Plan, started: float) -> Estimate:
    parts: dict[str, tuple[float, float]] = {}
    widest = 0
    torch.manual_seed(plan.config.seed)
    known: dict[str, float] = {}
    seen: dict[str, Tokens] = {}
    readings = [(stream, stream) for stream in plan.unlinked] + list(plan.towers.readings.items())
    for stream, reading in readings:
        low, high, width = _stream(plan, stream, reading, known, seen)
        parts[reading] = low, high
        widest = max(widest, width)
    rows = max(LEAST_ROWS, int(plan.seen.sum()))
    low, high, sizes = _strategies(plan, seen, STRATEGY * rows / 1000)
    parts["strategies"] = (low * len(plan.trainings), high * len(plan.trainings))
    workers = len(worker_devices("cpu", plan.config.workers, cores=core_count()))
    fixed = START + WORKER * workers + REPORT
    parts["starting and reporting"] = (fixed, fixed)
    memory = _resident() + max(1, workers) * (PROCESS + widest * TOUCHED)
    return Estimate(parts, max(1, workers), memory, time.perf_counter() - started, sizes)


def _strategies(plan: Plan, seen: Mapping[str, Tokens], usual: float) -> tuple[float, float, dict[str, int]]:
    """CPU seconds of one training of every strategy, least and most, and their sizes.

    `usual` is what one costs whose heads score; what writes or draws is as dear as it is large, so it takes some steps.
    """
    low, high, sizes, heads = 0.0, 0.0, {}, Heads(plan.config.heads)
    scored = all(target.scores for target in plan.targets)
    options = Training().with_({**heads.recipe(plan.targets), **plan.config.training, **plan.config.answer_training})
    widths = {stream: tokens.width for stream, tokens in seen.items()}
    for strategy in plan.strategies:
        if strategy.family not in (("fusion", "answer") if scored else ("fusion", "answer", "single")):
            continue
        cost = usual
        if strategy.level == "imputed":
            cost += _imputing(plan, strategy, seen)
        if {*strategy.streams} <= {*seen}:
            answer = build_answer(strategy, widths, plan.targets, plan.config.dim, heads)
            if size := parameters(answer):
                sizes[strategy.name] = size
            if not scored:
                cost = _answering(plan, answer, {n: seen[n] for n in strategy.streams}, options) if size else 0.0
        low, high = low + (0.5 if scored else SOONEST) * cost, high + cost
    return low, high, sizes


def _imputing(plan: Plan, strategy: Strategy, seen: Mapping[str, Tokens]) -> float:
    """CPU seconds of learning what absent streams would have been, to the last step; vectors of a stream of which no
    tokens were `seen` are taken to be of the usual width."""
    like = {name: seen.get(name, _vectors(plan.config.dim)) for name in strategy.streams}
    rows = torch.arange(PROBED)
    known = Vectors.of({name: tokens.select(rows % len(tokens)) for name, tokens in like.items()})
    widths = {name: tokens.width for name, tokens in like.items()}
    answer = build_answer(strategy, widths, plan.targets, plan.config.dim, Heads(plan.config.heads))
    filling = next(part for part in answer.modules() if isinstance(part, Imputed))
    filling.imputer.fit(known, known, steps=1, seed=plan.config.seed)  # what comes first takes longer
    started = time.process_time()
    filling.imputer.fit(known, known, steps=PAUSE, seed=plan.config.seed)
    return (time.process_time() - started) * filling.steps / PAUSE


def _vectors(width: int) -> Tokens:
    return Tokens.of_pooled(torch.randn(PROBED, width), torch.ones(PROBED, 1, dtype=torch.bool))


def _answering(plan: Plan, answer: Answer, seen: Mapping[str, Tokens], options: Training) -> float:
    """CPU seconds of training an answer on tokens such as were `seen`, to its last epoch."""
    rows = plan.rows("train")
    batch = batch_size(len(rows), options)
    some = rows[np.arange(min(batch, PROBED)) % len(rows)]
    truth = {name: torch.from_numpy(values[some]) for name, values in plan.truth.items()}
    streams = {name: tokens.select(torch.arange(len(some)) % len(tokens)) for name, tokens in seen.items()}

    def loss() -> Tensor:
        return total(answer.losses(answer(streams), truth))

    epochs = options.within(-(-len(rows) // batch)).epochs
    took = _step(answer.train(), loss, options) * len(rows) / len(some)
    return (took + _answered(plan, answer, seen)) * epochs


def _step(module: torch.nn.Module, loss: Callable[[], Tensor], options: Training) -> float:
    """CPU seconds of a training step."""
    optimizer, turns = make_optimizer(module, options), Turns(module, options.precision)
    took = []
    for _ in range(3):
        started = time.process_time()
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        turns.take(1.0)
        took.append(time.process_time() - started)
        if took[-1] > SECONDS:  # a language model: what a first step costs more is little beside it
            break
    return min(took)


def _stream(
    plan: Plan, stream: str, reading: str, known: dict[str, float], seen: dict[str, Tokens]
) -> tuple[float, float, int]:
    """CPU seconds that one stream costs in one reading, its own or its pretrained tower's: least and most, and the
    numbers that learners read of it. Into `seen` go tokens of the stream's network.

    What `known` has of another stream's learners or network is not measured again where it is the same.
    """
    processor = PROCESSORS.build(plan.processors[reading])
    raw = cells(plan.table, plan.schema.fields[stream])
    given = np.array([i for i in range(len(raw)) if raw[i] is not None])
    if not len(given):
        return 0.0, 0.0, 0
    different = len({repr(raw[i]) for i in given.tolist()})
    inputs, truth, read = _probed(plan, processor, raw, given)
    low = high = read * different
    if inputs is None:
        return low, high, 0
    train = len(np.intersect1d(given, np.flatnonzero(plan.seen)))
    fitted = [spec for spec in plan.fitted.get(stream, ()) if plan.towers.reads(stream, spec) == reading]
    widest = 0
    for spec in fitted:
        encoder, features, seconds = _features(plan, spec, processor, inputs)
        scale = min(train, MOST_ROWS) / LEARNED
        same = f"{spec} {features.shape[1]}"
        if same not in known:
            known[same] = _learners(plan, encoder, features, truth)
        cost = seconds * different + known[same] * max(scale, 0.2)
        widest = max(widest, different * features.shape[1] if not sparse.issparse(features) else features.nnz)
        low, high = low + cost, high + cost
    own = plan.encoders if reading == stream else plan.towers.aware
    if stream in (plan.trained if reading == stream else own):
        same = f"{own[stream]} {processor.facts()} {train}"
        if same not in known:
            known[same] = _training(plan, stream, own[stream], processor, inputs, truth, train)
        seen.setdefault(stream, _tokens(build_encoder(own[stream], processor.facts(), plan.config.dim), inputs))
        part = (1 - 1 / plan.parts) if plan.parts else 1.0  # of the rows
        every = plan.parts * part + GOES_ON if plan.parts else 1.0
        low += SOONEST * known[same] * (TRY * part if fitted else every)
        high += known[same] * every
    return low, high, widest


def _probed(
    plan: Plan, processor: Processor, raw: Any, given: np.ndarray
) -> tuple[dict[str, Tensor] | None, dict[str, np.ndarray], float]:
    """Inputs of some training cells, their truths, and the CPU seconds that one cell took to read."""
    rows = some_of(np.intersect1d(given, plan.rows("train")), MOST_CELLS)
    found, read, started = [], [], time.process_time()
    for row in rows:
        try:
            found.append(processor.read(raw[row]))
            read.append(row)
        except BadCell:  # the fit will name it
            continue
        if time.process_time() - started > SECONDS and len(found) >= 8:
            break
    if not found:
        return None, {}, 0.0
    processor.fit(found)
    made = processor.process(found)
    seconds = (time.process_time() - started) / len(found)
    inputs = {name: torch.from_numpy(value) for name, value in made.items()}
    truth = {target.name: plan.truth[target.name][np.array(read)] for target in plan.targets}
    return {**inputs, "present": torch.ones(len(found), dtype=torch.bool)}, truth, seconds


@torch.no_grad()
def _features(
    plan: Plan, spec: Spec, processor: Processor, inputs: Mapping[str, Tensor]
) -> tuple[ScoringEncoder, Any, float]:
    """An encoder, what learners read of the probed cells, and the CPU seconds of one cell."""
    encoder = build_encoder(spec, processor.facts(), plan.config.dim).eval()
    assert isinstance(encoder, ScoringEncoder)
    encoder.fit_statistics(dict(inputs))
    started = time.process_time()
    made = encoder.design({name: value for name, value in inputs.items() if name != "present"})
    seconds = (time.process_time() - started) / made.shape[0]
    return encoder, (made.numpy() if isinstance(made, Tensor) else made.tocsr()), seconds


def _learners(plan: Plan, encoder: ScoringEncoder, features: Any, truth: Mapping[str, np.ndarray]) -> float:
    """CPU seconds of choosing learners by `LEARNED` rows: the probed ones, again and again, a little different."""
    drawn = np.random.default_rng(0)
    seconds = 0.0
    for target in plan.targets:
        known = np.flatnonzero(target.known(truth[target.name]))
        if len(known) and target.scores in MEANINGS and isinstance(target, ScoredTarget):
            again = known[np.arange(LEARNED) % len(known)]
            design = features[again]
            if isinstance(design, np.ndarray):
                design = (design + 0.3 * drawn.normal(size=design.shape) * features.std(0)).astype(np.float32)
            tried = encoder.candidates(target.scores, int(plan.seen.sum()), features.shape[1])
            started = time.process_time()
            part = np.arange(LEARNED) % parts_of_fitted(int(plan.seen.sum()))
            if isinstance(encoder, Scored) and encoder.by:  # dear ones: one part of all that are alike
                for one in tried:
                    learner = LEARNERS.build(one, None).fit_to(target, design, truth[target.name][again], 0)
                    learner.scores(torch.from_numpy(design[part == 0]))
                seconds += (part.max() + 2 + len(CURVE)) * (time.process_time() - started)
                continue
            learn(target, design, truth[target.name][again], part, tried, 0)
            seconds += time.process_time() - started
    return seconds


def _training(
    plan: Plan, stream: str, spec: Spec, processor: Processor, inputs: Mapping[str, Tensor],
    truth: Mapping[str, np.ndarray], train: int,
) -> float:  # fmt: skip
    """CPU seconds of one training of an encoder of the stream to its last epoch, and of encoding all cells with it."""
    encoder, heads = build_encoder(spec, processor.facts(), plan.config.dim), Heads(plan.config.heads)
    count = len(inputs["present"])
    if not any(p.requires_grad for p in encoder.parameters()):
        with torch.no_grad():
            started = time.process_time()
            encoder.eval()(dict(inputs))
        return (time.process_time() - started) / count * len(plan.split)
    options = Training(modality_dropout=0.0).with_(
        {**heads.recipe(plan.targets), **encoder.recipe(), **plan.config.training, **plan.config.encoder_training}
    )
    encoder.fit_statistics(dict(inputs))
    alone = Strategy("single", "late_mean", (stream,))
    answer = build_answer(alone, {stream: encoder.dim}, plan.targets, plan.config.dim, heads)
    module = torch.nn.ModuleList([encoder, answer]).train()
    size = batch_size(train, options)
    again = torch.arange(size) % count
    batch = {name: value[again] for name, value in inputs.items()}
    asked = {name: torch.from_numpy(values)[again] for name, values in truth.items()}
    took = _step(module, lambda: total(answer.losses(answer({stream: encoder(dict(batch))}), asked)), options)
    an_epoch = -(-train // size)
    epochs = options.within(an_epoch).epochs
    told = 0.0 if all(t.scores for t in plan.targets) else _answered(plan, answer, {stream: _tokens(encoder, inputs)})
    return took * (an_epoch * epochs + len(plan.split) / size / 3) + told * epochs  # a step without gradients: a third


@torch.no_grad()
def _answered(plan: Plan, answer: Answer, seen: Mapping[str, Tokens]) -> float:
    """CPU seconds of judging an answer between epochs, by tokens such as were `seen`; drawings are not made for it."""
    if plan.drawn:
        return 0.0
    some = {name: tokens.select(torch.arange(min(WRITTEN, len(tokens)))) for name, tokens in seen.items()}
    with in_haste(answer.eval()):
        started = time.process_time()
        answer(some)
        took = time.process_time() - started
    return took / len(next(iter(some.values()))) * len(plan.rows("valid"))


@torch.no_grad()
def _tokens(encoder: Encoder, inputs: Mapping[str, Tensor]) -> Tokens:
    """What an encoder makes of some probed cells, untrained."""
    return encoder.eval()({name: value[:PROBED] for name, value in inputs.items()})


def _resident() -> float:
    """Bytes that this process held at its peak."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else 1024 * peak)


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
