"""What a finished model is worth on labelled rows: every subset of streams, worth, noise, calibration, mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from polymodal.core.errors import BadCell
from polymodal.core.types import Target, Tokens
from polymodal.data.dataset import Dataset
from polymodal.data.source import Table
from polymodal.evaluate.calibration import expected_calibration_error, reliability_bins
from polymodal.evaluate.media import cell_card
from polymodal.evaluate.metrics import METRICS, Metric, labelled, primary
from polymodal.evaluate.statistics import bootstrap
from polymodal.explain.modalities import shapley_worth
from polymodal.predictor import Predictor
from polymodal.train.encode import store_tokens
from polymodal.train.features import Features, StreamFeatures
from polymodal.train.progress import Progress

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
NOISY_ROWS = 500  # rows that noise curves are drawn from: encoding them again is what they cost
MISTAKES = 8
MOST_STREAMS = 8  # 2^K subsets of K streams are answered exactly up to here


@dataclass(frozen=True, eq=False)
class Assessment:
    """The parts of `evaluation.json` that come from the model alone."""

    subsets: list[dict[str, Any]]
    worth: dict[str, Any]
    noise: list[dict[str, Any]]
    calibration: dict[str, Any]
    errors: dict[str, Any]  # confusion or residuals
    mistakes: list[dict[str, Any]]
    metrics: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        found = {"subsets": self.subsets, "worth": self.worth, "noise": self.noise, "calibration": self.calibration}
        return {k: v for k, v in {**found, **self.errors, "mistakes": self.mistakes, "metrics": self.metrics}.items() if v}


def assess(
    predictor: Predictor,
    dataset: Dataset,
    table: Table,
    truth: Mapping[str, np.ndarray],
    rows: np.ndarray,
    progress: Progress,
    *,
    groups: Sequence[Any] | None = None,
    seed: int = 0,
) -> Assessment:
    """Assess the deployed answer to the first target on `rows` of a processed table.

    `truth` maps a target to its encoded values [N]. Tokens come from the store where they are there already.
    """
    target = predictor.targets[0]
    encoded = truth[target.name][rows]
    judge = _Judge(
        predictor, target, target.restore(encoded) if target.kind == "number" else encoded,
        np.unique([str(groups[i]) for i in rows], return_inverse=True)[1] if groups else None, seed,
    )
    stage = progress.stage("evaluating", 3)
    streams = _tokens(predictor, dataset).read(torch.from_numpy(rows))
    subsets = judge.subsets(streams)
    stage.advance("subsets")
    noise = _noise(judge, dataset, streams, rows)
    stage.advance("noise")
    full = subsets[(True,) * len(predictor.streams)]
    found = Assessment(
        subsets=[judge.entry(names, p) for names, p in judge.named(subsets) if names],
        worth=judge.worth(subsets),
        noise=noise,
        calibration=_calibration(judge, streams),
        errors=_errors(judge, streams, full),
        mistakes=_mistakes(judge, full, table, rows),
        metrics={m.name: m(judge.truth, full) for m in METRICS.values() if target.kind in m.kinds},
    )
    stage.advance("mistakes")
    stage.end()
    return found


def _tokens(predictor: Predictor, dataset: Dataset) -> Features:
    """The deployed encoders' tokens of every row, encoded now where the store lacks them."""
    whole = {}
    for name in predictor.streams:
        group = store_tokens(predictor.encoders[name], dataset, name, dataset.store)["group"]
        part = np.zeros(len(dataset), np.int8)
        none = np.zeros((0, 0, 0), np.float32)
        whole[name] = StreamFeatures((group,), part, dataset.digests[name], dataset.present[name], none)
    return Features(dataset.store, whole)


@dataclass(frozen=True, eq=False)
class _Judge:
    """One target's truth on the rows assessed, and how answers to it are scored."""

    predictor: Predictor
    target: Target
    truth: np.ndarray
    groups: np.ndarray | None
    seed: int

    @property
    def metric(self) -> Metric:
        return METRICS[primary(self.target.kind)]

    def answer(self, streams: Mapping[str, Tokens]) -> np.ndarray:
        """Predictions [N, …] as metrics read them."""
        decoded = self.predictor.decode(self.target, self.predictor.score(streams)[self.target.name])
        return decoded["value"] if self.target.kind == "number" else decoded["probability"]

    def subsets(self, streams: Mapping[str, Tokens]) -> dict[tuple[bool, ...], np.ndarray]:
        """Predictions for every subset of the streams, the empty one included; the others are cleared."""
        names = self.predictor.streams
        if len(names) > MOST_STREAMS:
            kept = [tuple(i == j for j in range(len(names))) for i in range(len(names))]
            kept += [tuple(not k for k in keep) for keep in kept]
            masks = [*kept, (True,) * len(names), (False,) * len(names)]
        else:
            masks = [tuple(bool(m >> i & 1) for i in range(len(names))) for m in range(2 ** len(names))]
        found = {}
        for keep in masks:
            some = {n: s.keep(torch.full((len(s),), k)) for k, (n, s) in zip(keep, ((n, streams[n]) for n in names))}
            found[keep] = self.answer(some)
        return found

    def named(self, subsets: Mapping[tuple[bool, ...], np.ndarray]) -> list[tuple[tuple[str, ...], np.ndarray]]:
        names = self.predictor.streams
        pairs = [(tuple(n for n, k in zip(names, keep) if k), p) for keep, p in subsets.items()]
        return sorted(pairs, key=lambda pair: (len(pair[0]), pair[0]))

    def interval(self, predictions: np.ndarray, rows: np.ndarray | slice = slice(None)) -> dict[str, float]:
        groups = None if self.groups is None else self.groups[rows]
        found = bootstrap(self.metric, self.truth[rows], predictions[None], seed=self.seed, groups=groups)
        return {"mean": found.mean, "low": found.low, "high": found.high}

    def entry(self, names: tuple[str, ...], predictions: np.ndarray) -> dict[str, Any]:
        return {"streams": list(names), **self.interval(predictions)}

    def worth(self, subsets: Mapping[tuple[bool, ...], np.ndarray]) -> dict[str, Any]:
        """Exact Shapley worth of each stream in the metric's unit, with interactions."""
        if len(subsets) < 2 ** len(self.predictor.streams) or len(self.predictor.streams) < 2:
            return {}
        return shapley_worth(
            self.predictor.streams, subsets, self.metric, self.truth, seed=self.seed, groups=self.groups
        )


@torch.no_grad()
def _noise(judge: _Judge, dataset: Dataset, streams: Mapping[str, Tokens], rows: np.ndarray) -> list[dict[str, Any]]:
    """The score as one stream after the other is corrupted, cells encoded again at each level."""
    chosen = np.random.default_rng(judge.seed).permutation(len(rows))[:NOISY_ROWS]
    clean = {name: tokens.select(torch.from_numpy(chosen)) for name, tokens in streams.items()}
    curves = []
    for name in judge.predictor.streams:
        curve: dict[str, Any] = {"stream": name, "levels": list(LEVELS), "mean": [], "low": [], "high": []}
        inputs = dataset.tensors(name, rows[chosen])
        present = inputs.pop("present")
        for level in LEVELS:
            noisy = dict(clean)
            if level:
                generator = torch.Generator().manual_seed(judge.seed)
                corrupted = judge.predictor.processors[name].corrupt(dict(inputs), level, generator)
                noisy[name] = _encoded(judge.predictor.encoders[name], {**corrupted, "present": present})
            for key, value in judge.interval(judge.answer(noisy), chosen).items():
                curve[key].append(value)
        curves.append(curve)
    return curves


def _encoded(encoder: torch.nn.Module, inputs: Mapping[str, torch.Tensor], size: int = 128) -> Tokens:
    rows = len(inputs["present"])
    parts = [encoder({k: v[i : i + size] for k, v in inputs.items()}) for i in range(0, rows, size)]
    where = None if parts[0].where is None else torch.cat([p.where for p in parts])
    return Tokens(torch.cat([p.x for p in parts]), torch.cat([p.mask for p in parts]), torch.cat([p.pooled for p in parts]), where)


def _calibration(judge: _Judge, streams: Mapping[str, Tokens]) -> dict[str, Any]:
    """Calibration error before and after temperature scaling, and the reliability bins after it."""
    if judge.target.kind == "number":
        return {}
    temperature = judge.predictor.temperature[judge.target.name]
    scores = judge.predictor.score(streams)[judge.target.name]
    before = judge.predictor.decode(judge.target, scores * temperature)["probability"]
    after = judge.predictor.decode(judge.target, scores)["probability"]
    return {
        "ece_before": expected_calibration_error(before, judge.truth), "ece": expected_calibration_error(after, judge.truth),
        "temperature": temperature, "bins": reliability_bins(after, judge.truth),
        "bins_before": reliability_bins(before, judge.truth),
    }


def _errors(judge: _Judge, streams: Mapping[str, Tokens], predictions: np.ndarray) -> dict[str, Any]:
    """The confusion matrix (rows: truth), or truth and prediction with the interval of a number."""
    keep = labelled(judge.truth)
    if judge.target.kind == "classes":
        size = judge.target.width
        counts = np.bincount(judge.truth[keep] * size + predictions[keep].argmax(1), minlength=size * size)
        return {"confusion": counts.reshape(size, size).tolist()}
    if judge.target.kind == "number":
        decoded = judge.predictor.decode(judge.target, judge.predictor.score(streams)[judge.target.name])
        ends = {end: decoded[end][keep].tolist() for end in ("low", "high") if end in decoded}
        return {"residuals": {"truth": judge.truth[keep].tolist(), "prediction": predictions[keep].tolist(), **ends}}
    return {}


def _mistakes(judge: _Judge, predictions: np.ndarray, table: Table, rows: np.ndarray) -> list[dict[str, Any]]:
    """The rows answered wrongly with most confidence (numbers: farthest off), with what they hold."""
    keep = labelled(judge.truth)
    target = judge.target
    if target.kind == "classes":
        wrong = keep & (predictions.argmax(1) != judge.truth)
        order = np.argsort(-np.where(wrong, predictions.max(1), -1), kind="stable")[: min(MISTAKES, int(wrong.sum()))]
    elif target.kind == "number":
        order = np.argsort(-np.where(keep, np.abs(predictions - judge.truth), -1), kind="stable")[: min(MISTAKES, int(keep.sum()))]
    else:
        off = np.where(keep[:, None], np.abs(predictions - judge.truth), 0)
        order = np.argsort(-off.max(1), kind="stable")[:MISTAKES]
    found = []
    for i in order:
        cards = row_cards(judge.predictor, table, int(rows[i]))
        found.append({"id": table.ids[rows[i]], **_told(target, judge.truth[i], predictions[i]), "cells": cards})
    return found


def _told(target: Target, truth: Any, prediction: Any) -> dict[str, Any]:
    if target.kind == "classes":
        return {
            "truth": target.classes[truth], "prediction": target.classes[int(prediction.argmax())],
            "probability": float(prediction.max()),
        }
    if target.kind == "number":
        return {"truth": float(truth), "prediction": float(prediction), "probability": None}
    labels = [c for c, p in zip(target.classes, prediction) if p > 0.5]
    true = [c for c, t in zip(target.classes, truth) if t > 0.5]
    return {"truth": " | ".join(true) or "none", "prediction": " | ".join(labels) or "none", "probability": float(prediction.max())}


def row_cards(predictor: Predictor, table: Table, row: int) -> list[dict[str, Any]]:
    """One row's cells as cards of a report; what is missing or broken says so."""
    cards = []
    for name in predictor.streams:
        cell = predictor.cells(table, name)[row]
        processor = predictor.processors[name]
        try:
            shown = None if cell is None else processor.show(processor.read(cell))
        except BadCell as error:
            shown = {"kind": "missing", "reason": error.reason}
        cards.append(cell_card(name, shown))
    return cards


def standalone(
    predictor: Predictor, assessment: Assessment, dataset: Dataset, metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """`evaluation.json` of a finished model on other rows: no leaderboard, since nothing is compared."""
    target = predictor.targets[0]
    name = primary(target.kind)
    interval = next(s for s in assessment.subsets if len(s["streams"]) == len(predictor.streams))
    headline = (
        f"{metrics['chosen']} on {len(dataset)} rows: {name} {interval['mean']:.3f} "
        f"(95% interval {interval['low']:.3f} to {interval['high']:.3f})."
    )
    return {
        "target": target.name, "kind": target.kind, "classes": list(target.classes), "primary": name, "chosen": metrics["chosen"],
        "greater_is_better": METRICS[name].greater_is_better,
        "verdict": {"headline": headline, "sentences": [], "helped": None},
        "data": {
            "rows": {"test": len(dataset)},
            "fields": [
                {
                    "name": n, "kind": f.kind, "why": f.why, "missing": int((~dataset.present[n]).sum()),
                    "bad": sum(p.column == n for p in dataset.bad),
                }
                for n, f in predictor.schema.fields.items() if n in predictor.streams
            ],
            "warnings": [],
        },
        **assessment.to_json(),
    }
