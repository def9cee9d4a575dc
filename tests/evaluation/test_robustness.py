"""Subsets in order, violations only where planted, noise curves as given."""

import numpy as np
import pytest

from polymodal.core.errors import BadArgument
from polymodal.evaluation.robustness import evaluate_subsets, monotonicity_violations, noise_curves, subset_masks
from polymodal.metrics import METRICS

ACCURACY = METRICS.build("accuracy")
NAMES = ("a", "b", "c")


def answers(right: np.ndarray) -> np.ndarray:
    return np.stack([1.0 - right, 1.0 * right], -1)


def world(shares, rows=400, seeds=3):
    """Predictions right for a share of the rows that depends on which streams are kept; easier rows stay right."""
    luck = np.random.default_rng(0).random((seeds, rows))

    def score(keep):
        return answers(luck < shares(keep))

    return np.ones(rows, dtype=np.int64), score


def test_subsets_follow_the_bits():
    assert subset_masks(("a", "b", "c"))[:5] == [(), ("a",), ("b",), ("a", "b"), ("c",)]
    assert subset_masks(("a", "b", "c"))[-1] == ("a", "b", "c")
    assert len(subset_masks("abcdefghij")) == 1024
    with pytest.raises(BadArgument, match="11 streams have 2048 subsets"):
        subset_masks("abcdefghijk")


def test_every_subset_is_scored_once_with_its_streams():
    asked = []

    def score(keep):
        asked.append(tuple(np.array(NAMES)[keep].tolist()))
        return answers(np.ones((1, 20)) * (keep.sum() > 1))

    found = evaluate_subsets(ACCURACY, np.ones(20, dtype=np.int64), NAMES, score, seed=0)
    assert asked == subset_masks(NAMES)
    assert found.predictions.shape == (8, 1, 20, 2)
    assert [d.mean for d in found.draws] == [len(s) > 1 for s in subset_masks(NAMES)]
    rows = found.to_json()
    assert [r["streams"] for r in rows] == [list("abc"), ["a", "b"], ["a", "c"], ["b", "c"], ["a"], ["b"], ["c"]]
    assert rows[0]["low"] < rows[0]["mean"] == 1


def test_the_prior_takes_the_place_of_the_empty_subset():
    def score(keep):
        assert keep.any()
        return answers(np.ones((1, 20)))

    prior = answers(np.zeros((1, 20)))
    found = evaluate_subsets(ACCURACY, np.ones(20, dtype=np.int64), NAMES, score, seed=0, prior=prior)
    assert found.draws[0].mean == 0


def test_no_violation_where_more_always_helps():
    truth, score = world(lambda keep: 0.4 + 0.15 * keep.sum())
    assert monotonicity_violations(evaluate_subsets(ACCURACY, truth, NAMES, score, seed=0)) == []


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_a_harmful_stream_is_named_and_nothing_else(metric):
    truth, score = world(lambda keep: 0.4 + 0.2 * keep[0] + 0.1 * keep[1] - 0.2 * keep[2])
    subsets = evaluate_subsets(METRICS.build(metric), truth, NAMES, score, seed=0)
    found = monotonicity_violations(subsets)
    assert {v.added for v in found} == {"c"}
    assert {v.streams for v in found} == {(), ("a",), ("b",), ("a", "b")}
    assert all(v.difference.difference < 0 and v.difference.high < 0 and v.difference.p < 0.05 for v in found)
    assert found[0].difference.difference == min(v.difference.difference for v in found)


def test_correction_keeps_many_harmless_steps_quiet():
    reported = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        table = {s: answers(rng.random((1, 150)) < 0.7) for s in subset_masks(NAMES)}
        subsets = evaluate_subsets(
            ACCURACY, np.ones(150, dtype=np.int64), NAMES,
            lambda keep, table=table: table[tuple(np.array(NAMES)[keep].tolist())], seed=0, resamples=300,
        )  # fmt: skip
        reported += bool(monotonicity_violations(subsets))
    assert reported <= 3


def test_noise_curves_ask_for_each_level_and_once_for_none():
    asked = []

    def predict(stream, level):
        asked.append((stream, level))
        right = np.arange(100) >= 100 * level * (stream == "a")
        return answers(right[None])

    curves = noise_curves(ACCURACY, np.ones(100, dtype=np.int64), ("a", "b"), predict, seed=0, levels=(0.0, 0.5))
    assert sorted(asked) == [("a", 0.0), ("a", 0.5), ("b", 0.5)]
    drawn = [c.to_json() for c in curves]
    assert [(c["stream"], c["levels"], c["mean"]) for c in drawn] == [
        ("a", [0.0, 0.5], [1.0, 0.5]),
        ("b", [0.0, 0.5], [1.0, 1.0]),
    ]
    assert drawn[0]["low"][1] < 0.5 < drawn[0]["high"][1]
    with pytest.raises(BadArgument, match="between 0 and 1"):
        noise_curves(ACCURACY, np.ones(100, dtype=np.int64), ("a",), predict, seed=0, levels=(0, 2))
