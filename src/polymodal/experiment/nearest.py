"""The baseline of answers that are drawn: what the training rows hold that are most like a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from polymodal.data.storage.store import Store
from polymodal.experiment.outcome import Outcome, Question
from polymodal.experiment.plan import Plan
from polymodal.models.base import BASELINE
from polymodal.models.build import pooled_features
from polymodal.models.strategy import Strategy
from polymodal.train.features import Features

EACH = 2  # rows whose answers are given, so that how they differ is judged as that of drawings is
BLOCK = 512  # rows whose distances are held at a time


def nearest(plan: Plan, work: Path, store: Store, questions: Sequence[Question], seeds: int) -> Outcome | None:
    """Answers every row with the truth of the training rows whose stored tokens are nearest; None where no target is
    drawn, or one is not.

    By pooled vectors of all streams in standard units; a stream that is missing is at the mean. Of training rows that
    are equally near, as those of one class are, some are drawn.
    """
    if not all(q.target.drawn for q in questions):
        return None
    found = Features.open(work / "features", store, plan.streams, pooled_only=True)
    said: dict[str, dict[str, np.ndarray]] = {"valid": {}, "test": {}}
    for q in questions:
        encoded = plan.truth[q.target.name]
        train = plan.rows("train")
        train = train[np.asarray(q.target.known(encoded[train]))]
        known = q.target.truth(encoded[train])
        for split, rows in (("valid", plan.evidence()), ("test", plan.rows("test"))):
            alike = nearest_rows(*_standard(found, train, rows), EACH)
            said[split][q.target.name] = np.stack([known[alike]] * seeds)
    note = f"the answers of the {EACH} most similar training rows"
    return Outcome(Strategy(BASELINE, "nearest", plan.streams, "nearest"), said["valid"], said["test"], note=note)


def nearest_rows(train: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """[N, count] the places of the `train` vectors [M, D] nearest to each of `rows` [N, D]; ties by chance."""
    drawn, count = np.random.default_rng(0), min(count, len(train))
    if not count:
        return np.zeros((len(rows), 0), np.int64)
    squares = (train * train).sum(1)
    places = []
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        away = ((some * some).sum(1)[:, None] + squares - 2 * some @ train.T).clip(0)
        away = away.round(6)
        last = np.partition(away, count - 1, axis=1)[:, count - 1 : count]
        for one, most in zip(away, last):  # all that are no farther than the last one wanted: few, but for ties
            near = np.flatnonzero(one <= most)
            places.append(near[np.lexsort((drawn.random(len(near)), one[near]))[:count]])
    return np.stack(places) if places else np.zeros((0, count), np.int64)


def _standard(features: Features, train: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of training rows and of others, by the training rows' means and spreads; 0 where a stream is missing."""
    each = [_vectors(features, some) for some in (train, rows)]
    with np.errstate(invalid="ignore"):
        there = ~np.isnan(each[0])
        count = np.maximum(there.sum(0), 1)
        middle = np.where(there, each[0], 0).sum(0) / count
        spread = np.sqrt(np.where(there, (each[0] - middle) ** 2, 0).sum(0) / count)
    a, b = (np.nan_to_num((one - middle) / np.maximum(spread, 1e-6)) for one in each)
    return a, b


def _vectors(features: Features, rows: np.ndarray) -> np.ndarray:
    chunks: list[Mapping] = [features.read(chunk) for chunk in torch.from_numpy(rows).split(1024)]
    return np.concatenate([pooled_features(chunk).double().numpy() for chunk in chunks])
