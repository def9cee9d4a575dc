"""A row without any stream gets what the training rows' targets alone say, whoever answers and whatever is asked."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from polymodal.fusion import DECISIONS, FUSIONS
from polymodal.learners import LEARNERS
from polymodal.models import ANSWERS
from polymodal.models.adapted import Adapted
from polymodal.models.base import Answer, Blend, Labelled
from polymodal.models.build import Fitted, Heads, Parts, build_answer
from polymodal.models.specs import resolved, serves
from polymodal.models.strategy import Strategy
from polymodal.targets import TARGETS
from polymodal.testing import example_target
from polymodal.testing.head import example_truth
from polymodal.testing.subject import random_streams

WIDTHS = {"left": 6, "middle": 5}
PARTS = Parts(8, Heads(), {"left": 1.0, "middle": 3.0})
KINDS = tuple(name for name in TARGETS if TARGETS.load(name).scores)  # others are drawn or written
QUICK = {"policy": {"steps": 3}}
NAMED = [*DECISIONS, *FUSIONS, *ANSWERS]


@cache
def target_of(kind: str) -> Any:
    return example_target(kind)


def settled(answer: Answer, target: Any) -> Answer:
    """As training might leave it: no parameter where it began, and what validation rows choose is chosen."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in answer.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    rows = Labelled(random_streams(WIDTHS, full=True), {target.name: example_truth(target)})
    answer.finalize(rows, rows, 0)
    return answer.eval()


def said(answer: Answer, target: Any) -> np.ndarray:
    """Predictions of eight rows, of which every other has no stream; those that have none."""
    streams = {n: t.keep(torch.arange(8) % 2 > 0) for n, t in random_streams(WIDTHS, full=True).items()}
    with torch.no_grad():
        scores = answer(streams).predictions[target.name]
    return target.prediction(answer.head(target.name).decode(scores))[::2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMED)
def test_an_answer(name: str, kind: str):
    target = target_of(kind)
    if not serves(resolved(name).needs, [target]):
        pytest.skip("not defined for this kind")
    answer = settled(PARTS.answer({"name": name, **QUICK.get(name, {})}, WIDTHS, [target]), target)
    np.testing.assert_allclose(said(answer, target), np.stack([target.chance()] * 4), rtol=5e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["single", "learner", "blend", "adapted"])
def test_what_is_in_no_catalogue(name: str, kind: str):
    target = target_of(kind)
    if name == "single":
        answer = build_answer(Strategy("single", "late_mean", ("left",)), WIDTHS, [target], 8, Heads())
    elif name == "learner":
        heads = {target.name: PARTS.head(1, target)}
        answer = Fitted({target.name: LEARNERS.build("boosted")}, heads)
        answer.fit(random_streams(WIDTHS), {target.name: example_truth(target).numpy()}, 0)
    elif name == "blend":
        answer = Blend([PARTS.answer(n, WIDTHS, [target]) for n in ("concat", "late_mean")], [2.0, 1.0])
    else:
        answer = Adapted(PARTS.answer("stacking", WIDTHS, [target]), WIDTHS)
    answer = settled(answer, target)
    np.testing.assert_allclose(said(answer, target), np.stack([target.chance()] * 4), rtol=5e-3, atol=1e-3)
