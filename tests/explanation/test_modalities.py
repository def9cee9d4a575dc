"""The axioms of Shapley, parity with its definition over orders, and planted answers."""

from itertools import permutations
from math import factorial

import numpy as np
import pytest

from polymodal.core.errors import BadArgument, BadData
from polymodal.evaluation.robustness import evaluate_subsets
from polymodal.explanation.modalities import (
    interaction_weights,
    row_worth,
    sampled_worth,
    shapley_weights,
    worth,
)
from polymodal.metrics import METRICS

ACCURACY = METRICS.build("accuracy")


def value_table(streams: int, columns: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2**streams, columns))


def by_orders(table: np.ndarray, streams: int) -> np.ndarray:
    """Shapley's own definition: the mean gain of a stream over all orders."""
    total = np.zeros((streams, table.shape[1]))
    for order in permutations(range(streams)):
        subset = 0
        for k in order:
            total[k] += table[subset | 1 << k] - table[subset]
            subset |= 1 << k
    return total / factorial(streams)


def interaction_by_orders(table: np.ndarray, streams: int, i: int, j: int) -> np.ndarray:
    """Mean over the orders of K - 1 players, i and j as one, of the change that j makes to the gain of i."""
    others = [k for k in range(streams) if k not in (i, j)]
    total = np.zeros(table.shape[1])
    for order in permutations([*others, -1]):
        before = sum(1 << k for k in order[: order.index(-1)])
        both, one, other = before | 1 << i | 1 << j, before | 1 << i, before | 1 << j
        total += table[both] - table[one] - table[other] + table[before]
    return total / factorial(streams - 1)


@pytest.mark.parametrize("streams", [1, 2, 3, 5])
def test_shapley_equals_the_mean_over_all_orders(streams):
    table = value_table(streams)
    np.testing.assert_allclose(shapley_weights(streams) @ table, by_orders(table, streams), atol=1e-12)


@pytest.mark.parametrize("streams", [2, 3, 5])
def test_interaction_equals_the_mean_over_all_orders(streams):
    table = value_table(streams)
    pairs, weights = interaction_weights(streams)
    for (i, j), found in zip(pairs, weights @ table):
        np.testing.assert_allclose(found, interaction_by_orders(table, streams, i, j), atol=1e-12)


def test_one_stream_has_no_interaction():
    pairs, weights = interaction_weights(1)
    assert (pairs, weights.shape) == ([], (0, 2))


@pytest.mark.parametrize("streams", [1, 4, 10])
def test_efficiency_worths_add_up(streams):
    table = value_table(streams)
    np.testing.assert_allclose((shapley_weights(streams) @ table).sum(0), table[-1] - table[0], atol=1e-10)


def test_symmetry_and_dummy():
    member = np.arange(8) >> np.arange(3)[:, None] & 1
    table = np.sqrt(member[0] + member[1])[:, None]  # streams 0 and 1 are interchangeable, 2 does nothing
    found = (shapley_weights(3) @ table)[:, 0]
    assert found[0] == pytest.approx(found[1])
    assert found[2] == pytest.approx(0, abs=1e-12)
    pairs, weights = interaction_weights(3)
    between = dict(zip(pairs, (weights @ table)[:, 0]))
    assert between[0, 1] < 0
    assert between[0, 2] == pytest.approx(0, abs=1e-12)


# --- planted answers --------------------------------------------------------------------------------------------------


def right_by(rule, streams, rows=600, seeds=3):
    """Predictions that are right for the share of rows that `rule(keep)` says; rows have their own luck."""
    rng = np.random.default_rng(0)
    luck = np.clip(rng.random((1, rows)) + 0.01 * rng.normal(size=(seeds, rows)), 0, 1)

    def score(keep):
        right = (luck < rule(keep)).astype(float)
        if len(keep) > 2 and keep[2]:  # the noise stream turns a few answers over, some to right, some to wrong
            turned = np.random.default_rng(1).random((seeds, rows)) < 0.05
            other = (np.random.default_rng(2).random((seeds, rows)) < rule(keep)).astype(float)
            right = np.where(turned, other, right)
        return np.stack([1 - right, right], -1)

    return evaluate_subsets(ACCURACY, np.ones(rows, dtype=np.int64), streams, score, seed=0)


def product(keep):
    return 0.98 if keep[0] and keep[1] else 0.5


def copied(keep):
    return 0.9 if keep[0] or keep[1] else 0.5


def additive(keep):
    return 0.5 + 0.2 * keep[0] + 0.2 * keep[1]


@pytest.mark.parametrize(
    ("rule", "kind", "size"), [(product, "synergy", 0.48), (copied, "redundancy", -0.4), (additive, "none", 0.0)]
)
def test_planted_interactions_are_named(rule, kind, size):
    (found,) = worth(right_by(rule, ("a", "b"))).interactions
    assert (found.pair, found.kind) == (("a", "b"), kind)
    assert found.index.mean == pytest.approx(size, abs=0.06)


@pytest.mark.parametrize("rule", [product, copied, additive])
def test_noise_is_worth_nothing_and_interacts_with_nothing(rule):
    found = worth(right_by(rule, ("a", "b", "noise")))
    a, b, noise = found.streams
    assert noise.worth.low < 0 < noise.worth.high
    assert a.worth.low > 0
    assert b.worth.low > 0
    assert [i.kind for i in found.interactions if "noise" in i.pair] == ["none", "none"]


def test_worths_add_up_to_the_whole_gain_and_show_alone_and_without():
    subsets = right_by(copied, ("a", "b", "noise"))
    found = worth(subsets)
    assert sum(s.worth.mean for s in found.streams) == pytest.approx(found.every.mean - found.none.mean)
    assert found.streams[0].alone.mean == subsets.draws[0b001].mean
    assert found.streams[0].without.mean == subsets.draws[0b110].mean
    drawn = found.to_json()
    assert drawn["unit"] == "accuracy"
    assert set(drawn["streams"][0]) == {"name", "mean", "low", "high", "alone", "without"}
    assert set(drawn["interactions"][0]) == {"pair", "mean", "low", "high", "kind"}


def test_worth_is_above_zero_for_a_stream_that_lowers_a_loss():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=200)

    def score(keep):
        return (truth * keep[0] + 0.1 * rng.normal(size=200))[None]

    found = worth(evaluate_subsets(METRICS.build("rmse"), truth, ("good", "none"), score, seed=0))
    assert found.streams[0].worth.low > 0.5
    assert found.every.mean < found.none.mean


def test_intervals_of_worth_cover():
    """Each row is answered right by chance that depends on the subset: the true worth is known."""
    hits, true = 0, 0.5 * ((0.8 - 0.5) + (0.9 - 0.6))
    for i in range(300):
        luck = np.random.default_rng(i).random((1, 150))
        shares = {(0, 0): 0.5, (1, 0): 0.8, (0, 1): 0.6, (1, 1): 0.9}
        subsets = evaluate_subsets(
            ACCURACY, np.ones(150, dtype=np.int64), ("a", "b"),
            lambda keep, luck=luck, s=shares: np.stack(
                [luck >= s[tuple(keep.astype(int))], luck < s[tuple(keep.astype(int))]], -1
            ).astype(float),
            seed=i, resamples=200,
        )  # fmt: skip
        interval = worth(subsets).streams[0].worth
        hits += interval.low <= true <= interval.high
    assert 0.92 <= hits / 300 <= 0.98


# --- rows -------------------------------------------------------------------------------------------------------------


def test_row_worth_adds_up_to_the_log_probability():
    p = np.random.default_rng(0).dirichlet(np.ones(4), size=(8, 6))
    found = row_worth(p)
    answered = p[-1].argmax(1)
    assert found.shape == (6, 3)
    expected = np.log(p[-1, np.arange(6), answered]) - np.log(p[0, np.arange(6), answered])
    np.testing.assert_allclose(found.sum(1), expected)
    other = row_worth(p, of=np.zeros(6, dtype=int))
    np.testing.assert_allclose(other.sum(1), np.log(p[-1, :, 0]) - np.log(p[0, :, 0]))


def test_row_worth_of_numbers_is_in_their_unit_and_absent_streams_are_worth_nothing():
    member = (np.arange(8) >> np.arange(3)[:, None] & 1).astype(float)
    effects = np.array([[1.0, -2.0, 0.5], [3.0, 0.0, 0.0]])  # the second row has the first stream only
    np.testing.assert_allclose(row_worth((7 + effects @ member).T), effects, atol=1e-12)


def test_row_worth_stays_finite_at_probability_zero():
    assert np.isfinite(row_worth(np.array([[[0.0, 1.0]], [[1.0, 0.0]]]))).all()


def test_row_worth_refuses_an_incomplete_table():
    with pytest.raises(BadData, match=r"2\^K"):
        row_worth(np.zeros((3, 5)))


# --- many streams -----------------------------------------------------------------------------------------------------


def test_sampled_worth_agrees_with_exact_and_says_what_sampling_leaves_open():
    names = tuple("abcde")
    rng = np.random.default_rng(0)
    luck = rng.random((3, 300))
    gain = np.array([0.25, 0.1, 0.1, 0.0, 0.02])

    def score(keep):
        right = luck < 0.4 + 0.15 * (keep[0] and keep[1]) + gain @ keep
        return np.stack([1.0 - right, 1.0 * right], -1)

    truth = np.ones(300, dtype=np.int64)
    exact = worth(evaluate_subsets(ACCURACY, truth, names, score, seed=0))
    found = sampled_worth(ACCURACY, truth, names, score, seed=0, orders=8)
    for one, other in zip(found.streams, exact.streams):
        assert one.worth.low <= other.worth.mean <= one.worth.high
        assert (one.alone, one.without) == (other.alone, other.without)
    assert sum(s.worth.mean for s in found.streams) == pytest.approx(found.every.mean - found.none.mean)
    assert found.interactions == ()
    few, many = (sampled_worth(ACCURACY, truth, names, score, seed=0, orders=n).streams[0].worth for n in (2, 32))
    assert few.high - few.low > many.high - many.low  # the first stream's gain depends on what came before it


def test_sampled_worth_of_twelve_streams_asks_for_few_subsets():
    asked = []

    def score(keep):
        asked.append(keep.sum())
        return np.full((1, 50), keep.sum() / 12)  # additive: the same worth for all

    truth = np.random.default_rng(0).normal(size=50)
    prior = np.zeros((1, 50))
    found = sampled_worth(METRICS.build("mae"), truth, tuple("abcdefghijkl"), score, seed=0, orders=4, prior=prior)
    assert len(asked) <= 4 * 22 + 25
    assert 0 not in asked
    assert len(found.streams) == 12
    with pytest.raises(BadArgument, match="orders"):
        sampled_worth(METRICS.build("mae"), truth, ("a",), score, seed=0, orders=1)
