"""The section on balance says what the figures say, whichever way they fall out."""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodal.experiment.balance import _better, sentences
from polymodal.experiment.outcome import Question
from polymodal.targets.classes import ClassesTarget


def row(name: str, valid: float, difference: float, half: float, p: float) -> dict[str, Any]:
    return {
        "name": name, "strategy": f"concat + {name}", "baseline": "concat + adapters", "valid_difference": valid,
        "difference": difference, "low": difference - half, "high": difference + half, "p_holm": p,
    }  # fmt: skip


def stream(name: str, worth: float, gap: float, half: float = 0.01) -> dict[str, Any]:
    return {
        "name": name, "worth": worth, "worth_low": worth - 0.02, "worth_high": worth + 0.02, "inside": {"mean": 0.6},
        "single": {"mean": 0.6 + gap}, "gap": {"difference": gap, "low": gap - half, "high": gap + half},
    }  # fmt: skip


def told(streams=(), objectives=(), dominant=None) -> str:
    found = {"fusion": "concat", "chosen": "gated", "streams": streams, "objectives": objectives, "dominant": dominant}
    return " ".join(sentences(found, "accuracy"))


def test_dominance_and_starvation():
    text = told([stream("strong", 0.3, 0.0), stream("weak", 0.1, 0.06)], dominant="strong")
    assert "strong dominates gated: its worth is 0.300 of 0.400, 75 %" in text
    assert "Given weak alone, concat reaches accuracy 0.600; a model of weak alone reaches 0.660" in text
    assert "under-trained in the fusion by 0.060 (95 % interval +0.050 to +0.070)" in text
    assert "Given strong" not in text
    text = told([stream("a", 0.2, 0.0), stream("b", 0.2, -0.01)])
    assert "No modality dominates gated" in text
    assert "No modality is under-trained in concat as far as this test can tell" in text
    assert "was not tried: objectives=all compares them" in text


def test_whether_balancing_helped():
    helped = told(objectives=[row("ogm", 0.01, 0.02, 0.01, 0.01), row("pmr", -0.01, -0.03, 0.01, 0.001)])
    assert "Balancing helped: concat + ogm" in helped
    assert "Of 2 comparisons with Holm's correction" in helped
    assert "these can be told from training without: ogm better; pmr worse" in helped
    assert "Balancing hurt: concat + ogm" in told(objectives=[row("ogm", 0.01, -0.02, 0.01, 0.2)])
    unsure = told(objectives=[row("ogm", 0.01, 0.002, 0.01, 1.0)])
    assert "Balancing made no difference that this test can show: concat + ogm" in unsure
    assert "none can be told from training without an objective" in unsure
    assert "Balancing did not help: on validation no objective" in told(objectives=[row("ogm", 0.0, 0.02, 0.01, 0.9)])


def test_above_zero_is_better_whatever_the_metric():
    target = ClassesTarget("y", ("a", "b"))
    truth = np.arange(40) % 2
    right, wrong = np.eye(2)[truth] * 0.8 + 0.1, np.eye(2)[1 - truth] * 0.8 + 0.1
    question = Question(target, truth, truth)
    assert _better(question, right[None], wrong[None]).difference == 1.0
