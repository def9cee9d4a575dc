"""Every catalogued fusion keeps the laws, and every option changes something."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from polymodal.core.registry import options
from polymodal.fusion import DECISIONS, FUSIONS
from polymodal.targets.base import MEANINGS
from polymodal.testing import check_decision, check_fusion
from polymodal.testing.subject import random_streams

WIDTHS = {"left": 6, "middle": 10, "right": 8}
NAMES = tuple(WIDTHS)

# Another value of each option of each part. A new option must be entered here: the tests below fail without it.
OTHER: dict[str, dict[str, Any]] = {
    "concat": {"dropout": 0.5},
    "mean": {"dropout": 0.5},
    "weighted": {"dropout": 0.5, "alpha": [0.6, 0.3, 0.1]},
    "mlp": {"dropout": 0.5, "hidden": 32, "layers": 2},
    "gated": {"dropout": 0.5, "gate": "sigmoid", "temperature": 0.5},
    "attention": {"dropout": 0.5, "heads": 2, "expansion": 3.0},
    "cross": {"dropout": 0.5, "heads": 2, "expansion": 3.0, "layers": 2, "tokens": 2},
    "unified": {"dropout": 0.5, "heads": 2, "expansion": 3.0, "layers": 0, "tokens": 2, "attention": 2},
    "relation": {"dropout": 0.5, "heads": 2, "width": 8},
    "kxk": {"dropout": 0.5, "heads": 2, "expansion": 3.0},
    "mult": {"dropout": 0.5, "heads": 2, "expansion": 3.0, "layers": 2, "tokens": 2},
    "mbt": {"dropout": 0.5, "heads": 2, "expansion": 3.0, "layers": 3, "tokens": 2, "bottlenecks": 2},
    "perceiver": {"dropout": 0.5, "heads": 2, "expansion": 3.0, "layers": 2, "tokens": 2, "latents": 2},
    "deep": {"dropout": 0.5, "depth": 1, "excite": False, "expansion": 3.0},
    "tensor": {"dropout": 0.5, "width": 3},
    "lowrank": {"dropout": 0.5, "rank": 2},
    "mfb": {"dropout": 0.5, "rank": 2},
    "mlb": {"dropout": 0.5, "width": 8},
    "mutan": {"dropout": 0.5, "rank": 2, "width": 8},
    "graph": {"dropout": 0.5, "heads": 2, "expansion": 3.0, "rounds": 1, "tokens": 2, "messages": "gat"},
    "temporal": {
        "fusion": "gated",
        "timed": ["right"],
        "clock": "middle",
        "ticks": 4,
        "lags": {"middle": 0.3},
        "way": "nearest",
        "outside": "hold",
    },
    "late_mean": {},
    "late_weighted": {"alpha": [0.6, 0.3, 0.1], "temperature": False},
    "product": {"prior": [0.7, 0.1, 0.1, 0.05, 0.05]},
    "stacking": {},
    "qmf": {"temperature": 3.0, "ranking": 1.0},
    "tmc": {"anneal": 5},
}
# What an option needs beside it to be seen on these streams.
BESIDE = {("temporal", "outside"): {"timed": ["middle", "right"]}}
VARIED = [(name, option) for name in OTHER for option in OTHER[name]]


@pytest.mark.parametrize("name", FUSIONS)
def test_fusion_keeps_the_laws(name: str):
    check_fusion(name)


@pytest.mark.parametrize("name", ["tensor", "cross", "kxk", "mult", "mbt", "deep"])
def test_five_streams(name: str):
    check_fusion(name, widths={"dotted.name": 4, "b": 4, "c": 4, "d": 4, "e": 4}, dim=8)


@pytest.mark.parametrize("name", FUSIONS)
def test_one_stream(name: str):
    streams = random_streams({"only": 5})
    fused = FUSIONS.build(name, {"only": 5}, 8)(streams)
    assert fused.pooled.isfinite().all()
    assert torch.equal(fused.present, streams["only"].present)


@pytest.mark.parametrize("name", DECISIONS)
@pytest.mark.parametrize("kind", MEANINGS)
def test_decision_keeps_the_laws(name: str, kind: str):
    check_decision(name, meanings=(kind,))


def test_every_option_has_another_value_here():
    for catalogue in (FUSIONS, DECISIONS):
        for name in catalogue:
            assert set(OTHER.get(name, {})) == set(options(catalogue.load(name))), name


@pytest.mark.parametrize(("name", "option"), VARIED)
def test_other_values_keep_the_laws(name: str, option: str):
    """Among them that the option changes something."""
    spec = {"name": name, **BESIDE.get((name, option), {}), option: OTHER[name][option]}
    if name in FUSIONS:
        check_fusion(spec)
    else:
        check_decision(spec, meanings=("classes",))
