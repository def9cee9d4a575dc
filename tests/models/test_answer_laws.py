"""Every catalogued answer keeps the laws, and every option changes something."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from polymodal.core.registry import options
from polymodal.core.types import Tokens
from polymodal.models import ANSWERS
from polymodal.models.bandit import Bandit
from polymodal.models.base import Joint, Labelled
from polymodal.models.build import Heads, Parts
from polymodal.models.specs import resolved, serves
from polymodal.targets import TARGETS
from polymodal.targets.base import MEANINGS
from polymodal.targets.classes import ClassesTarget
from polymodal.testing import check_answer, example_target
from polymodal.testing.head import example_truth
from polymodal.testing.subject import random_streams

WIDTHS = {"left": 6, "middle": 10, "right": 8}
COST = {"left": 1.0, "middle": 2.0, "right": 4.0}
TARGET = ClassesTarget("y", ("a", "b", "c"), frequencies=(0.2, 0.3, 0.5))

# Another value of each option of each part. A new option must be entered here: the tests below fail without it.
OTHER: dict[str, dict[str, Any]] = {
    "hybrid": {"fusion": "gated", "rule": "late_mean"},
    "experts": {"gate": 8, "dropout": 0.5, "own": 0.0},
    "dynamic": {"answer": "gated", "order": ["right", "left", "middle"], "tolerance": 1.0, "confidence": 0.99},
    "policy": {"answers": "gated", "per": "data", "price": 2.0, "hidden": 8, "steps": 9},
    "consensus": {"neighbours": 1},
    "prefix_lm": {"units": 64, "depth": 1, "attention_heads": 2, "tokens": 2, "dropout": 0.0},
}
OTHER["taste"] = {"answer": "gated", "by": "right", "width": 2}
OTHER["imputed"] = {"answer": "gated", "by": "mean", "draws": 2, "hidden": 4, "steps": 9}
OTHER["bandit"] = {"answers": "gated", "price": 2.0, "alpha": 5.0, "discount": 0.5, "trust": 5.0}
QUICK: dict[str, dict[str, Any]] = {  # few steps, few rows
    "policy": {"steps": 5}, "dynamic": {"tolerance": 0.2}, "imputed": {"by": "flow", "steps": 5, "hidden": 8},
}  # fmt: skip
VARIED = [(name, option) for name in OTHER for option in OTHER[name]]


def served(name: str, kind: str) -> bool:
    return serves(resolved(name).needs, [example_target(kind)])


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in ANSWERS for k in (*MEANINGS, "text") if served(n, k)])
def test_answer_keeps_the_laws(name: str, kind: str):
    check_answer({"name": name, **QUICK.get(name, {})}, kinds=(kind,))


def test_every_option_has_another_value_here():
    for name in ANSWERS:
        assert set(OTHER.get(name, {})) == set(options(ANSWERS.load(name))), name


@pytest.mark.parametrize(("name", "option"), VARIED)
def test_no_option_is_without_effect(name: str, option: str):
    quick = {"name": name, **QUICK.get(name, {})}
    plain, varied = (_outcome({**quick, **given}) for given in ({}, {option: OTHER[name][option]}))
    same = [a.shape == b.shape and torch.equal(a, b) for a, b in zip(plain, varied)]
    assert len(plain) != len(varied) or not all(same)


def _outcome(spec: dict[str, Any]) -> list[torch.Tensor]:
    """What an answer loses in training, the gradients of its parameters, and what it settles on."""
    torch.manual_seed(0)
    written = not served(spec["name"], "classes")
    target = example_target("text") if written else TARGET
    part = ANSWERS.build(spec, WIDTHS, [target], Parts(16, Heads(), COST)).train()
    if isinstance(part, Joint):
        return [sum(part.losses(part(random_streams(WIDTHS)), {"y": example_truth(target)}).values())]
    if written:  # nothing is trained: what differs is whom it hears
        streams = random_streams(WIDTHS, full=True)
        part.eval().finalize(*[Labelled(streams, {"y": example_truth(target)})] * 2, 0)
        noisy = {n: Tokens.from_vector(t.pooled + 2 * torch.randn(8, t.width)) for n, t in streams.items()}
        return [part(noisy).predictions["y"]]
    truth = {"y": torch.arange(8) % 3}
    losses = part.losses(part(random_streams(WIDTHS)), truth)
    sum(losses.values()).backward()
    streams = {n: Tokens.from_vector(torch.randn(100, width)) for n, width in WIDTHS.items()}
    said = part.eval()(streams).predictions["y"].argmax(1)  # as if it had learned: all streams together are right
    part.finalize(Labelled(streams, {"y": said}), Labelled(streams, {"y": said}), 0)
    if isinstance(part, Bandit):
        with part.serving() as rows:
            part(streams)
        part.learn(rows[0], {"y": said})
    grads = [p.grad if p.grad is not None else torch.empty(0) for p in part.parameters()]
    streams["left"] = streams["left"].keep(torch.arange(100) % 2 > 0)
    said_at_last = part(streams).predictions["y"].detach()
    return [*(v.detach() for v in losses.values()), *grads, *(b.float() for b in part.buffers()), said_at_last]


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in ANSWERS for k in TARGETS if served(n, k)])
def test_every_kind_of_target_is_trained_on_and_settled(name: str, kind: str):
    target, streams = example_target(kind), random_streams(WIDTHS, full=True)
    part = ANSWERS.build({"name": name, **QUICK.get(name, {})}, WIDTHS, [target], Parts(16, Heads(), COST)).train()
    truth = {"y": example_truth(target)}
    losses = part.losses(part(streams), truth)
    if (loss := sum(losses.values())).requires_grad:
        loss.backward()
    assert all(loss.isfinite() for loss in losses.values())
    part.eval().finalize(Labelled(streams, truth), Labelled(streams, truth), 0)
    told = part(streams).predictions["y"]
    assert told.shape == ((8, target.width) if target.scores else (8, told.shape[1]))


@pytest.mark.parametrize("name", ANSWERS)
def test_one_stream(name: str):
    streams = random_streams({"only": 5})
    target = TARGET if served(name, "classes") else example_target("text")
    answer = ANSWERS.build(name, {"only": 5}, [target], Parts(8, Heads())).eval()
    assert answer(streams).predictions["y"].isfinite().all()
