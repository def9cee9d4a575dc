"""Evaluations as `evaluate` writes them, made up for the tests of the report: any kind, any number of anything."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np

from polymodal.report.cards import cell_card

STREAMS = ("photo", "speech", "review", "facts", "ecg", "face", "scan", "notes", "weather", "owner")
FUSIONS = (
    "cross", "gated", "concat", "late_mean", "unified", "attention", "stacking", "boosted", "tensor", "low_rank", "mlp",
    "weighted", "mean", "late_weighted", "product_of_experts", "ensemble", "bottleneck", "graph", "moe", "film",
)  # fmt: skip


def fake(
    kind: str = "classes",
    *,
    streams: int = 4,
    classes: int = 10,
    strategies: int = 12,
    helped: bool | None = True,
    names: tuple[str, ...] | None = None,
    labels: tuple[str, ...] | None = None,
    mistakes: int = 6,
    seed: int = 0,
) -> dict[str, Any]:
    """A whole `evaluation.json` whose parts agree with one another."""
    rng = np.random.default_rng(seed)
    names = names or STREAMS[:streams]
    labels = labels or tuple(str(i) for i in range(classes))
    metric = {"classes": "accuracy", "multilabel": "f1_macro", "number": "r2"}[kind]
    board = _board(rng, names, strategies, metric, helped)
    subsets = _subsets(rng, names, top=board[0]["test_mean"])
    result: dict[str, Any] = {
        "target": "label" if kind == "classes" else "price" if kind == "number" else "tags",
        "kind": kind, "classes": [] if kind == "number" else list(labels), "primary": metric, "greater_is_better": True,
        "chosen": board[0]["strategy"], "verdict": _verdict(board, helped, metric),
        "data": _data(names), "leaderboard": board, "subsets": subsets,
        "worth": _worth(rng, names, subsets, metric), "noise": _noise(rng, names, board[0]["test_mean"]),
        "balance": _balance(names, board[0]["test_mean"]), "curves": _curves(rng, names), "timings": _timings(names),
        "encodings": _encodings(names, "label" if kind == "classes" else "price" if kind == "number" else "tags"),
        "environment": _environment(),
        "command": "polymodal fit train.csv --test test.csv --target label --fusion all --seeds 3 --out runs/shop",
        "mistakes": _mistakes(rng, names, kind, labels, mistakes),
    }  # fmt: skip
    if kind == "number":
        result["residuals"] = _residuals(rng)
    else:
        result["calibration"] = _calibration(rng)
    if kind == "classes":
        result["confusion"] = _confusion(rng, len(labels))
    return result


def _encodings(names: tuple[str, ...], target: str) -> dict[str, Any]:
    """Two encodings a stream; the first stream still learns from more rows, the others do not."""
    told: dict[str, Any] = {}
    for i, name in enumerate(names):
        ladder = {target: [{"learner": "ridge", "loss": 0.4, "seconds": 0.1, "weight": 1.0, "dropped": ""}]}
        gain = 0.08 / (i + 1) ** 3
        curve = {"rows": [750, 1500, 3000], "loss": [0.9 - i / 9, 0.7 - i / 9, 0.7 - i / 9 - gain], "gain": gain}
        told[name] = [
            {
                "encoder": "scored", "fitted": True, "loss": 0.41, "kept": True, "why": "", "cpu_seconds": 2.5,
                "ladder": ladder, "curves": {target: {**curve, "error": 0.012}},
            },
            {
                "encoder": "network", "fitted": False, "loss": None, "kept": False, "why": "added nothing on one part",
                "cpu_seconds": 40.0, "ladder": {}, "curves": {},
            },
        ]  # fmt: skip
    return told


def _balance(names: tuple[str, ...], top: float) -> dict[str, Any]:
    """Each stream starved a little more than the one before it; one objective that helps, one that hurts."""
    if len(names) < 2:
        return {}
    streams = []
    for i, name in enumerate(names):
        own, inside = top - 0.05 * (i + 1), top - 0.05 * (i + 1) - 0.01 * i
        streams.append(
            {
                "name": name, "worth": 0.3 / (i + 1), "worth_low": 0.25 / (i + 1), "worth_high": 0.35 / (i + 1),
                "single": {"mean": own, "low": own - 0.02, "high": own + 0.02},
                "inside": {"mean": inside, "low": inside - 0.02, "high": inside + 0.02},
                "gap": {"difference": 0.01 * i, "low": 0.01 * i - 0.005, "high": 0.01 * i + 0.005, "p": 0.1},
            }
        )  # fmt: skip
    objectives = [
        {
            "name": name, "strategy": f"concat + {name}", "baseline": "concat + adapters", "valid": top,
            "valid_difference": gain, "test": {"mean": top + gain, "low": top, "high": top + 0.02},
            "difference": gain, "low": gain - 0.005, "high": gain + 0.005, "p": 0.01, "p_holm": 0.02,
        }
        for name, gain in (("unimodal", 0.012), ("ogm", -0.011))
    ]  # fmt: skip
    return {
        "fusion": "concat", "chosen": "concat", "streams": streams, "dominant": names[0], "objectives": objectives,
        "sentences": [f"{names[0]} dominates concat.", "Balancing helped: concat + unimodal gains."],
    }  # fmt: skip


def _board(
    rng: np.random.Generator, names: tuple[str, ...], n: int, metric: str, helped: bool | None
) -> list[dict[str, Any]]:
    lift = {True: 0.055, None: 0.006, False: -0.02}[helped]
    chance = {"accuracy": 0.1, "f1_macro": 0.12, "r2": 0.0}[metric]
    best = 0.845
    rows = []
    for i in range(n):
        name = FUSIONS[i] if i < len(FUSIONS) else f"{FUSIONS[i % len(FUSIONS)]}_{i}"
        level = "decision" if name.startswith(("late", "stack", "product")) else "feature"
        mean = best + lift - 0.006 * i - 0.004 * rng.random()
        rows.append(
            _row(name, "+".join(names), level, metric, mean, 0.011, rng, note="needs 3 streams" if i == 4 else "")
        )
    for i, name in enumerate(names):
        rows.append(_row(f"{name} alone", name, "single", metric, best - 0.09 * i + 0.003 * i * i, 0.016, rng))
    rows.append(_row("chance", "", "chance", metric, chance, 0.005, rng) | {"parameters": 0, "seeds": 1})
    return rows


def _row(name: str, streams: str, level: str, metric: str, mean: float, half: float, rng: np.random.Generator, *,
         note: str = "") -> dict[str, Any]:  # fmt: skip
    return {
        "strategy": name, "streams": streams, "level": level, "metric": metric, "valid": mean + 0.01 * rng.normal(),
        "test_mean": mean, "test_low": mean - half, "test_high": mean + half, "seeds": 3,
        "fit_seconds": float(rng.uniform(1, 40)), "predict_ms": float(rng.uniform(0.05, 2)),
        "parameters": int(rng.integers(5_000, 2_000_000)), "note": note,
    }  # fmt: skip


def _verdict(board: list[dict[str, Any]], helped: bool | None, metric: str) -> dict[str, Any]:
    single = next((r for r in board if r["level"] == "single"), board[0])
    difference = board[0]["test_mean"] - single["test_mean"]
    said = {
        True: "Fusion helped: the modalities together beat the best single one.",
        None: "Fusion may have helped, but the test rows are too few to tell.",
        False: "Fusion did not help: use the best single modality alone.",
    }[helped]
    half = 0.012 if helped is not None else 0.02
    return {
        "headline": said, "helped": helped,
        "sentences": [
            f"On 2,000 test rows {board[0]['strategy']} reaches {board[0]['test_mean']:.3f} ({metric}); the best "
            f"single modality, {single['streams']}, reaches {single['test_mean']:.3f}.",
            f"The difference is {difference:+.3f} ({difference - half:+.3f} to {difference + half:+.3f}).",
            "It was chosen by its validation score; the test rows were read once, at the end.",
        ],
        "against_single": {"name": single["strategy"], "difference": difference, "low": difference - half,
                           "high": difference + half, "p": 0.0004 if helped is not None else 0.41},
        "against_concat": {"name": "concat", "difference": 0.011, "low": 0.002, "high": 0.02, "p": 0.018},
    }  # fmt: skip


def _subsets(rng: np.random.Generator, names: tuple[str, ...], top: float) -> list[dict[str, Any]]:
    power = {n: 1.0 / (i + 1) for i, n in enumerate(names)}
    whole = sum(power.values())
    found = []
    for size in range(1, len(names) + 1):
        for some in combinations(names, size):
            mean = (
                0.1
                + (top - 0.1) * math.sqrt(sum(power[n] for n in some) / whole)
                + 0.004 * rng.normal() * (size < len(names))
            )
            found.append({"streams": list(some), "mean": mean, "low": mean - 0.014, "high": mean + 0.014})
    return found


def _worth(
    rng: np.random.Generator, names: tuple[str, ...], subsets: list[dict[str, Any]], metric: str
) -> dict[str, Any]:
    score = {frozenset(s["streams"]): s["mean"] for s in subsets}
    whole = frozenset(names)
    streams = []
    for i, name in enumerate(names):
        mean = 0.36 / (i + 1) - (0.045 if i and i == len(names) - 1 else 0)
        half = 0.012 + 0.02 * (i == len(names) - 1)
        streams.append({"name": name, "mean": mean, "low": mean - half, "high": mean + half,
                        "alone": score[frozenset([name])], "without": score.get(whole - {name})})  # fmt: skip
    pairs = []
    for a, b in combinations(names, 2):
        mean = float(rng.normal(0, 0.03))
        kind = "none" if abs(mean) < 0.012 else "synergy" if mean > 0 else "redundancy"
        pairs.append({"pair": [a, b], "mean": mean, "low": mean - 0.011, "high": mean + 0.011, "kind": kind})
    return {"unit": metric, "streams": streams, "interactions": pairs}


def _noise(rng: np.random.Generator, names: tuple[str, ...], top: float) -> list[dict[str, Any]]:
    levels = [0.0, 0.25, 0.5, 0.75, 1.0]
    curves = []
    for i, name in enumerate(names):
        mean = [top - 0.4 / (i + 1) * v**1.5 + 0.003 * rng.normal() for v in levels]
        curves.append({"stream": name, "levels": levels, "mean": mean, "low": [m - 0.014 for m in mean],
                       "high": [m + 0.014 for m in mean]})  # fmt: skip
    return curves


def _calibration(rng: np.random.Generator) -> dict[str, Any]:
    middles = np.arange(0.15, 1, 0.1)
    counts = [int(c) for c in (4, 18, 46, 71, 95, 121, 170, 320, 1155)]
    after = [{"confidence": float(c), "accuracy": float(np.clip(c + 0.02 * rng.normal(), 0, 1)), "count": n}
             for c, n in zip(middles, counts)]  # fmt: skip
    before = [{**b, "accuracy": max(b["confidence"] - 0.11, 0.02)} for b in after]
    return {"ece_before": 0.083, "ece": 0.014, "temperature": 1.62, "bins": after, "bins_before": before}


def _confusion(rng: np.random.Generator, n: int) -> list[list[int]]:
    matrix = rng.poisson(0.4 if n < 40 else 0.05, (n, n)) + np.diag(rng.integers(30, 190, n))
    for i in range(0, n - 1, 3):
        matrix[i, i + 1] += int(rng.integers(8, 40))
    return matrix.tolist()


def _residuals(rng: np.random.Generator) -> dict[str, list[float]]:
    truth = np.exp(rng.normal(12.4, 0.55, 800))
    said = truth * np.exp(rng.normal(0, 0.18, 800))
    return {
        "truth": truth.tolist(),
        "prediction": said.tolist(),
        "low": (said * 0.74).tolist(),
        "high": (said * 1.34).tolist(),
    }


def _curves(rng: np.random.Generator, names: tuple[str, ...]) -> list[dict[str, Any]]:
    parts = [(n, "Encoders") for n in names] + [("cross", "Chosen fusion")] * 3
    curves = []
    for name, stage in parts:
        epochs = int(rng.integers(8, 22))
        t = np.arange(1, epochs + 1)
        train = 2.2 * np.exp(-t / rng.uniform(3, 7)) + 0.02 * rng.random(epochs)
        valid = rng.uniform(0.6, 0.85) * (1 - np.exp(-t / 2.5)) + 0.01 * rng.normal(size=epochs) - 0.001 * t
        curves.append(
            {"name": name, "stage": stage, "epoch": t.tolist(), "train": train.tolist(), "valid": valid.tolist()}
        )
    return curves


def _data(names: tuple[str, ...]) -> dict[str, Any]:
    kinds = ("image", "audio", "text", "table", "series", "vector", "image", "text", "table", "vector")
    whys = (
        "198 of 200 sampled cells are files that decode as pictures",
        "all sampled cells are files that decode as sound",
        "words, 14 a cell in the middle; 98 % of the cells differ",
        "price, brand and 6 more columns of numbers and categories",
        "lists of numbers of the same length",
        "lists of 512 numbers",
    )
    fields = [{"name": n, "kind": kinds[i % 10], "why": whys[i % 6], "missing": 37 * i % 90, "bad": 5 if i == 1 else 0}
              for i, n in enumerate(names)]  # fmt: skip
    return {
        "rows": {"train": 8000, "valid": 2000, "test": 2000}, "fields": fields,
        "warnings": ["12 rows of test are near-duplicates of rows of train; scores without them are 0.004 lower."],
    }  # fmt: skip


def _timings(names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"what": "read and process", "seconds": 21.4}] + [
        {"what": f"encoder of {n}", "seconds": 190.0 / (i + 1)} for i, n in enumerate(names)
    ] + [{"what": "12 fusions × 3 seeds", "seconds": 96.2}, {"what": "evaluation", "seconds": 11.8}]  # fmt: skip


def _environment() -> dict[str, Any]:
    return {"polymodal": "0.1.0", "python": "3.11.9", "torch": {"version": "2.13.0+cpu", "threads": 1},
            "device": "cpu, 2 cores", "seeds": [0, 1, 2], "data digest": "b7c1f0a94e1d22aa"}  # fmt: skip


def shown(rng: np.random.Generator, kind: str) -> dict[str, Any] | None:
    """What a processor's `show` gives for a cell of `kind`."""
    t = np.linspace(0, 1.2, 9600)
    if kind == "image":
        y, x = np.mgrid[0:28, 0:28]
        ring = np.abs(np.hypot(x - 14 + rng.normal(), y - 14) - 8) < 2.2
        return {"kind": "image", "array": (255 * ring[..., None].repeat(3, 2)).astype(np.uint8)}
    if kind == "audio":
        tone = np.sin(2 * np.pi * (300 + 900 * t) * t) * np.exp(-((t - 0.5) ** 2) * 12) + 0.01 * rng.normal(size=len(t))
        return {"kind": "audio", "array": tone.astype(np.float32), "rate": 8000}
    if kind == "text":
        return {
            "kind": "text",
            "text": "Arrived late and one shoe was a size smaller than the other. The colour is right though.",
        }
    if kind == "table":
        return {
            "kind": "table",
            "values": {"price": 59.9, "brand": "Kestrel & Sons", "weight (g)": 412.0, "returned": None},
        }
    if kind == "series":
        return {"kind": "series", "array": np.cumsum(rng.normal(size=(240, 2)), 0), "rate": 100}
    return {"kind": "vector", "array": rng.normal(size=64)}


def _mistakes(
    rng: np.random.Generator, names: tuple[str, ...], kind: str, labels: tuple[str, ...], n: int
) -> list[dict[str, Any]]:
    kinds = ("image", "audio", "text", "table", "series", "vector", "image", "text", "table", "vector")
    found = []
    for i in range(n):
        cells = [cell_card(s, None if i == 1 and j == 2 else shown(rng, kinds[j % 10])) for j, s in enumerate(names)]
        truth, said = labels[i % len(labels)], labels[(i + 1) % len(labels)]
        answer: dict[str, Any] = {"truth": truth, "prediction": said, "probability": 0.9991 - 0.02 * i}
        if kind == "number":
            answer = {"truth": 412_000.0 + 9000 * i, "prediction": 901_000.0 - 20_000 * i, "probability": None}
        if kind == "multilabel":
            answer = {"truth": [truth, said], "prediction": [], "probability": 0.97}
        found.append({"id": f"test-{1000 + 7 * i}", **answer, "cells": cells})
    return found
