"""Which learners answer a target from one encoding's features: chosen by rows that they did not see."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from polymodal.core.registry import Spec, label
from polymodal.encoders.scoring import Answering, Member, blended
from polymodal.learners import LEARNERS
from polymodal.learners.base import Learner
from polymodal.targets.base import ScoredTarget

KEPT = 3  # learners that go on after the first part
WORSE = 2.0  # standard errors behind the best on the first part: what is dropped
CHANCE = 0.5  # standard errors by which a blend must be ahead of the single best
EQUAL = 1e-6  # of a loss: rounding
ROUNDS = 10
MOST_ROWS = 20_000  # training rows that learners are fitted to
CURVE = (0.25, 0.5)  # shares of the rows that the learning curve fits what was chosen to
LEAST = 80  # rows from which there is a learning curve


@dataclass
class Tried:
    """One learner on the way: its scores [N, W] of rows that it did not see, and what it has cost."""

    spec: Spec
    scores: np.ndarray
    parts: dict[int, Learner] = field(default_factory=dict)
    losses: np.ndarray = field(default_factory=lambda: np.zeros(0))
    temperature: float = 1.0
    seconds: float = 0.0
    dropped: str = ""


@dataclass(frozen=True)
class Learned:
    """What was found for a target: what answers each of the `parts`, which it did not see, and `whole`, all rows; the
    `ladder` of all that was tried, and the learning `curve` of what was chosen: the `loss` of the first part's rows
    when fitted to so many `rows`, how much less it is with all rows than with half of them (`gain`) and the standard
    `error` of that; None of few rows."""

    parts: Sequence[Answering]
    whole: Answering
    ladder: list[dict[str, Any]]
    curve: dict[str, Any] | None = None


def learn(
    target: ScoredTarget, design: Any, truth: np.ndarray, part: np.ndarray, candidates: Sequence[Spec], seed: int
) -> Learned:
    """Fit learners to the rows of `design` [N, F], an array or a sparse one, and their encoded `truth` [N, …].

    `part` [N] is 0 … K-1. Every candidate answers the first part from the others; who is clearly behind there goes no
    further (successive halving; Jamieson & Talwalkar 2016). The others answer all parts, and a greedy blend of them is
    chosen by the loss of these answers (Caruana et al. 2004). Its members are fitted once more to all rows.
    """
    drawn = np.random.default_rng(seed)
    tries = [Tried(spec, np.full((len(part), target.width), np.nan, np.float32)) for spec in candidates]
    first = part == 0
    for one in tries:
        _answer_part(one, target, design, truth, part, 0, seed, drawn)
        one.losses = _losses(target, one.scores[first], truth[first], one)
    ordered = [tries[i] for i in np.argsort([mean_of(one.losses) for one in tries], kind="stable")]
    alive = [t for t in ordered if not ahead(ordered[0].losses, t.losses, WORSE)][:KEPT]
    for one in tries:
        if one not in alive:
            one.dropped = "behind on the first part"
    for one in alive:
        for k in range(1, int(part.max()) + 1):
            _answer_part(one, target, design, truth, part, k, seed, drawn)
        one.losses = _losses(target, one.scores, truth, one)
    weights = _blend(target, alive, truth)
    used = [(one, weight) for one, weight in zip(alive, weights) if weight > 0]
    whole = [
        Member(one.spec, _fitted(one, target, design, truth, np.arange(len(part)), seed, drawn), w, one.temperature)
        for one, w in used
    ]
    parts = [
        Answering(target.scores, target.width, [Member(one.spec, one.parts[k], w, one.temperature) for one, w in used])
        for k in range(int(part.max()) + 1)
    ]
    ladder = [
        {
            "learner": label(one.spec), "loss": mean_of(one.losses), "seconds": one.seconds,
            "weight": float(dict(zip(map(id, alive), weights)).get(id(one), 0.0)), "dropped": one.dropped,
        }
        for one in ordered
    ]  # fmt: skip
    curve = _curve(target, used, design, truth, part, seed)
    return Learned(parts, Answering(target.scores, target.width, whole), ladder, curve)


def _curve(
    target: ScoredTarget, used: Sequence[tuple[Tried, float]], design: Any, truth: np.ndarray, part: np.ndarray,
    seed: int,
) -> dict[str, Any] | None:  # fmt: skip
    drawn = np.random.default_rng(seed)
    outside, inside = drawn.permutation(np.flatnonzero(part != 0))[:MOST_ROWS], np.flatnonzero(part == 0)
    if len(outside) < LEAST or len(inside) < 2:
        return None
    sizes = [round(share * len(outside)) for share in CURVE]
    losses = []
    for size in (*sizes, len(outside)):
        each = []
        for one, _ in used:
            few = size < len(outside)
            learner = _fitted(one, target, design, truth, outside[:size], seed, drawn) if few else one.parts[0]
            each.append(torch.from_numpy(_scores_of(learner, design, inside) / one.temperature))
        said = blended(target.scores, each, [weight for _, weight in used]).numpy()
        losses.append(row_losses(target, said, truth[inside]))
    gain, error = paired(losses[-1], losses[-2])
    found = [mean_of(each) for each in losses]
    return {"rows": [*sizes, len(outside)], "loss": found, "gain": gain, "error": error}


def row_losses(target: ScoredTarget, scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[N] the loss of each row's scores, NaN where its truth is not known."""
    if not len(truth):
        return np.zeros(0, np.float32)
    return target.row_losses(torch.from_numpy(np.ascontiguousarray(scores)), torch.from_numpy(truth)).numpy()


def mean_of(losses: np.ndarray) -> float:
    """The mean of the losses that are known; NaN where none is."""
    known = losses[~np.isnan(losses)]
    return float(known.mean()) if len(known) else float("nan")


def paired(losses: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """By how much `losses` [N] are less than `others` in the mean, and the standard error of this paired difference.

    Of the rows where both are known; where these are fewer than two, nothing is told: 0, give or take infinity.
    """
    gap = (others - losses)[np.isfinite(others - losses)]
    return (float(gap.mean()), float(gap.std(ddof=1) / len(gap) ** 0.5)) if len(gap) > 1 else (0.0, float("inf"))


def ahead(losses: np.ndarray, others: np.ndarray, errors: float, worth: float = 0.0) -> bool:
    """Whether paired losses are less by more than so many standard errors, and by more than a share of the others."""
    gain, error = paired(losses, others)
    return gain > max(EQUAL, errors * error) and gain > worth * abs(mean_of(others))


def _answer_part(
    one: Tried, target: ScoredTarget, design: Any, truth: np.ndarray, part: np.ndarray, k: int, seed: int,
    drawn: np.random.Generator,
) -> None:  # fmt: skip
    outside, inside = np.flatnonzero(part != k), np.flatnonzero(part == k)
    one.parts[k] = _fitted(one, target, design, truth, outside, seed, drawn)
    one.scores[inside] = _scores_of(one.parts[k], design, inside)


def _fitted(
    one: Tried, target: ScoredTarget, design: Any, truth: np.ndarray, rows: np.ndarray, seed: int,
    drawn: np.random.Generator,
) -> Learner:  # fmt: skip
    started = time.process_time()
    if len(rows) > MOST_ROWS:
        rows = np.sort(drawn.permutation(rows)[:MOST_ROWS])
    learner: Learner = LEARNERS.build(one.spec, None)
    learner.fit_to(target, design[rows], truth[rows], seed)
    one.seconds += time.process_time() - started
    return learner


def _scores_of(learner: Learner, design: Any, rows: np.ndarray) -> np.ndarray:
    some = design[rows]
    return learner.scores(torch.from_numpy(some) if isinstance(some, np.ndarray) else some).numpy()


def _losses(target: ScoredTarget, scores: np.ndarray, truth: np.ndarray, one: Tried) -> np.ndarray:
    """Losses at the temperature that suits the answers best, which is kept."""
    one.temperature = target.temperature(scores, target.truth(truth)) or 1.0
    return row_losses(target, scores / one.temperature, truth)


def _said(target: ScoredTarget, used: Sequence[tuple[Tried, float]]) -> torch.Tensor:
    return blended(target.scores, [torch.from_numpy(t.scores / t.temperature) for t, _ in used], [w for _, w in used])


def _blend(target: ScoredTarget, tries: Sequence[Tried], truth: np.ndarray) -> list[float]:
    """Weights of a greedy blend; a single learner where a blend is no better than by chance."""
    counts = [0] * len(tries)
    found: list[tuple[float, list[int], np.ndarray]] = []
    for _ in range(ROUNDS):
        options = []
        for i in range(len(tries)):
            more = [c + (j == i) for j, c in enumerate(counts)]
            said = _said(target, [(t, c) for t, c in zip(tries, more) if c])
            losses = row_losses(target, said.numpy(), truth)
            options.append((mean_of(losses), more, losses))
        best = min(options, key=lambda option: option[0])
        counts = best[1]
        found.append(best)
    _, alone, single = found[0]
    _, counts, losses = min(found, key=lambda one: one[0])
    if not ahead(losses, single, CHANCE):
        counts = alone
    return [c / sum(counts) for c in counts]
