"""Every catalogued objective keeps the laws, every option changes something, and bad input is refused in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from polymodal.core.errors import BadArgument, UnknownName
from polymodal.core.registry import options
from polymodal.core.types import Tokens
from polymodal.models.build import Heads, build_answer, build_objectives
from polymodal.models.strategy import Strategy
from polymodal.objectives import OBJECTIVES
from polymodal.objectives.base import Objective, Setting
from polymodal.targets.classes import ClassesTarget
from polymodal.testing import NotConformant, check_objective, example_target
from polymodal.testing.subject import random_streams
from polymodal.train.step import TrainingStep

WIDTHS = {"left": 6, "middle": 10, "right": 8}
# Another value of each option of each objective. A new option must be entered here.
OTHER: dict[str, dict[str, Any]] = {
    "agm": {"alpha": 3.0, "on": "gradient"},
    "gblend": {"every": 1, "holdout": 0.4},
    "mmpareto": {"gamma": 1.0},
    "modality_dropout": {"rate": 0.9},
    "ogm": {"alpha": 2.0, "noise": False, "until": 0.4, "on": "gradient"},
    "pmr": {"weight": 3.0, "entropy": 1.0, "calm": 1, "momentum": 0.9},
    "ranking": {"weight": 3.0, "fewer": 0.0, "margin": 0.5},
    "unimodal": {"weight": 3.0},
}
VARIED = [(name, option) for name in OTHER for option in OTHER[name]]
BASE: dict[str, dict[str, Any]] = {
    "gblend": {"every": 2},
    "pmr": {"entropy": 0.5},
}  # where a trial of four epochs shows it


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_keeps_the_laws(name: str):
    check_objective(name)


def test_every_option_has_another_value_here():
    for name in OBJECTIVES:
        assert set(OTHER.get(name, {})) == set(options(OBJECTIVES.load(name))), name


@pytest.mark.parametrize(("name", "option"), VARIED)
def test_no_option_is_without_effect(name: str, option: str):
    base = BASE.get(name, {})
    plain, varied = (_trained({"name": name, **base, **given}) for given in ({}, {option: OTHER[name][option]}))
    assert not torch.equal(plain, varied)


def _trained(spec: dict[str, Any]) -> torch.Tensor:
    """The answer's weights after a few epochs of 40 rows."""
    target = ClassesTarget("y", ("a", "b", "c", "d"), frequencies=(0.25, 0.25, 0.25, 0.25))
    draw = torch.Generator().manual_seed(2)
    truth = torch.randint(0, 4, (40,), generator=draw)
    signal = torch.nn.functional.one_hot(truth, 4).float()
    streams = {}
    for k, (name, width) in enumerate(WIDTHS.items()):
        x = torch.randn(40, width, generator=draw) * 0.5
        x[:, :4] += signal * (2.0 - 0.8 * k)
        streams[name] = Tokens.from_vector(x, torch.rand(40, generator=draw) < 0.9)

    def read(chosen: torch.Tensor) -> dict[str, Tokens]:
        return {name: tokens.select(chosen) for name, tokens in streams.items()}

    torch.manual_seed(0)
    strategy = Strategy("fusion", "concat", tuple(WIDTHS), objective=spec, adapters=True)
    answer = build_answer(strategy, WIDTHS, [target], 12, Heads())
    objectives = build_objectives(strategy, WIDTHS, [target], 12, Heads())
    training = TrainingStep(answer, objectives, read, {"y": truth}, epochs=4)
    rows = training.rows(torch.arange(40))
    optimizer = torch.optim.SGD(training.parameters(), lr=0.2, momentum=0.9)

    torch.manual_seed(1)
    training.between_epochs(0)
    for epoch in range(4):
        training.train()
        for batch in rows.split(16):
            optimizer.zero_grad()
            training.loss(read(batch), {"y": truth[batch]}).backward()
            training.after_backward()
            optimizer.step()
            training.after_step()
        training.between_epochs(epoch + 1)
    return torch.cat([p.detach().reshape(-1) for p in answer.parameters()])


# --- bad input --------------------------------------------------------------------------------------------------------


def _setting(kind: str = "classes", streams: int = 2, targets: int = 1) -> Setting:
    widths = {f"s{i}": 4 for i in range(streams)}
    return Setting(widths, tuple(replace(example_target(kind), name=f"y{i}") for i in range(targets)), Heads().build)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "ogm", "alpha": 0}, "alpha must be above 0; got 0"),
        ({"name": "ogm", "until": 2}, "until must be above 0 and at most 1; got 2"),
        ({"name": "ogm", "on": "updates"}, "Did you mean 'update'"),
        ({"name": "agm", "alpha": -1}, "alpha must be above 0; got -1"),
        ({"name": "pmr", "momentum": 1}, "momentum must be at least 0 and below 1; got 1"),
        ({"name": "mmpareto", "gamma": 0}, "gamma must be above 0"),
        ({"name": "gblend", "holdout": 0.9}, "holdout must be above 0 and at most 0.5; got 0.9"),
        ({"name": "gblend", "every": 0}, "every must be a whole number"),
        ({"name": "unimodal", "weight": 0}, "weight must be above 0"),
        ({"name": "ranking", "margin": -1}, "margin must be at least 0; got -1"),
        ({"name": "modality_dropout", "rate": 1.0}, "rate must be above 0 and below 1; got 1.0"),
        ({"name": "ogm", "alhpa": 1}, "Did you mean 'alpha'"),
    ],
)
def test_bad_options_are_refused(spec: dict[str, Any], words: str):
    with pytest.raises(BadArgument, match=words):
        OBJECTIVES.build(spec, _setting())


def test_what_an_objective_cannot_serve_is_refused():
    with pytest.raises(BadArgument, match="Pmr needs scores of classes; the target 'y0' is number"):
        OBJECTIVES.build("pmr", _setting("number"))
    with pytest.raises(BadArgument, match="Pmr is for one target; there are 2"):
        OBJECTIVES.build("pmr", _setting(targets=2))
    with pytest.raises(BadArgument, match="up to 6 of them; there are 7"):
        OBJECTIVES.build("agm", _setting(streams=7))
    with pytest.raises(BadArgument, match="give more rows"):
        OBJECTIVES.build("gblend", _setting()).hold(torch.arange(1))
    with pytest.raises(UnknownName, match="Did you mean 'mmpareto'"):
        OBJECTIVES.resolve("mmparetto")


# --- the check catches ------------------------------------------------------------------------------------------------


class Broken(Objective):
    """Reads masked values, and has a parameter that nothing uses."""

    def __init__(self, setting: Setting):
        super().__init__(setting)
        self.unused = torch.nn.Parameter(torch.ones(1))

    def losses(self, step):
        return {"broken": step.streams["left"].pooled.mean()}


class Idle(Objective):
    """Does nothing at all."""


def test_the_check_names_what_is_broken():
    with pytest.raises(NotConformant) as caught:
        check_objective(Broken, kinds=["number"])
    laws = {violation.law for violation in caught.value.violations}
    assert laws == {"ignores masked values", "every parameter receives gradient"}
    with pytest.raises(NotConformant, match="makes a difference"):
        check_objective(Idle, kinds=["classes"])


class Forgetful(Objective):
    """Counts steps where no state dict sees it, and lets the count into gradients of the fusion."""

    def __init__(self, setting: Setting):
        super().__init__(setting)
        self.seen = 0

    def losses(self, step):
        self.seen += 1
        return {"growing": self.seen * step.output.fused.pooled.square().mean()}

    def act(self, step):
        for parameter in step.answer.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(2)


def test_the_check_names_lost_state_and_foreign_gradients():
    with pytest.raises(NotConformant) as caught:
        check_objective(Forgetful, kinds=["classes"])
    assert {v.law for v in caught.value.violations} >= {"goes on where it stopped", "act changes towers only"}


def test_hidden_streams_are_a_proper_part():
    from polymodal.nn.mask_streams import fewer_streams

    streams = random_streams(WIDTHS)
    torch.manual_seed(0)
    before = torch.stack([t.present for t in streams.values()], 1)
    seen = set()
    for _ in range(200):
        after = torch.stack([t.present for t in fewer_streams(streams).values()], 1)
        assert not (after & ~before).any()
        several = before.sum(1) > 1
        assert (after.sum(1) < before.sum(1))[several].all()
        assert (after.sum(1) > 0)[before.any(1)].all()
        assert torch.equal(after[~several], before[~several])
        seen.add(tuple(after[1].tolist()))
    assert len(seen) == 2 ** int(before[1].sum()) - 2  # every proper, non-empty subset turns up
